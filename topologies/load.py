# SPDX-License-Identifier: Apache-2.0
"""curl in a loop, every request accounted for.

Run as a program it is the loop itself, in the client host's namespaces:

    python3 -m topologies.load JOBS COUNT URL     (COUNT 0: until SIGTERM)

and prints one JSON line a finished request.  The class Load starts it and
collects the lines.  Clocks are CLOCK_MONOTONIC, the same in every host."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

from topologies.wait import until

# Real exit codes of an unmodified client: 6 unknown host, 7 refused, 28 timeout.
CURL = ["curl", "--silent", "--show-error", "--connect-timeout", "2",
        "--max-time", "10"]


def curl(url, *options, through=()):
    """One request: a dictionary of start, end, status, body, error.
    'through' is a command that runs another command elsewhere."""
    start = time.monotonic()
    done = subprocess.run([*through, *CURL, *options, url],
                          capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    return {"start": start, "end": time.monotonic(),
            "status": done.returncode, "body": done.stdout.strip(),
            "error": done.stderr.strip()}


def _main(jobs, count, url):
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    lock = threading.Lock()
    started = 0

    def work():
        nonlocal started
        while not stopping.is_set():
            with lock:
                if count and started == count:
                    return
                started += 1
            line = json.dumps(curl(url))
            try:
                with lock:
                    print(line, flush=True)
            except BrokenPipeError:
                stopping.set()  # Nobody counts any more.

    workers = [threading.Thread(target=work) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    # Handlers run in the main thread only, and a signal that another thread
    # received does not end its wait: hence the short ones.
    while any(worker.is_alive() for worker in workers):
        workers[0].join(0.1)
        time.sleep(0 if workers[0].is_alive() else 0.05)


class Load:
    """A running load on 'host'; results grow while it runs."""

    def __init__(self, host, url, jobs=4, count=0):
        self.results = []
        self._process = host.start(
            [sys.executable, "-m", "topologies.load", str(jobs), str(count),
             url], stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.results.append(json.loads(line))

    def running(self):
        return self._reader.is_alive()

    def stop(self):
        """Lets requests under way finish; returns all results."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.finish()

    def finish(self, timeout=60):
        self._reader.join(timeout)
        self._process.kill()
        self._process.wait()
        return self.results

    def failed(self, since=0.0):
        """Failed requests that started at 'since' or later."""
        return [result for result in list(self.results)
                if result["status"] != 0 and result["start"] >= since]

    def by_body(self, since=0.0):
        """Body -> how often it came, of good requests since then."""
        counts = {}
        for result in list(self.results):
            if result["status"] == 0 and result["start"] >= since:
                counts[result["body"]] = counts.get(result["body"], 0) + 1
        return counts


class Download:
    """One transfer by curl under way on 'host'."""

    def __init__(self, host, url):
        self._path = f"{host.run_dir}/download"
        self._url = url
        if os.path.exists(self._path):
            os.unlink(self._path)
        self._process = host.start(
            ["curl", "--silent", "--show-error", "--fail",
             "--connect-timeout", "2", "--output", self._path, url],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def wait_begun(self):
        until(lambda: os.path.exists(self._path)
              and os.path.getsize(self._path), f"{self._url} begins")

    def finish(self, timeout=60):
        """SHA-256 of what came, or curl's complaint."""
        try:
            _, error = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return f"not done after {timeout} s"
        if self._process.returncode != 0:
            return f"curl {self._process.returncode} {error.strip()}"
        with open(self._path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
