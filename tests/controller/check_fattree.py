# SPDX-License-Identifier: Apache-2.0
"""The rules of real switches, read back from them and compared with the load
generator's oracle (tests/bench/controller/load_check.c): a fat tree of Open
vSwitch, k=4, 20 switches; 16 agents that are only sessions and PROBEs; 40
services of three instances.  Healthy, and with links down; with fast failover
and without."""

import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.daemon import BUILD, RUN, sh
from tests.controller.network import API, Network

K, SERVICES = 4, 40


def links():
    """[(switch, port, switch, port)], and hosts' (switch, port), numbered as
    load_fat_tree() does."""
    half, core = K // 2, K * K // 4
    between, hosts = [], []
    for pod in range(K):
        for i in range(half):
            for j in range(half):
                aggregation = core + pod * K + 1
                edge = aggregation + half
                between.append((i * half + j + 1, pod + 1, aggregation + i,
                                j + 1))
                between.append((aggregation + i, half + j + 1, edge + j,
                                i + 1))
                hosts.append((edge + i, half + j + 1))
    return between, hosts


def plug(net, switch, port, interface):
    net.ovs.vsctl("add-port", f"s{switch}", interface, "--", "set",
                  "interface", interface, f"ofport_request={port}")


def build(net):
    between, hosts = links()
    for number in range(1, K * K // 4 + K * K + 1):
        net.add_switch(number)
    for a, a_port, b, b_port in between:
        ends = f"s{a}-{a_port}", f"s{b}-{b_port}"
        sh("ip", "link", "add", ends[0], "up", "type", "veth", "peer", "name",
           ends[1])
        sh("ip", "link", "set", ends[1], "up")
        plug(net, a, a_port, ends[0])
        plug(net, b, b_port, ends[1])
    for switch, port in hosts:
        sh("ip", "link", "add", f"s{switch}-{port}", "up", "type", "veth",
           "peer", "name", f"h{switch}-{port}")
        sh("ip", "link", "set", f"h{switch}-{port}", "up")
        plug(net, switch, port, f"s{switch}-{port}")
    return between


class Oracle:
    """check_ovs, which is the agents, too."""

    def __init__(self):
        self.process = subprocess.Popen(
            [f"{BUILD}/tests/check_ovs", API, f"{RUN}/ovs", str(K),
             str(SERVICES)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def check(self):
        """'' and the number of flows, or what is wrong."""
        self.say("check")
        line = self.process.stdout.readline()
        flows, differences, missed, faults = map(int, re.fullmatch(
            r"flows (\d+) differences (\d+) missed (\d) faults (\d+)\n",
            line).groups())
        wrong = []
        if differences or faults:
            wrong.append(f"{differences} differences, {faults} faults")
        if not missed:
            wrong.append("the oracle does not miss a flow that is gone")
        return ", ".join(wrong), flows


def run(net, between, fast_failover):
    """(what was checked, what is wrong), for each state."""
    net.start_controller(f"fast_failover: {fast_failover}\n")
    oracle = Oracle()
    n = K * K // 4 + K * K
    try:
        if oracle.process.stdout.readline() != "ready\n":
            raise RuntimeError("the agents are not attached")
        for down in [None, *between[:2], *between[-2:]]:
            begun = time.monotonic()
            if down:
                sh("ip", "link", "set", f"s{down[0]}-{down[1]}", "down")
                oracle.say(f"link {down[0]} {down[1]} down")
            net.wait_in_sync(n, links=len(between) - bool(down), timeout=60,
                             hosts_attached=K ** 3 // 4)
            took = time.monotonic() - begun
            wrong, flows = oracle.check()
            what = f"s{down[0]}-s{down[2]} down" if down else "healthy"
            yield (f"{what}, fast failover {fast_failover}: {flows} flows, "
                   f"after {took:.1f} s", wrong)
            if down:
                sh("ip", "link", "set", f"s{down[0]}-{down[1]}", "up")
                oracle.say(f"link {down[0]} {down[1]} up")
                net.wait_in_sync(n, links=len(between), timeout=60)
        wrong, flows = oracle.check()
        yield f"all links back: {flows} flows", wrong
    finally:
        oracle.process.kill()
        oracle.process.wait()
    if net.daemon.stop() != 0:
        yield "the controller stops", "its exit status"


def inside():
    net = Network("check-fattree")
    passed = failed = 0
    between = build(net)
    for fast_failover in ("true", "false"):
        for what, wrong in run(net, between, fast_failover):
            print(f"  {'FAIL' if wrong else 'PASS'}    {what}"
                  f"{': ' + wrong if wrong else ''}", flush=True)
            passed += not wrong
            failed += bool(wrong)
    net.down()
    print(f"fattree: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(sandbox.run(inside))
