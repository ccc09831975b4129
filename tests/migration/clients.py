# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients under way while their host moves.  Each has one
connection, never makes another, and says at the end what went wrong, as a
sentence; None if nothing did."""

import json
import subprocess
import sys
import threading
import time

from topologies.daemon import BUILD, ROOT
from topologies.wait import until
from migration.lab import SERVICES

REDIS = f"{ROOT}/tests/migration/redis_session.py"
HTTP2 = f"{ROOT}/tests/migration/http2_stream.py"


class Client:
    """A process on the client's host that prints JSON lines: {"gap_from": when,
    "gap_ms": how long} of each pause, anything else while it goes on, and a
    result as the last one."""

    name = None
    steps = None  # The key of lines that tell progress.

    def __init__(self, lab, *arguments):
        self.lines, self.gaps = [], []
        self.progress = 0
        self.progress_at = 0.0
        self.result = None
        self._errors = []
        self.stream = lab.server.stream
        host = lab.client
        self._process = host.start(
            self.command(lab.service_address[self.name],
                         SERVICES[self.name][1], *arguments),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._threads = [threading.Thread(target=function, daemon=True)
                         for function in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def command(self, address, port, *arguments):
        raise NotImplementedError

    def _read(self):
        for text in self._process.stdout:
            line = json.loads(text)
            if "gap_ms" in line:
                self.gaps.append((line["gap_from"], line["gap_ms"]))
            elif self.steps in line:
                self.progress = line[self.steps]
                self.progress_at = time.monotonic()
            else:
                self.result = line

    def _read_errors(self):
        for text in self._process.stderr:
            self._errors.append(text.strip())

    def running(self):
        return self._process.poll() is None

    def goes_on(self, timeout=60):
        """Waits until it has got further than it was when we were called."""
        before = self.progress
        until(lambda: self.progress > before or not self.running(),
              f"{self.name} goes on", timeout)

    def longest_gap(self, since=0.0, before=float("inf")):
        """Of the gaps that ended after 'since' and began before 'before'."""
        return max((ms for start, ms in self.gaps
                    if start + ms / 1e3 >= since and start <= before),
                   default=0.0)

    def stop(self):
        """Asks it to end."""
        if self.running():
            self._process.terminate()

    def finish(self, timeout=120):
        """What went wrong, or None."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return (f"{self.name}: not done after {timeout} s, "
                    f"progress {self.progress}")
        for thread in self._threads:
            thread.join(10)
        if self._process.returncode != 0 or self.result is None:
            return (f"{self.name}: exit status {self._process.returncode} "
                    f"{self.result} {' '.join(self._errors)}")
        return self.complaint()

    def kill(self):
        """Ends it, whatever it does."""
        self.stop()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def complaint(self):
        raise NotImplementedError


class Words(Client):
    """A download in which every word is verified."""

    name, steps = "words", "mib"

    def command(self, address, port, mib=1024, rate=60):
        self.mib = mib
        return [f"{BUILD}/tests/words", "fetch", address, str(port), str(mib),
                f"rate={rate}"]

    def complaint(self):
        if self.result["wrong"] or self.result["error"]:
            return f"words: {self.result}"
        return None

    def figures(self):
        return (f"{self.result['bytes'] >> 20} MiB verified in "
                f"{self.result['seconds']:.1f} s")


class Redis(Client):
    """One connection that increments a number over and over; each answer must
    be the one before plus 1."""

    name, steps = "redis", "count"

    def command(self, address, port):
        return [sys.executable, "-B", REDIS, address, str(port)]

    def complaint(self):
        return None if not self.result["error"] else f"redis: {self.result}"

    def figures(self):
        return f"{self.result['total']} increments in order"


class Http2(Client):
    """A long HTTP/2 response, read by nghttp at a steady pace."""

    name, steps = "http2", "mib"

    def command(self, address, port, *options):
        return [sys.executable, "-B", HTTP2, address, str(port), self.stream,
                *options]

    def complaint(self):
        return None if not self.result["error"] else f"http2: {self.result}"

    def figures(self):
        return (f"{self.result['received_mib']} MiB of one HTTP/2 stream, "
                f"SHA-256 {self.result['sha256'][:16]}... as it should be")


class Voice(Client):
    """50 datagrams a second, each way."""

    name, steps = "voice", None

    def command(self, address, port):
        return [f"{BUILD}/tests/voice", "call", address, str(port)]

    def goes_on(self, timeout=60):
        pass  # It shows in the losses.

    @property
    def lost(self):
        return self.result["sent"] - self.result["answered"]

    def complaint(self):
        if not self.result["answered"]:
            return f"voice: {self.result}"
        return None

    def figures(self):
        there = self.result["sent"] - self.result["arrived"]
        back = self.result["arrived"] - self.result["answered"]
        return (f"{self.result['sent']} datagrams, lost {there} on the way "
                f"there, {back} on the way back, "
                f"{self.result['late']} late")

