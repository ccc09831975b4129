# SPDX-License-Identifier: Apache-2.0
"""What is lost when salient-controller dies, or a switch forgets, on real
switches (triangle.py): nothing.

Each step needs what the ones before it left.  ONLY=name runs up to the step
of that name."""

import os
import random
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.daemon import sh
from topologies.wait import until
from tests.controller.network import OPENFLOW_PORT, Network
from tests.controller.steps import expect, run_suite
from tests.controller.triangle import (
    ADDRESS, SERVICE, SWITCHES, check_recompute, registrations_are_confirmed,
    services_in, switches_and_links, targets)

SEED = int(os.environ.get("SEED", "20120425"))


def durations(net, switch):
    """{flow: seconds since it was installed}."""
    out = net.ovs.ofctl("--no-names", "dump-flows", switch)
    return {re.sub(r"duration=\S+ |n_\w+=\d+, |idle_age=\d+, ", "",
                   line.strip()): float(re.search(r"duration=([0-9.]+)s",
                                                  line)[1])
            for line in out.splitlines() if "duration=" in line}


def the_controller_dies_and_returns(net):
    """kill -9; nothing is rewritten."""
    before = {switch: durations(net, switch) for switch in SWITCHES}
    time_before = time.monotonic()
    net.daemon.kill()
    start = time.monotonic()
    net.start_controller()
    status = net.wait_in_sync(3, hosts_attached=4, registrations=3, links=3,
                              hold_left_ms=0, timeout=25)
    took = time.monotonic() - start
    for number, switch in enumerate(SWITCHES, 1):
        known = net.switch(number)
        wrote = known["adds"] + known["modifies"] + known["deletes"]
        expect(wrote == 0 and known["rounds"] == 0,
               f"{switch}: {wrote} rules written in {known['rounds']} rounds")
        after = durations(net, switch)
        elapsed = time.monotonic() - time_before
        expect(after.keys() == before[switch].keys(), "rules differ")
        expect(all(after[f] >= before[switch][f] for f in after),
               f"{switch}: a flow is younger than before ({elapsed:.1f} s)")
    check_recompute(net)
    return (f"in sync after {took:.1f} s, 0 rules written "
            f"({status['links']} links)")


def without_it_switches_bypass_a_dead_link(net):
    """While no controller runs, a link fails: who was reached is reached."""
    net.daemon.kill()
    sh("ip", "link", "set", "s1-l3", "down")
    lost = net.inside("h1", "ping", "-c", "10", "-i", "0.1", "-W", "2",
                      ADDRESS["w3"])
    net.hosts["h1"].say(f"send {ADDRESS['w3']} 0")
    net.hosts["w3"].hear("packet type=0x2 ")
    net.start_controller()
    net.wait_in_sync(3, links=2, hosts_attached=4, hold_left_ms=0,
                     registrations=3, timeout=25)
    sh("ip", "link", "set", "s1-l3", "up")
    net.wait_in_sync(3, links=3)
    check_recompute(net)
    return re.search(r"\d+ received", lost)[0] + " of 10 pings"


def it_dies_amid_changes(net):
    """kill -9 while services come, go and change, four times: what was
    wanted last is what all switches hold in the end, and no packet between
    hosts is lost."""
    rng = random.Random(SEED)
    workers = [net.hosts[name] for name in ("w1", "w2", "w3")]
    names = [f"busy{i}.shop.acme" for i in range(12)]
    wanted = {}
    pings = [subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{name}", "ping", "-i", "0.02",
         ADDRESS[to]], stdout=subprocess.PIPE, text=True)
        for name, to in (("h1", "w1"), ("h1", "w3"), ("w3", "w2"))]

    def change():
        agent, name = rng.choice(workers), rng.choice(names)
        if wanted.get((agent.name, name)) and not rng.randrange(3):
            del wanted[agent.name, name]
            agent.say(f"unregister {name} 80")
        else:
            wanted[agent.name, name] = weight = rng.randrange(1, 5)
            agent.say(f"register {name} 80 {weight}")
    for wait in (True, False, True, True):
        for _ in range(rng.randrange(20, 100)):
            change()
        time.sleep(rng.random() * 0.03)  # Any moment: nothing is awaited.
        net.daemon.kill()
        for _ in range(rng.randrange(20)):
            change()
        # What nobody serves any more is held back for so long.
        net.start_controller("hold_time: 5s\n")
        if wait:
            until(lambda: net.ask("show", "status")["hold_left_ms"] == 0
                  or change(), "the hold is over", 25, 0.1)
    for agent in workers:  # Who was not connected was not heard.
        for (who, name), weight in wanted.items():
            if who == agent.name:
                agent.say(f"register {name} 80 {weight}")
    net.wait_in_sync(3, hosts_attached=4, links=3, hold_left_ms=0,
                     registrations=3 + len(wanted), timeout=25)
    for switch in SWITCHES:
        there = services_in(net, switch, names)
        should = {name: {ADDRESS[who] for who, n in wanted if n == name}
                  for name in names}
        expect(there == should, f"SEED={SEED} {switch}: {there}, {should}")
    check_recompute(net)
    answered = 0
    for ping in pings:
        ping.send_signal(signal.SIGINT)
        seen = set(map(int, re.findall(r"icmp_seq=(\d+) ttl",
                                       ping.communicate()[0])))
        answered += len(seen)
        lost = set(range(1, max(seen) + 1)) - seen  # But the last, perhaps.
        expect(not lost, f"SEED={SEED}: pings {sorted(lost)[:9]} are lost")
    for who, name in wanted:
        net.hosts[who].say(f"unregister {name} 80")
    net.wait_in_sync(3, registrations=3)
    return f"{answered} pings, 0 lost"


def a_host_is_gone_when_the_controller_returns(net):
    """The hold time ends it."""
    net.daemon.kill()
    net.hosts["w3"].stop()
    net.start_controller("hold_time: 3s\n")
    expect(net.ask("show", "status")["hold_left_ms"] > 0, "no hold")
    expect(ADDRESS["w3"] in targets(net, "s1"), "withdrawn at once")
    net.wait_in_sync(3, hosts_attached=3, hold_left_ms=0, timeout=20)
    expect(targets(net, "s1") == {ADDRESS["w1"]: 8192, ADDRESS["w2"]: 8192},
           f"{targets(net, 's1')}")
    net.hosts["w3"] = net.add_agent("w3", ADDRESS["w3"])
    net.hosts["w3"].hear("attachment attached=1")
    net.hosts["w3"].ask(f"register {SERVICE} 80 2 wait",
                        "registered confirmed=1")
    expect(targets(net, "s1")[ADDRESS["w3"]] == 8192, "not back")
    return ""


def a_switch_loses_its_rules(net):
    """Its connection breaks meanwhile, so that it is read again."""
    net.ovs.vsctl("del-controller", "s2")
    net.wait_status(switches_connected=2)
    net.ovs.ofctl("del-flows", "s2")
    net.ovs.vsctl("set-controller", "s2", f"tcp:127.0.0.1:{OPENFLOW_PORT}",
                  "--", "set", "controller", "s2", "max_backoff=1000")
    net.wait_in_sync(3, links=3, hosts_attached=4)
    expect(len(targets(net, "s2")) == 3, f"{targets(net, 's2')}")
    check_recompute(net)
    return ""


def resync_repairs_what_others_did(net):
    before = net.flows("s2")
    net.ovs.ofctl("del-flows", "s2", "table=10")
    net.ovs.ofctl("mod-flows", "s2", "table=20 actions=drop")
    net.ovs.ofctl("del-meters", "s2")
    expect(net.flows("s2") != before, "nothing was changed")
    expect(net.ask("resync")["reading"] == 3, "not all are read again")
    net.wait_in_sync(3, refused_rules=0)
    expect(net.flows("s2") == before, f"{net.flows('s2') ^ before}")
    expect("meter=3" in net.ovs.ofctl("dump-meters", "s2").replace(" ", ""),
           "the meters are not back")
    check_recompute(net)
    return ""


def flapping_ends_where_it_should(net):
    """A host's port and a link, each a hundred times, as fast as it goes."""
    start = time.monotonic()
    for _ in range(100):
        for interface in ("w3", "s1-l1"):
            sh("ip", "link", "set", interface, "down")
            sh("ip", "link", "set", interface, "up")
    took = time.monotonic() - start
    net.wait_in_sync(3, links=3, hosts_attached=4, timeout=30)
    expect(targets(net, "s1") == {ADDRESS["w1"]: 4096, ADDRESS["w2"]: 4096,
                                  ADDRESS["w3"]: 8192}, "not as before")
    check_recompute(net)
    return f"{400 / took:.0f} changes a second"


STEPS = (switches_and_links, registrations_are_confirmed,
         the_controller_dies_and_returns,
         without_it_switches_bypass_a_dead_link, it_dies_amid_changes,
         a_host_is_gone_when_the_controller_returns, a_switch_loses_its_rules,
         resync_repairs_what_others_did, flapping_ends_where_it_should)


def inside():
    return run_suite("restart", Network("check-restart"), STEPS)


if __name__ == "__main__":
    sys.exit(sandbox.run(inside))
