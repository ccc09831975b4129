#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The units as a Debian host runs them: files where `make install` puts them,
systemd as the first process.

      10.0.0.1  10.0.0.254                     10.0.0.2
      client: this machine itself              server
      sald.service                             sald, not systemd's
      salient-controller.service
        up0 ------- br0, a plain Linux bridge ------- eth0

There is no switch: the resolver's address is the server's.

    test_systemd.py BUILD INSTALLED    'INSTALLED' is make install's DESTDIR
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path[:0] = [f"{ROOT}/tests/bpf"]

import test_daemon as daemon  # noqa: E402
from netlab import Host, Lab, Namespace, wait_for  # noqa: E402
from test_daemon import step  # noqa: E402

UNITS = "salient-controller", "sald"


class ThisMachine(Namespace):
    """The first process's network namespace, with an uplink to the lab."""
    connect = Host.connect

    def __init__(self, lab):  # pylint: disable=super-init-not-called
        self.path = "/proc/1/ns/net"
        self.run("ip", "link", "add", "up0", "type", "veth", "peer", "name",
                 "machine", "netns", lab.bridge.holder.pid)
        lab.bridge.run("ip", "link", "set", "machine", "master", "br0", "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "set", "up0", "up")
        self.run("ip", "addr", "add", "10.0.0.1/24", "dev", "up0")
        self.run("ip", "addr", "add", "10.0.0.254/32", "dev", "lo")

    def close(self):
        self.run("ip", "link", "del", "up0", check=False)


def systemctl(*args, check=True):
    done = subprocess.run(["systemctl", "--no-pager", *args], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    if check and done.returncode:
        raise AssertionError(f"systemctl {' '.join(args)}: {done.stdout}")
    return done.stdout


def show(unit, what):
    return systemctl("show", "--value", "-p", what, unit).strip()


def main_pid(unit):
    return int(show(unit, "MainPID"))


def install(installed):
    step("make install: the units are where systemd finds them")
    for folder, _, files in os.walk(installed):
        there = folder[len(installed):] or "/"
        os.makedirs(there, exist_ok=True)
        for name in files:
            shutil.copy2(f"{folder}/{name}", f"{there}/{name}",
                         follow_symlinks=False)
    with open("/etc/salient/controller.yaml", "w", encoding="ascii") as file:
        file.write('openflow: {listen: ["tcp:127.0.0.1:6653"]}\n'
                   'api: {listen: ["tcp:10.0.0.254:6654"]}\n'
                   'resolver: 10.0.0.2\nhold_time: 1s\n')
    write_agent("")
    systemctl("daemon-reload")
    for unit in UNITS:
        said = systemctl("cat", f"{unit}.service")
        assert "Type=notify" in said, said


def write_agent(more):
    with open("/etc/salient/agent.yaml", "w", encoding="ascii") as file:
        file.write("name: machine\ncontroller: tcp:10.0.0.254:6654\n"
                   f"uplinks: [up0]\nstop_timeout: 500ms\n{more}\n")


def refused_configuration():
    step("a configuration with a mistake does not start, and systemd knows")
    write_agent("nonsense: 1")
    systemctl("start", "sald", check=False)
    assert show("sald", "ActiveState") != "active"
    systemctl("stop", "sald", check=False)
    systemctl("reset-failed", "sald", check=False)
    write_agent("")


def started(machine):
    step("start: active only when READY=1 was said")
    for unit in UNITS:
        systemctl("start", unit)
        assert show(unit, "ActiveState") == "active"
        assert show(unit, "SubState") == "running"
        assert show(unit, "NRestarts") == "0"
    assert "sal0" in machine.run("ip", "link")
    assert os.path.isdir("/sys/fs/bpf/salient")


def capabilities():
    step("capabilities are those that the units declare, and no others")
    want = {"sald": sum(1 << bit for bit in
                        daemon.CAPABILITY_BITS.values()),
            "salient-controller": 0}
    for unit, bits in want.items():
        with open(f"/proc/{main_pid(unit)}/status", encoding="ascii") as file:
            status = file.read()
        for kind in "Prm", "Eff", "Bnd":
            found = int(re.search(rf"^Cap{kind}:\s*(\w+)$", status,
                                  re.M).group(1), 16)
            assert found == bits, (unit, kind, hex(found))
        assert re.search(r"^NoNewPrivs:\s*1$", status, re.M)
        assert re.search(r"^Seccomp:\s*2$", status, re.M)
    for path, mode in (("/var/lib/salient", 0o700),
                       ("/run/salient", 0o750),
                       ("/run/salient/sald.sock", 0o600)):
        found = os.stat(path).st_mode & 0o777
        assert found == mode, (path, oct(found))


def salctl(*args):
    return subprocess.run(["salctl", *args], capture_output=True, text=True,
                          check=False).stdout


def connected(machine, server):
    step("a TCP connection to a name's address, out of this machine")
    line = wait_for(lambda: [
        l for l in machine.run("dig", "@127.0.0.55", "+short", "+time=5",
                               daemon.NAME, "A", check=False).split()
        if l.startswith("198.")], "the name resolves")
    stream = daemon.Stream(machine, server.host, line[0], 90)
    wait_for(lambda: stream.blocks > 20, "traffic")
    return stream


def goes_on(stream):
    blocks = stream.blocks
    wait_for(lambda: stream.blocks > blocks + 20 or stream.error,
             "the stream goes on")
    assert not stream.error, stream.error


def restarted(unit, was, stream, restarts):
    wait_for(lambda: show(unit, "ActiveState") == "active"
             and main_pid(unit) not in (0, was), f"{unit} is back")
    assert int(show(unit, "NRestarts")) == restarts
    goes_on(stream)


def killed(stream):
    for restarts, unit in enumerate(("sald", "sald", "salient-controller")):
        step(f"kill -9 of {unit}: systemd starts it, the connection goes on")
        was = main_pid(unit)
        os.kill(was, 9)
        goes_on(stream)
        restarted(unit, was, stream, 1 + restarts % 2)


def watched(stream):
    step("the watchdog is fed; a daemon that hangs is replaced")
    for unit in UNITS:
        folder = f"/run/systemd/system/{unit}.service.d"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/watchdog.conf", "w", encoding="ascii") as file:
            file.write("[Service]\nWatchdogSec=20s\n")
    systemctl("daemon-reload")
    # The time is told to a process when it starts.
    for unit in UNITS:
        was, restarts = main_pid(unit), int(show(unit, "NRestarts")) + 1
        os.kill(was, 9)
        restarted(unit, was, stream, restarts)
        assert show(unit, "WatchdogUSec") == "20s"
        fed = show(unit, "WatchdogTimestampMonotonic")
        wait_for(lambda u=unit, f=fed:
                 show(u, "WatchdogTimestampMonotonic") != f, "WATCHDOG=1")
        was = main_pid(unit)
        os.kill(was, 19)  # SIGSTOP
        restarted(unit, was, stream, restarts + 1)


def reloaded():
    step("systemctl reload: what changed is in force, in the same process")
    was = main_pid("sald")
    write_agent("limits: {flows_per_client: 7}")
    systemctl("reload", "sald")
    wait_for(lambda: '"max_flows_per_client":7' in
             salctl("--json", "status").replace(" ", ""), "the limit")
    was_controller = main_pid("salient-controller")
    systemctl("reload", "salient-controller")
    for unit, pid in (("sald", was), ("salient-controller", was_controller)):
        wait_for(lambda u=unit: show(u, "ActiveState") == "active", unit)
        assert main_pid(unit) == pid


def stopped(machine):
    step("stop: a clean end, and nothing of the data plane is left")
    for unit in reversed(UNITS):
        systemctl("stop", unit)
        assert show(unit, "ActiveState") == "inactive"
        assert show(unit, "Result") == "success"
        assert show(unit, "ExecMainStatus") == "0"
    assert "sal0" not in machine.run("ip", "link")
    assert not os.path.exists("/sys/fs/bpf/salient")


def run(lab, installed):
    machine = ThisMachine(lab)
    server = None
    try:
        install(installed)
        server = daemon.Agent(lab, lab.host("server", "10.0.0.2"))
        server.services = daemon.SERVER_SERVICES[:]
        refused_configuration()
        started(machine)
        capabilities()
        server.start()
        stream = connected(machine, server)
        killed(stream)
        watched(stream)
        reloaded()
        stream.end()
        stopped(machine)
    except BaseException:
        for unit in UNITS:
            print(systemctl("status", unit, check=False))
        if server:
            print(server.log_text()[-2000:])
        raise
    finally:
        for unit in UNITS:
            systemctl("stop", unit, check=False)
        if server:
            server.close()
        machine.close()


def main():
    if os.uname().nodename != "kernel-test":
        print("-- skipped: this would install units on a machine of yours")
        print("systemd: 0 passed, 0 failed, 1 skipped")
        return
    lab = Lab(sys.argv[1])
    try:
        run(lab, sys.argv[2])
    finally:
        lab.close()
    print(f"systemd: {daemon.steps} passed, 0 failed")


if __name__ == "__main__":
    main()
