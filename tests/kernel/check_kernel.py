#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Suites on Debian 12's own kernel, in a virtual machine without any network.

      this machine                      |  guest: Debian's Linux 6.1
                                        |
      / ---- 9p, read-only ----------------> /, what is written stays in memory
      our output <---- console ------------- systemd, then guest.py SUITE...
      result     <---- second serial port -- "N passed, N failed, N skipped"

    check_kernel.py BUILD [SUITE]...     (see guest.py)
"""
import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOTAL_SECONDS = 4 * 3600
SILENT_SECONDS = 3600   # A suite may say nothing until it ends.
RESULT = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.M)


def virtualisation():
    """KVM where the processor has it; /dev/kvm alone says nothing."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        hardware = re.search(r"^flags\s*:.*\b(vmx|svm)\b", file.read(), re.M)
    if hardware and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def start(kernel, initramfs, result):
    version, = os.listdir(f"{kernel}/lib/modules")
    command = [
        "qemu-system-x86_64", *virtualisation(), "-smp", "2", "-m", "4096",
        "-nodefaults", "-nic", "none", "-display", "none", "-no-reboot",
        "-serial", "stdio", "-serial", f"file:{result}",
        "-kernel", f"{kernel}/boot/vmlinuz-{version}", "-initrd", initramfs,
        "-append", "console=ttyS0 quiet loglevel=4 panic=-1 no_timer_check "
                   "mitigations=off "
                   "systemd.unified_cgroup_hierarchy=1",
        "-virtfs", "local,path=/,mount_tag=root,security_model=none,"
                   "readonly=on,multidevs=remap"]
    print(f"  BOOT    Linux {version}, {command[2]}", flush=True)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            preexec_fn=die_with_parent)


def follow(qemu):
    """Shows the console until the guest is off; what went wrong, or None."""
    begin = time.monotonic()
    while True:
        left = min(SILENT_SECONDS, begin + TOTAL_SECONDS - time.monotonic())
        if left <= 0:
            return f"not done in {TOTAL_SECONDS} s"
        if not select.select([qemu.stdout], [], [], left)[0]:
            return f"said nothing for {SILENT_SECONDS} s"
        data = os.read(qemu.stdout.fileno(), 65536)
        if not data:
            return None
        # SeaBIOS clears the screen.
        data = re.sub(rb"\x1b\[[0-9?]*[a-zA-Z]|\x1bc|\r", b"", data)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def main():
    build, suites = os.path.abspath(sys.argv[1]), sys.argv[2:]
    kernel = f"{build}/kernel"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="salient-kernel-") as scratch:
        settings, result, initramfs = (f"{scratch}/{name}" for name in (
            "settings", "result", "initramfs"))
        with open(settings, "w", encoding="utf8") as file:
            file.write(f"KERNEL='{kernel}'\nBUILD='{build}'\n"
                       f"SOURCE='{os.getcwd()}'\nSUITES='{' '.join(suites)}'\n")
        subprocess.run([f"{HERE}/make-initramfs.sh", kernel, settings,
                        initramfs], check=True)
        qemu = start(kernel, initramfs, result)
        try:
            problem = follow(qemu)
        finally:
            qemu.kill()
            qemu.wait()
        with open(result, encoding="ascii", errors="replace") as file:
            found = RESULT.search(file.read().replace("\r", ""))
    if problem or not found:
        print(f"kernel: the guest {problem or 'ended without a result'}")
        print("0 passed, 1 failed, 0 skipped")
        return 1
    print(found.group(0))
    return found.group(2) != "0"


if __name__ == "__main__":
    sys.exit(main())
