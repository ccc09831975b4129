# SPDX-License-Identifier: Apache-2.0
"""salient-controller against real switches (triangle.py; after a crash:
check_restart.py).

Each step needs what the ones before it left.  ONLY=name runs up to the step
of that name; EXTRA="anti_spoofing: true;fast_failover: true;" adds to the
controller's configuration."""

import json
import os
import random
import re
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.daemon import BUILD, sh
from topologies.wait import until
from tests.controller import control
from tests.controller.network import CONTROL, OPENFLOW_PORT, Network
from tests.controller.stock_switch import StockSwitch
from tests.controller.steps import expect, run_suite
from tests.controller.triangle import (
    ADDRESS, HOSTS, SERVICE, check_recompute, registrations_are_confirmed,
    switches_and_links, targets)

SEED = int(os.environ.get("SEED", "20120425"))


def port_of(net, name):
    """What the controller knows of the port called 'name'."""
    return next(port for switch in net.ask("show", "topology")["switches"]
                for port in switch["ports"] if port["name"] == name)


def a_syn_reaches_its_instance(net):
    """The tile of the source port decides: 1x -> w3, 00 -> w1, 10 -> w2 in
    the two low bits, whatever the assignment of tiles is."""
    h1, seen = net.hosts["h1"], set()
    for port in range(50000, 50004):
        h1.say(f"syn {SERVICE} {port}")
        def arrived():
            for name in ("w1", "w2", "w3"):
                try:
                    net.hosts[name].hear(
                        rf"packet type=0x11 src_flow={0x10000 + port} ", 0.05)
                    return name
                except Exception:  # Not this one.
                    pass
            return None
        seen.add((port & 3, until(arrived, f"the SYN from port {port}")))
    counts = {name: sum(1 for _, n in seen if n == name)
              for name in ("w1", "w2", "w3")}
    expect(counts == {"w1": 1, "w2": 1, "w3": 2}, f"{counts}")
    return f"{counts}"


def ovs_trace(net, name, service_id, entropy):
    """What the switches themselves say: [(switch, out port)], target."""
    mac = json.loads(net.inside(name, "ip", "-json", "link", "show",
                                "eth0"))[0]["address"]
    links = {(s["dpid"], p["number"]): p["link"]
             for s in net.ask("show", "topology")["switches"]
             for p in s["ports"] if "link" in p}
    switch, hops, target = dict(HOSTS)[name], [], "10.255.255.254"
    port = net.port(name)
    while len(hops) < 5:
        out = net.ovs.appctl("ofproto/trace", switch, ",".join([
            f"in_port={port}", "udp", f"dl_src={mac}",
            f"nw_src={ADDRESS[name]}", f"nw_dst={target}", f"udp_src={entropy}",
            "udp_dst=6090", "sal_type=0x11", "sal_proto=6",
            f"sal_service={service_id}"]))
        if "->ip_dst" in out:
            target = re.findall(r"set_field:([0-9.]+)->ip_dst", out)[-1]
        outputs = re.findall(r"output:(\d+)", out)
        if not outputs:
            return hops, None
        hops.append((switch, int(outputs[-1])))
        link = links.get((f"{int(switch[1:]):016x}", hops[-1][1]))
        if not link:
            return hops, target
        switch, port = f"s{int(link['dpid'], 16)}", link["port"]
    return hops, None


def trace_is_what_the_switches_do(net):
    """Every host, 64 source ports: salctl trace and ofproto/trace agree."""
    service_id = next(s["prefix"] for s in net.ask("show", "services")[
        "services"] if s.get("name") == SERVICE).split("/")[0]
    rng, lengths, counts = random.Random(SEED), set(), {}
    for name, _ in HOSTS:
        for entropy in [49152 + i for i in range(8)] + [
                rng.randrange(65536) for _ in range(8)]:
            trace = net.ask("trace", SERVICE, "--from", name, "--entropy",
                            str(entropy), "--port", "80")
            hops = [(f"s{int(s['dpid'], 16)}", s["out_port"])
                    for s in trace["steps"]]
            wanted, target = ovs_trace(net, name, service_id, entropy)
            expect(trace["delivered"] and (hops, trace["target"])
                   == (wanted, target), f"{name} {entropy} SEED={SEED}: "
                   f"{hops} {trace.get('target')}, not {wanted} {target}")
            expect(trace["port_served"] and trace["policy"] == "spread"
                   and len(trace["instances"]) == 3, f"{trace}")
            lengths.add(len(hops))
            counts[target] = counts.get(target, 0) + 1
    nobody = net.ask("trace", "nobody.shop.acme", "--from", "h1")
    expect(not nobody["delivered"] and "RESET" in nobody["end"], f"{nobody}")
    trace = net.ask("trace", SERVICE, "--from", "h1", "--port", "81")
    expect(not trace["port_served"], "port 81")
    status, text, error = control.call_raw(CONTROL, "trace", SERVICE,
                                           "--from", ADDRESS["h1"],
                                           as_json=False)
    expect(status == 0 and "delivered to 10.0.0." in text
           and "why: policy spread, 3 instances" in text, text + error)
    status, _, error = control.call_raw(CONTROL, "trace", SERVICE, "--from",
                                        "x")
    expect(status == 1 and "show hosts" in error, error)
    return f"{sum(counts.values())} source ports, {counts}"


def nobody_serves_it_so_reset(net):
    """Flow ID and nonce come back; the controller answers."""
    start = time.monotonic()
    heard = net.hosts["h1"].ask(
        "syn nobody.shop.acme 51000",
        r"packet type=0x4 src_flow=(\d+) dst_flow=(\d+) nonce=([0-9a-f]+) "
        r"from=(\S+)")
    took = (time.monotonic() - start) * 1e3
    expect(int(heard[2]) == 0x10000 + 51000, heard.string)
    expect(heard[3] == f"{0x1122334400000000 + 51000:x}", heard.string)
    return f"after {took:.0f} ms"


def reached(net, service, port):
    """Whom a SYN of h1 reaches; None: it was refused."""
    net.ovs.appctl("revalidator/wait")
    h1, found = net.hosts["h1"], []
    flow = 0x10000 + port
    h1.say(f"syn {service} {port}")

    def look():
        for name, agent in net.hosts.items():
            if agent.has(f"packet type=0x11 src_flow={flow} "):
                found.append(name)
        if h1.has(rf"packet type=0x4 src_flow=\d+ dst_flow={flow} "):
            found.append(None)
        return found
    until(look, f"a SYN for {service} gets anywhere", 5)
    return found[0]


def the_longest_prefix_wins(net):
    """A catch-all of three labels' length below which names have servers of
    their own, and one of the whole organisation's below both."""
    def register(name, service):
        net.hosts[name].ask(f"register {service} 80 1 wait",
                            "registered confirmed=1")

    def unregister(name, service):
        net.hosts[name].ask(f"unregister {service} 80 wait",
                            "unregistered confirmed=1")
    ports = iter(range(51100, 51200))

    def expect_each(**wanted):
        for what, whom in wanted.items():
            who = reached(net, f"{what}.acme".replace("_", "."), next(ports))
            expect(who == whom, f"{what}: {who}, not {whom}")
    register("w2", "shop.acme")
    register("w1", "deep.shop.acme")
    expect_each(deep_shop="w1", other_shop="w2", x_y_shop="w2", other=None)
    register("w3", "acme")
    expect_each(deep_shop="w1", other_shop="w2", other="w3", a_b="w3")
    unregister("w1", "deep.shop.acme")
    expect_each(deep_shop="w2")
    unregister("w2", "shop.acme")
    expect_each(deep_shop="w3", other_shop="w3")
    register("w1", "deep.shop.acme")
    expect_each(deep_shop="w1", other_shop="w3")
    unregister("w1", "deep.shop.acme")
    unregister("w3", "acme")
    expect_each(deep_shop=None, other=None)
    check_recompute(net)
    return f"{next(ports) - 51100} SYNs"


def a_port_goes_down_and_up(net):
    w3 = net.hosts["w3"]
    start = time.monotonic()
    sh("ip", "link", "set", "w3", "down")
    until(lambda: ADDRESS["w3"] not in targets(net, "s1"), "w3 is withdrawn")
    took = (time.monotonic() - start) * 1e3
    expect(not port_of(net, "w3")["up"], "its port is shown as up")
    w3.hear("attachment attached=0")
    net.wait_in_sync(3, hosts_attached=3, registrations=3)
    wanted = {ADDRESS["w1"]: 8192, ADDRESS["w2"]: 8192}
    expect(targets(net, "s2") == wanted, f"{targets(net, 's2')}")
    event = [e for e in net.ask("show", "events")
             if "w3" in e["event"] and "is down" in e["event"]][-1]
    expect(event["state"] == "confirmed", f"{event}")
    sh("ip", "link", "set", "w3", "up")
    w3.hear("attachment attached=1")
    net.wait_in_sync(3, hosts_attached=4)
    port = port_of(net, "w3")
    expect(port["up"] and port["host_port"] and port["speed_mbps"] == 10000,
           f"{port}")
    expect(targets(net, "s1")[ADDRESS["w3"]] == 8192, "w3 is not back")
    check_recompute(net)
    return (f"seen withdrawn after {took:.0f} ms, of which port status to "
            f"last barrier {event['confirm_us']} us")


def group_to(net, switch, address):
    """The group by which 'switch' sends to a host, as ovs-ofctl has it."""
    number = next(re.search(r"group:(\d+)", flow)[1]
                  for flow in net.flows(switch, 20)
                  if f"nw_dst={address} " in flow and "sal_" not in flow)
    return next(line for line in net.ovs.ofctl(
        "dump-groups", switch).splitlines() if f"group_id={number}," in line)


def a_link_goes_down_and_up(net):
    coverage = net.ask("show", "topology")["fast_failover"]
    expect(coverage == {"links": 6, "links_covered": 6, "ways": 6,
                        "ways_covered": 6}, f"{coverage}")
    sh("ip", "link", "set", "s1-l3", "down")
    net.wait_in_sync(3, links=2)
    group = group_to(net, "s1", ADDRESS["w3"])
    expect(f"output:{net.port('s1-l1')}" in group
           and f"output:{net.port('s1-l3')}" not in group,
           f"no way around: {group}")
    check_recompute(net)
    sh("ip", "link", "set", "s1-l3", "up")
    net.wait_in_sync(3, links=3)
    check_recompute(net)
    return "and the way around it was used"


def two_hosts_share_a_port(net):
    """u1 and u2 are behind a hub: what one sends to a service of the other's
    goes out of s2 where it came in."""
    net.ovs.vsctl("add-br", "hub", "--", "set", "bridge", "hub",
                  "datapath_type=netdev", "fail_mode=secure",
                  "protocols=OpenFlow15")
    sh("ip", "link", "add", "hub-s2", "up", "type", "veth", "peer", "name",
       "s2-hub")
    sh("ip", "link", "set", "s2-hub", "up")
    net.ovs.vsctl("add-port", "hub", "hub-s2")
    net.ovs.vsctl("add-port", "s2", "s2-hub")
    for i, name in enumerate(("u1", "u2")):
        net.add_host(name, "hub", f"10.0.0.{21 + i}")
    net.ovs.ofctl("add-flow", "hub", "actions=flood")
    agents = {name: net.add_agent(name, f"10.0.0.{21 + i}")
              for i, name in enumerate(("u1", "u2"))}
    for agent in agents.values():
        agent.hear("attachment attached=1")
    net.wait_in_sync(3, hosts_attached=6)
    agents["u2"].ask("register hub.shop.acme 80 1 wait",
                     "registered confirmed=1")
    out = net.inside("u1", "ping", "-c", "2", "-W", "2", "10.0.0.22")
    expect("duplicates" not in out, out)
    net.inside("u2", "ping", "-c", "2", "-W", "2", ADDRESS["w1"])
    agents["u1"].say("syn hub.shop.acme 51300")
    agents["u2"].hear(f"packet type=0x11 src_flow={0x10000 + 51300} ")
    net.hosts["h1"].say("syn hub.shop.acme 51301")
    agents["u2"].hear(f"packet type=0x11 src_flow={0x10000 + 51301} ")
    # Neither may be the other, although the port is the same.
    net.inside("u1", "ip", "address", "add", "10.0.0.22/32", "dev", "eth0")
    thief = subprocess.run(
        ["nsenter", "--net=/run/netns/u1", "ping", "-c", "1", "-W", "1", "-I",
         "10.0.0.22", ADDRESS["w1"]], capture_output=True, check=False)
    expect(thief.returncode == 1, "u1 passes for u2")
    check_recompute(net)
    agents["u2"].ask("unregister hub.shop.acme 80 wait",
                     "unregistered confirmed=1")
    sh("ip", "link", "set", "s2-hub", "down")
    net.wait_in_sync(3, hosts_attached=4)
    for name, agent in agents.items():
        agent.stop()
        net.ovs.vsctl("del-port", "hub", name)
        sh("ip", "link", "delete", name)
    net.ovs.vsctl("del-port", "s2", "s2-hub", "--", "del-br", "hub")
    net.wait_in_sync(3)


def unregistering_is_confirmed(net):
    w2 = net.hosts["w2"]
    heard = w2.ask(f"unregister {SERVICE} 80 wait",
                   r"unregistered confirmed=1 us=(\d+)|error")
    expect(heard[1], heard.string)
    expect(ADDRESS["w2"] not in targets(net, "s3"), "confirmed, but there")
    again = w2.ask(f"unregister {SERVICE} 80", r"error (\d) (\S+):")
    expect(again[1] == "4", again.string)
    w2.ask(f"register {SERVICE} 80 1 wait", "registered confirmed=1")
    w2.ask(f"register {SERVICE} 80 0 wait", "registered confirmed=1")
    expect(ADDRESS["w2"] not in targets(net, "s3"), "drained, but there")
    w2.ask(f"register {SERVICE} 80 1 wait", "registered confirmed=1")
    return f"after {heard[1]} us; and drained, and back"


def bad_requests_are_explained(net):
    w1 = net.hosts["w1"]
    for command, code, field in (
            ("register Web.shop 80 1", 2, "register.name"),
            (f"register {SERVICE} 0 1", 2, "register.service_port"),
            (f"register {SERVICE} 80 70000", 2, "register.weight"),
            ("unregister no.such 80", 4, "unregister.name")):
        heard = w1.ask(command, r"error (\d+) (\S+): (.*)")
        expect((int(heard[1]), heard[2]) == (code, field) and heard[3],
               f"{command}: {heard.string}")
    w1.ask(f"register {SERVICE} 80 1 wait", "registered confirmed=1")
    return "four of them"


def a_wait_without_a_network_times_out(net):
    """An endpoint that no switch has seen: the wait ends with a reason."""
    net.add_host("dark", "s2", "10.0.0.9")
    sh("ip", "link", "set", "dark", "down")
    dark = net.add_agent("dark", "10.0.0.9")
    dark.hear("welcome")
    heard = dark.ask("register dark.shop.acme 80 1 wait", r"error (\d+) (.*)")
    expect(heard[1] == "8" and "PROBE" in heard[2], heard.string)
    dark.stop()
    net.wait_status(endpoints=4, timeout=20)
    return heard[2]


def a_foreign_flow_is_left_alone(net):
    net.ovs.ofctl("add-flow", "s1", "table=5,priority=7,cookie=0x1234,"
                  "udp,tp_dst=7 actions=drop")
    net.ovs.ofctl("add-group", "s1", "group_id=7,type=all,bucket=drop")
    sh("ip", "link", "set", "w3", "down")
    net.wait_in_sync(3, hosts_attached=3)
    sh("ip", "link", "set", "w3", "up")
    net.wait_in_sync(3, hosts_attached=4)
    # Also when everything is read again; ours that nobody wants goes.
    net.ovs.ofctl("add-group", "s1", "group_id=0x53fffff0,type=ff,"
                  "bucket=watch_port:1,output:1")
    net.ask("resync")
    net.wait_in_sync(3, hosts_attached=4)
    groups = net.ovs.ofctl("dump-groups", "s1")
    expect(any("cookie=0x1234" in flow for flow in net.flows("s1")),
           "the flow is gone")
    expect("group_id=7," in groups, "the group is gone")
    expect(f"group_id={0x53fffff0}," not in groups, "our group is there")
    return "nor a foreign group; a group of ours that nobody wants goes"


def limit_table(net, switch, table):
    """Room for what is there, and no more."""
    limit = len(net.flows(switch, table))
    net.ovs.vsctl("--", "--id=@t", "create", "Flow_Table",
                  f"flow_limit={limit}", "overflow_policy=refuse", "--",
                  "set", "bridge", switch, f"flow_tables:{table}=@t")
    return limit


def a_host_comes_late(net):
    net.add_host("late", "s1", "10.0.0.8")
    late = net.add_agent("late", "10.0.0.8")
    late.hear("attachment attached=1")
    return late


def the_late_host_goes(net, late):
    sh("ip", "link", "set", "late", "down")
    late.stop()
    net.wait_in_sync(3, hosts_attached=4, endpoints=4, timeout=30)
    net.ovs.vsctl("del-port", "s1", "late")
    sh("ip", "link", "delete", "late")
    sh("ip", "netns", "delete", "late")


def a_full_table_is_explained(net):
    """s2 takes no more ARP answers: which, and why, can be asked; once there is
    room they go in."""
    limit_table(net, "s2", 1)
    late = a_host_comes_late(net)
    until(lambda: net.ask("show", "status")["refused_rules"] > 0,
          "rules are refused")
    refused = net.switch(2)["refused"]
    expect(all("TABLE_FULL" in r["error"] and "table 1" in r["rule"]
               for r in refused), f"{refused}")
    status, text, _ = control.call_raw(CONTROL, "show", "switches",
                                       as_json=False)
    expect(status == 0 and "TABLE_FULL" in text, text)
    net.ovs.vsctl("clear", "bridge", "s2", "flow_tables")
    net.wait_in_sync(3, refused_rules=0)
    the_late_host_goes(net, late)
    return f"{refused[0]['rule']}: {refused[0]['error']}"


def a_switch_short_of_routes_delivers(net):
    """s2 takes no more routes: what leads to another switch anyway then does
    without one, and everybody is reached; once there is room all go in.  (Full
    service tables: check_routing.py.)"""
    limit = limit_table(net, "s2", 20)
    late = a_host_comes_late(net)
    until(lambda: any("has no room for a route" in str(event) for event
                      in net.ask("show", "events", "100")), "it is said")
    net.wait_in_sync(3, refused_rules=0)
    flows = net.flows("s2", 20)
    expect(not any("nw_dst=10.0.0.8," in flow.replace(" ", ",")
                   for flow in flows) and len(flows) <= limit, f"{flows}")
    expect(any(f"nw_dst={ADDRESS['w2']}," in flow.replace(" ", ",")
               for flow in flows), "its own host has no route")
    for address in ("10.0.0.8", ADDRESS["h1"], ADDRESS["w1"], ADDRESS["w3"]):
        net.inside("w2", "ping", "-c", "2", "-W", "2", address)
    net.inside("w3", "ping", "-c", "2", "-W", "2", ADDRESS["w2"])
    check_recompute(net)
    net.ovs.vsctl("clear", "bridge", "s2", "flow_tables")
    until(lambda: any("nw_dst=10.0.0.8" in f for f in net.flows("s2", 20)),
          "the route goes in", 30)
    net.wait_in_sync(3, refused_rules=0)
    the_late_host_goes(net, late)
    return f"{len(flows)} flows instead of {limit + 1}"


def a_duplicate_datapath_is_refused(net):
    net.add_switch(4, dpid=1)
    until(lambda: net.ask("show", "status")
          ["switches_refused_as_duplicates"] > 0, "it is refused")
    net.wait_in_sync(3)
    net.ovs.vsctl("del-br", "s4")
    expect(net.switch(1)["connected"], "the first one is gone")
    return ""


def a_dead_switch_is_replaced_by_its_double(net):
    """The first connection no longer answers: it is asked as soon as the
    second comes, which may then come again."""
    dead = StockSwitch(OPENFLOW_PORT, 0x77)
    until(lambda: net.switch(0x77).get("in_sync"), "it is up")
    dead.mute = True
    start = time.monotonic()
    double = StockSwitch(OPENFLOW_PORT, 0x77)
    expect(double.closed.wait(2), "the double was not refused")
    expect(dead.closed.wait(7), "the dead one was not given up")
    took = time.monotonic() - start
    double = StockSwitch(OPENFLOW_PORT, 0x77)
    until(lambda: net.switch(0x77).get("in_sync"), "replaced")
    double.stop()
    net.wait_status(switches_known=3, timeout=15)
    return f"given up after {took:.1f} s"


def openflow_13_works_too(net):
    net.ovs.vsctl("set", "bridge", "s2", "protocols=OpenFlow13")
    until(lambda: net.switch(2).get("openflow") == "1.3",
          "s2 speaks 1.3")
    net.wait_in_sync(3, links=3)
    known = net.switch(2)
    expect(known["sal"] and not known["bundles"], f"{known}")
    w1 = net.hosts["w1"]
    w1.ask("register old.shop.acme 80 1 wait", "registered confirmed=1")
    w1.ask("unregister old.shop.acme 80 wait", "unregistered confirmed=1")
    check_recompute(net)
    net.ovs.vsctl("set", "bridge", "s2", "protocols=OpenFlow15")
    until(lambda: net.switch(2).get("openflow") == "1.5",
          "s2 speaks 1.5")
    net.wait_in_sync(3, links=3, hosts_attached=4)
    return ""


def a_stock_switch_forwards_plainly(net):
    stock = StockSwitch(OPENFLOW_PORT, 0x99)
    net.wait_in_sync(4, switches_stock=1)
    known = net.switch(0x99)
    expect(not known["sal"] and known["openflow"] == "1.3"
           and known["hardware"] == "Make", f"{known}")
    expect(stock.flow_mods and not stock.meter_mods and not stock.bundles,
           f"{len(stock.flow_mods)} flow_mods, {stock.meter_mods} meter_mods")
    tables = {flow_mod[16] for flow_mod in stock.flow_mods}
    expect(10 not in tables, f"service rules for a stock switch: {tables}")
    with open(net.daemon.log, encoding="utf-8") as log:
        expect("no SAL fields" in log.read(), "the log does not tell")
    stock.stop()
    net.wait_status(switches_known=3, timeout=15)
    check_recompute(net)
    return f"{len(stock.flow_mods)} rules"


def hostile_bytes_are_survived(net):
    """Random, truncated, oversized; half of it after a good HELLO."""
    rng = random.Random(SEED)
    hello = bytes([6, 0, 0, 8, 0, 0, 0, 1])
    path = f"{os.path.dirname(CONTROL)}/api.sock"
    for i in range(200):
        if i % 2:
            sock = socket.create_connection(("127.0.0.1", OPENFLOW_PORT))
            data = hello if rng.random() < 0.5 else b""
            for _ in range(rng.randrange(20)):
                body = rng.randbytes(rng.randrange(64))
                data += bytes([6, rng.randrange(36)]) + (
                    8 + len(body) + rng.choice((0, 0, 0, 1, -1, 60000))
                ).__and__(0xffff).to_bytes(2, "big") + rng.randbytes(4) + body
        else:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            body = rng.randbytes(rng.randrange(200))
            data = b"SL\1\0" + rng.choice(
                (len(body), 0, 1 << 30)).to_bytes(4, "big") + body
        try:
            sock.sendall(data)
            sock.settimeout(0.01)
            sock.recv(65536)
        except OSError:
            pass
        sock.close()
    expect(net.daemon.alive(), f"SEED={SEED}: the controller died")
    net.wait_in_sync(3, links=3, hosts_attached=4, switches_known=3)
    check_recompute(net)
    return "200 connections"


def a_silent_agent_lapses(net):
    """SIGSTOP: its lease ends, its instances go, the switch stays quiet."""
    w2 = net.hosts["w2"]
    sh("kill", "-STOP", str(w2.process.pid))
    net.wait_in_sync(3, registrations=2, timeout=30)
    expect(ADDRESS["w2"] not in targets(net, "s1"), "still there")
    w2.forget()
    sh("kill", "-CONT", str(w2.process.pid))
    w2.hear("closed")
    w2.hear("welcome")
    w2.ask(f"register {SERVICE} 80 1 wait", "registered confirmed=1")
    return ""


def services_are_defined_at_run_time(net):
    """SIGHUP: a name that nobody serves yet is known from now on, so it is
    refused, not unknown."""
    h1 = net.hosts["h1"]
    h1.forget()
    net.configure("services: [later.shop.acme]\n")
    sh("kill", "-HUP", str(net.daemon.process.pid))
    h1.hear("service later.shop.acme c61")
    net.configure("services: [later.shop.acme\n")
    sh("kill", "-HUP", str(net.daemon.process.pid))
    def complained():
        with open(net.daemon.log, encoding="utf-8") as log:
            return "the old configuration stays" in log.read()
    until(complained, "it says what is wrong with the configuration")
    net.configure("")
    sh("kill", "-HUP", str(net.daemon.process.pid))
    h1.hear("table complete=0 services=0 removed=1")
    return ""


def salctl(*arguments):
    """What people type."""
    done = subprocess.run([f"{BUILD}/bin/salctl", *arguments],
                          capture_output=True, text=True, check=False,
                          env={"SALIENT_CONTROLLER_SOCKET": CONTROL})
    return done.returncode, done.stdout, done.stderr


def dumps_are_readable(net):
    for what in ("status", "switches", "topology", "hosts", "services",
                 "routes", "rules", "events"):
        status, text, error = salctl("controller", "show", what)
        expect(status == 0 and text.strip() and "{" not in text,
               f"show {what}: {text} {error}")
        status, text, error = salctl("--json", "controller", "show", what)
        expect(status == 0 and json.loads(text), f"show {what}: {error}")
    status, text, _ = salctl("controller", "recompute", "--check")
    expect(status == 0 and "the same rules" in text, text)
    status, text, _ = salctl("trace", SERVICE, "--from", "h1")
    expect(status == 0 and "delivered" in text, text)
    status, _, error = salctl("controller", "show", "rules", "77")
    expect(status == 1 and "show switches" in error, error)
    status, _, error = salctl("controller", "show", "nothing")
    expect(status != 0 and error, error)
    return ""


STEPS = (switches_and_links, registrations_are_confirmed,
         a_syn_reaches_its_instance, trace_is_what_the_switches_do,
         nobody_serves_it_so_reset, the_longest_prefix_wins,
         a_port_goes_down_and_up, a_link_goes_down_and_up,
         two_hosts_share_a_port, unregistering_is_confirmed,
         bad_requests_are_explained, a_foreign_flow_is_left_alone,
         a_full_table_is_explained, a_switch_short_of_routes_delivers,
         a_duplicate_datapath_is_refused,
         a_dead_switch_is_replaced_by_its_double, openflow_13_works_too,
         a_stock_switch_forwards_plainly, hostile_bytes_are_survived,
         a_silent_agent_lapses, a_wait_without_a_network_times_out,
         services_are_defined_at_run_time, dumps_are_readable)


def inside():
    return run_suite("controller", Network("check-controller"), STEPS)


if __name__ == "__main__":
    sys.exit(sandbox.run(inside))
