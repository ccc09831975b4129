# SPDX-License-Identifier: Apache-2.0
"""Processes of a run, and the paths that a run uses."""

import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("BUILD", f"{ROOT}/build"))
OVS_PREFIX = os.environ.get("OVS_PREFIX", f"{ROOT}/build/ovs")
RUN = "/run/salient"  # On the sandbox's own tmpfs.
STOP_TIMEOUT = 10


def sh(*command):
    """Runs a command that must succeed; its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status "
                           f"{done.returncode}: {done.stderr.strip()}")
    return done.stdout


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


class Daemon:
    """A process that logs to a file, in a session of its own so that a
    terminal's Ctrl-C reaches it only through us."""

    def __init__(self, name, command, log_dir):
        self.name = name
        self.log = f"{log_dir}/{name}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; its exit status, or None if it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def log_tail(self, lines=15):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])


def salctl(socket, *command):
    """What 'salctl --json' prints, decoded; None if the daemon is not there."""
    done = subprocess.run([f"{BUILD}/bin/salctl", "--json", "--socket", socket,
                           *command], capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        return None
    return json.loads(done.stdout) if done.stdout.strip() else {}
