# SPDX-License-Identifier: Apache-2.0
"""How packets are routed, in real switches of the private Open vSwitch.

              s2
            /    \\
    h1 -- s1      s4 -- w1, w2      the lower way has a cable that takes 15 ms
            \\    /
              s3 -- w3

Each step needs what the ones before it left.  ONLY=name runs up to the step
of that name."""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.daemon import sh
from topologies.wait import until
from tests.controller.network import RUN, Network
from tests.controller.steps import expect, run_suite

SERVICE = "web.shop.acme"
STANDBY = "db.shop.acme"
LOCAL = "cache.shop.acme"
NEAR = "near.shop.acme"
SLOW = "slow.shop.acme"
SEEN = "seen.shop.acme"
HOSTS = (("h1", "s1", ""), ("w1", "s4", "east"), ("w2", "s4", "east"),
         ("w3", "s3", "west"))
ADDRESS = {name: f"10.0.0.{i}" for i, (name, _, _) in enumerate(HOSTS, 1)}
ADDRESS6 = {name: f"fd00::{i}" for i, (name, _, _) in enumerate(HOSTS, 1)}
CONFIG = f"""
path_classes:
  - {{name: fast, number: 1, kind: lowest-latency}}
  - {{name: clean, number: 2, kind: avoid, switches: ["0000000000000002"]}}
  - {{name: inspected, number: 3, kind: waypoint, waypoint: "3"}}
  - {{name: around, number: 4, kind: avoid, links: [{{switch: "1", port: 1}}]}}
services:
  - {{name: {STANDBY}, policy: failover}}
  - {{name: {LOCAL}, policy: local-first}}
  - {{name: {NEAR}, policy: nearest}}
  - {{name: {SLOW}, path_class: clean}}
  - {{name: {SEEN}, path_class: inspected}}
"""


def counted(net, switch, *patterns):
    """Packets that the flows with all patterns have seen."""
    out = net.ovs.ofctl("--no-names", "dump-flows", switch)
    return sum(int(re.search(r"n_packets=(\d+)", line)[1])
               for line in out.splitlines()
               if all(p in line for p in patterns))


def check_recompute(net):
    answer = net.ask("recompute", "--check")
    expect(answer and answer["equal"], "a full recompute differs")


def register(net, name, service, weight=1, priority=0, capacity=0):
    heard = net.hosts[name].ask(
        f"offer {service} 80 {weight} {priority} {capacity}",
        r"registered confirmed=1|error")
    expect("registered" in heard.string, heard.string)


def attach(net, name, dpid):
    """PROBEs, until the network says that it is there.  (A port that is new
    may swallow the first.)"""
    agent = net.hosts[name]

    def look():
        agent.say("probe")
        return re.search(f"attachment attached=1 dpid={dpid} ",
                         take(agent).rsplit("attached=0", 1)[-1])
    until(look, f"{name} is attached at s{dpid}", 10)
    net.wait_in_sync(4)


def syn(net, service, port, kind="syn", path_class=0):
    """Whom a SYN of h1 reaches; None: it was refused."""
    for name, agent in net.hosts.items():
        agent.forget()
    net.hosts["h1"].say(f"{kind} {service} {port} {path_class}")
    found = []

    def look():
        for name, agent in net.hosts.items():
            if re.search(f"src_flow={0x10000 + port} ", take(agent)):
                found.append(name)
        if f"dst_flow={0x10000 + port} " in take(net.hosts["h1"]):
            found.append(None)
        return found
    until(look, f"a SYN for {service} gets anywhere", 5)
    return found[0]


def take(agent):
    """What was heard since, as one text; stays to be heard."""
    while not agent._new.empty():  # pylint: disable=protected-access
        agent.lines.append(agent._new.get())  # pylint: disable=W0212
    return "\n".join(agent.lines[-20:])


# The steps.


def switches_and_hosts(net):
    for number in range(1, 5):
        net.add_switch(number)
    net.add_link("s1", "s2")
    net.add_link("s2", "s4")
    net.add_link("s3", "s4")
    net.slow = net.add_slow_link("s1", "s3", 15)
    for name, switch, _ in HOSTS:
        net.add_host(name, switch, ADDRESS[name])
        net.add_v6(name, ADDRESS6[name])
    net.start_controller(CONFIG)
    net.wait_in_sync(4, links=4)
    net.hosts = {}
    for name, _, zone in HOSTS:
        net.hosts[name] = net.add_agent(name, ADDRESS[name],
                                        locator6=ADDRESS6[name], zone=zone)
        net.hosts[name].hear("welcome")
    for agent in net.hosts.values():
        until(lambda a=agent: "attachment attached=1" in take(a)
              and "attachment6 attached=1" in take(a),
              f"{agent.name} is attached by both locators", 10)
    net.wait_in_sync(4)
    check_recompute(net)


def hosts_reach_each_other(net):
    """ARP and ND are answered in the switches."""
    for name in ("w1", "w3"):
        net.inside("h1", "ping", "-c1", "-W2", ADDRESS[name])
        net.inside("h1", "ping", "-6", "-c1", "-W2", ADDRESS6[name])
    return net.inside("h1", "ip", "-6", "neighbour").splitlines()[0]


def services_over_ipv6(net):
    register(net, "w1", SERVICE)
    for port in (50000, 50001):
        expect(syn(net, SERVICE, port) == "w1", "IPv4: not w1")
        expect(syn(net, SERVICE, port, "syn6") == "w1", "IPv6: not w1")
    expect(syn(net, "nobody.shop.acme", 50002, "syn6") is None,
           "a SYN over IPv6 that nobody serves is not refused")


def nobody_is_somebody_else(net):
    """A foreign locator does not come through, over IPv6 either."""
    net.inside("h1", "ip", "-6", "address", "add", "fd00::77/64", "dev",
               "eth0", "nodad")
    answer = subprocess.run(
        ["nsenter", "--net=/run/netns/h1", "ping", "-6", "-c2", "-W1", "-I",
         "fd00::77", ADDRESS6["w1"]], capture_output=True, check=False)
    expect(answer.returncode != 0, "a foreign IPv6 locator came through")
    net.inside("h1", "ip", "-6", "address", "del", "fd00::77/64", "dev",
               "eth0")


def endpoints_are_services(net):
    """By the endpoint's ID, whatever it has registered; and at once where it
    is after a move."""
    prefix = re.search(r"endpoint (0x[0-9a-f]+/192)",
                       "\n".join(net.hosts["w3"].lines))[1]
    expect(syn(net, prefix, 50010) == "w3", "not w3")
    expect(syn(net, prefix, 50011, "syn6") == "w3", "IPv6: not w3")
    net.ovs.vsctl("del-port", "s3", "w3")
    net.ovs.vsctl("add-port", "s2", "w3")
    attach(net, "w3", 2)
    expect(syn(net, prefix, 50012) == "w3", "w3 was not found after its move")
    net.ovs.vsctl("del-port", "s2", "w3")
    net.ovs.vsctl("add-port", "s3", "w3")
    attach(net, "w3", 3)
    shown = net.ask("show", "services")
    expect(not any(prefix[:20] in str(s) for s in shown["services"]),
           "endpoints are shown as services")
    check_recompute(net)


def shares_of(net, switch, service):
    """{address: its share of 16384 source ports}, as the switch has it."""
    prefix = next(s["prefix"] for s in net.ask("show", "services")[
        "services"] if s.get("name") == service).split("/")[0].rstrip("0")
    got = {}
    for flow in net.flows(switch, 10):
        target = re.search(r"set_field:([0-9.]+)->ip_dst", flow)
        if target and "cookie=0x53414c03" in flow and prefix in flow:
            mask = re.search(r"tp_src=0x[0-9a-f]+/0x([0-9a-f]+)", flow)
            bits = bin(int(mask[1], 16)).count("1") if mask else 0
            got[target[1]] = got.get(target[1], 0) + (16384 >> bits)
    return got


def nearest_by_cost(net):
    """w3 is one switch away from h1, w1 two, until the link costs more."""
    port = net.port("s1-l4")

    def at_cost(cost, wanted, by_s2):
        net.configure(CONFIG + (
            f"links: [{{switch: '1', port: {port}, cost: {cost}}}]\n"
            if cost else ""))
        sh("kill", "-HUP", str(net.daemon.process.pid))
        until(lambda: shares_of(net, "s1", NEAR) == wanted,
              f"cost {cost}: {wanted}", 10)
        net.wait_in_sync(4)
        net.ovs.appctl("revalidator/wait")
        to = f"nw_dst={ADDRESS['w3']}"
        before = [counted(net, s, "table=20", to) for s in ("s2", "s3")]
        net.inside("h1", "ping", "-c2", "-W2", ADDRESS["w3"])
        # The datapath's counts arrive a second later.
        until(lambda: counted(net, "s3", "table=20", to) > before[1],
              "s3 has counted", 5)
        expect((counted(net, "s2", "table=20", to) > before[0]) == by_s2,
               f"cost {cost}: by way of s2 is not {by_s2}")
        check_recompute(net)
    register(net, "w1", NEAR)
    register(net, "w3", NEAR)
    w1, w3 = ADDRESS["w1"], ADDRESS["w3"]
    at_cost(None, {w3: 16384}, False)
    expect(shares_of(net, "s4", NEAR) == {w1: 16384}, "s4: not w1")
    at_cost(2, {w1: 8192, w3: 8192}, False)
    at_cost(10, {w1: 16384}, True)
    at_cost(None, {w3: 16384}, False)
    return "and ties are shared"


def failover(net):
    register(net, "w1", STANDBY, priority=1)
    register(net, "w2", STANDBY, priority=2)
    for port in range(50020, 50024):
        expect(syn(net, STANDBY, port) == "w1", "not the first")
    net.hosts["w1"].ask(f"register {STANDBY} 80 0 wait", "registered")
    for port in range(50024, 50028):
        expect(syn(net, STANDBY, port) == "w2", "not the second")


def local_first(net):
    """At s4 (east) the local instance has it all, until it has a capacity."""
    register(net, "w1", LOCAL, weight=4)
    register(net, "w3", LOCAL, weight=4)
    net.wait_in_sync(4)

    def shares(switch):
        return shares_of(net, switch, LOCAL)
    expect(shares("s4") == {ADDRESS["w1"]: 16384}, f"s4: {shares('s4')}")
    expect(shares("s3") == {ADDRESS["w3"]: 16384}, f"s3: {shares('s3')}")
    register(net, "w1", LOCAL, weight=4, capacity=1)
    net.wait_in_sync(4)
    expect(shares("s4") == {ADDRESS["w1"]: 4096, ADDRESS["w3"]: 12288},
           f"s4: {shares('s4')}")
    check_recompute(net)


def latency_is_measured(net):
    """The slow cable is known as such, the others are not.  How much slower
    both are on a busy machine is unknown, so they are compared."""
    def slow(number, far):
        for switch in net.ask("show", "topology")["switches"]:
            for port in switch["ports"]:
                link = port.get("link")
                if switch["dpid"] == f"{number:016x}" and link \
                        and link["dpid"] == f"{far:016x}":
                    return link["latency_us"]
        return 0

    def measured():
        cable = [slow(1, 3), slow(3, 1)]
        others = [slow(1, 2), slow(2, 4), slow(3, 4)]
        return (12000 <= min(cable) and max(cable) <= 100000
                and 0 < min(others) and 2 * max(others) <= min(cable))
    until(measured, "latencies are as they should be", 90)
    return (f"s1-s3 {slow(1, 3)} us (a cable of 15 ms), "
            f"s1-s2 {slow(1, 2)} us")


def path_classes(net):
    """Class 1 takes the upper way, 2 the lower, 3 the lower and is marked, 4
    the lower, not over the link from s1 to s2; all arrive."""
    net.wait_in_sync(4)
    expect(net.port("s1-l1") == 1, "the link to s2 is at another port")
    to = f"nw_dst={ADDRESS['w1']}"
    for number in (0, 1, 2, 3, 4):
        net.hosts["w1"].forget()
        before = [counted(net, s, "table=20", to) for s in ("s2", "s3")]
        net.hosts["h1"].say(f"send {ADDRESS['w1']} {number}")
        net.hosts["w1"].hear("packet type=0x2 ")
        # The datapath's counts arrive a second later.
        until(lambda: sum(counted(net, s, "table=20", to)
                          for s in ("s2", "s3")) > sum(before),
              f"class {number} is counted", 5)
        after = [counted(net, s, "table=20", to) for s in ("s2", "s3")]
        upper, lower = (a > b for a, b in zip(after, before))
        if number:
            expect((upper, lower) == (number == 1, number != 1),
                   f"class {number}: upper {upper}, lower {lower}")
    expect(counted(net, "s4", "table=20", to, "dl_src=02:53:41:4c:02:03")
           + counted(net, "s3", "table=20", to, "sal_flags=0x3/0xf") > 0,
           "nothing was marked")
    # To a host before the waypoint: there and back again.
    net.hosts["h1"].forget()
    net.hosts["w1"].say(f"send {ADDRESS['h1']} 3")
    net.hosts["h1"].hear("packet type=0x2 ")
    check_recompute(net)


def services_have_classes(net):
    """The switch sends SYNs on their class's way, agents are told it."""
    to = f"nw_dst={ADDRESS['w2']}"
    before = [counted(net, s, "table=20", to) for s in ("s2", "s3")]
    for service, wanted in ((SLOW, 2), (SEEN, 3)):
        register(net, "w2", service)
        heard = "\n".join(net.hosts["h1"].lines) + take(net.hosts["h1"])
        expect(f"service {service}" in heard
               and f"class {wanted} ports" in heard, heard)
        expect(syn(net, service, 50040 + wanted, "syn", wanted) == "w2",
               f"{service}: not w2")
    until(lambda: counted(net, "s3", "table=20", to) >= before[1] + 2,
          "the SYNs went by way of s3", 5)
    expect(counted(net, "s2", "table=20", to) == before[0],
           "a SYN went through s2")


def another_key_takes_over(net):
    """w2 is installed anew: another key, the same locators."""
    net.hosts["w2"].stop()
    os.unlink(f"{RUN}/w2.key")
    net.hosts["w2"] = net.add_agent("w2", ADDRESS["w2"],
                                    locator6=ADDRESS6["w2"], zone="east")
    attach(net, "w2", 4)
    superseded = net.ask("show", "status")["discovery"]["hosts_superseded"]
    expect(superseded == 2, f"{superseded} superseded")
    # A machine with its address at another port, while its agent lives:
    net.add_host("thief", "s2", ADDRESS["w2"])
    thief = net.add_agent("thief", ADDRESS["w2"])
    thief.hear("welcome")
    for _ in range(3):
        thief.say("probe")
        net.hosts["w2"].say("probe")
    until(lambda: net.ask("show", "status")["discovery"]
          ["host_probes_refused"] > 0, "it is refused", 5)
    # and after w2 has fallen silent.
    net.hosts["w2"].stop()
    net.hosts["thief"] = thief
    attach(net, "thief", 2)
    superseded = net.ask("show", "status")["discovery"]["hosts_superseded"]
    expect(superseded == 3, f"{superseded} superseded")
    check_recompute(net)


def hop_by_hop(net):
    """A SYN leaves s1 unresolved and is resolved where the instance is."""
    net.daemon.stop()
    net.start_controller(CONFIG + "resolution: hop-by-hop\n")
    net.wait_in_sync(4, timeout=30, links=4)
    register(net, "w1", SERVICE)
    net.wait_in_sync(4)
    for i in range(4):
        expect(syn(net, SERVICE, 50060 + i) == "w1", "not w1")
    net.prefix = next(s["prefix"] for s in net.ask("show", "services")[
        "services"] if s.get("name") == SERVICE).split("/")[0].rstrip("0")
    rewrites = {s: sum("->ip_dst" in flow and net.prefix in flow
                       for flow in net.flows(s, 10)) for s in
                ("s1", "s2", "s3", "s4")}
    expect(rewrites == {"s1": 0, "s2": 0, "s3": 0, "s4": 1}, f"{rewrites}")
    check_recompute(net)


def a_full_table(net):
    """s1 takes 40 service rules, and there are more: no SYN is refused, and
    what is used goes in."""
    net.daemon.stop()
    net.start_controller(CONFIG)
    net.wait_in_sync(4, timeout=30, links=4)
    net.ovs.vsctl("--", "--id=@t", "create", "flow_table", "flow_limit=40",
                  "--", "set", "bridge", "s1", "flow_tables:10=@t")
    names = [f"n{i}.shop.acme" for i in range(60)]
    for name in names:
        net.hosts["w1"].ask(f"register {name} 80 1", "registered")
    until(lambda: any("is full" in str(e)
                      for e in net.ask("show", "events", "200")),
          "the switch is found to be full", 15)
    net.wait_in_sync(4, timeout=20)
    held = len(net.flows("s1", 10))
    expect(20 < held <= 40, f"{held} rules in table 10")
    expect(len(net.flows("s2", 10)) > 60, "s2 is not full")
    for i, name in enumerate(names):
        expect(syn(net, name, 51000 + i) == "w1", f"{name} was not reached")
    forwarded = net.ask("show", "status")["discovery"]["forwarded"]
    expect(forwarded > 10, f"{forwarded} SYNs went by the controller")
    check_recompute(net)

    def rules_of(name):
        prefix = next(s["prefix"] for s in net.ask("show", "services")[
            "services"] if s.get("name") == name).split("/")[0].rstrip("0")
        return sum(prefix in flow for flow in net.flows("s1", 10))
    out = [name for name in names if not rules_of(name)]
    expect(out, "everything has room")
    ports = iter(range(52000, 60000))

    def use():
        for _ in range(10):
            net.hosts["h1"].say(f"syn {out[0]} {next(ports)} 0")
        return rules_of(out[0])
    until(use, "what is used most gets in", 20)
    net.wait_in_sync(4, timeout=20)
    expect(syn(net, out[0], next(ports)) == "w1", "not reached")
    # Once there is room, all go in.
    net.ovs.vsctl("clear", "bridge", "s1", "flow_tables")
    until(lambda: not any(not rules_of(name) for name in names),
          "all services are in the switch", 30)
    check_recompute(net)
    return f"{held} rules, {forwarded} of 60 SYNs by the controller"


STEPS = (switches_and_hosts, hosts_reach_each_other, services_over_ipv6,
         nobody_is_somebody_else, endpoints_are_services, nearest_by_cost,
         failover,
         local_first, latency_is_measured, path_classes,
         services_have_classes, another_key_takes_over, hop_by_hop,
         a_full_table)


def inside():
    return run_suite("routing", Network("check-routing"), STEPS)


if __name__ == "__main__":
    sys.exit(sandbox.run(inside))
