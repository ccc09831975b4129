#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs suites inside the guest, as root; the sum goes to the second serial
port, where check_kernel.py reads it.

    guest.py BUILD [SUITE | PROGRAM]...
"""
import glob
import os
import re
import subprocess
import sys
import time

COUNTS = re.compile(r"^(?:[a-z-]+: )?(\d+) passed, (\d+) failed"
                    r"(?:, (\d+) skipped)?$")
PYTHON = "/usr/bin/python3"
# Without arguments.  The others take an hour where all of it is emulated.
USUAL = "programs", "links", "ovs", "systemd"


def suites(build):
    """Name: (seconds at most, command).  Emulated, the verifier alone takes
    half a minute each time that the data plane is loaded."""
    programs = sorted(glob.glob(f"{build}/tests/test_sal_*"))
    return {
        "programs": (600, ["tests/kernel/load-programs.sh",
                           f"{build}/bpf/sal.bpf.o"]),
        "bpf": (7200, ["tests/bpf/run-bpf.sh", build, *programs]),
        "links": (2400, [PYTHON, "tests/bpf/test_links.py", build, "vlan",
                         "bond"]),
        "ovs": (1800, [PYTHON, "tests/kernel/test_ovs_kernel.py", build]),
        "systemd": (3600, [PYTHON, "tests/kernel/test_systemd.py", build,
                           f"{build}/kernel/installed"]),
        "daemon": (3600, [PYTHON, "tests/bpf/test_daemon.py", build]),
    }


def run(name, seconds, command):
    """Shows a suite's output; (passed, failed, skipped)."""
    print(f"== {name}", flush=True)
    begin = time.monotonic()
    counts = None
    with subprocess.Popen(["timeout", "-k", "10", str(seconds), *command],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as process:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            found = COUNTS.match(line)
            if found:
                counts = [int(n or 0) for n in found.groups()]
    status = process.returncode
    counts = counts or ([1, 0, 0] if status == 0 else [0, 1, 0])
    if status and not counts[1]:
        counts[1] = 1
    what = {0: "passed", 124: f"FAILED: longer than {seconds} s"}
    print(f"== {name}: {what.get(status, 'FAILED')} "
          f"({time.monotonic() - begin:.0f} s)", flush=True)
    return counts


def main():
    build, wanted = sys.argv[1], sys.argv[2:]
    print(f"guest: {os.uname().release}, up "
          f"{time.clock_gettime(time.CLOCK_BOOTTIME):.0f} s", flush=True)
    known = suites(build)
    os.environ["SALIENT_PATIENCE"] = "30"
    total = [0, 0, 0]
    for name in wanted or USUAL:
        counts = run(name, *known.get(name, (1800, [name, build])))
        total = [a + b for a, b in zip(total, counts)]
    with open("/dev/ttyS1", "w", encoding="ascii") as result:
        result.write("{} passed, {} failed, {} skipped\n".format(*total))


if __name__ == "__main__":
    main()
