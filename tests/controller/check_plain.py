# SPDX-License-Identifier: Apache-2.0
"""Hosts without Salient in a network with loops, real switches.

        s1 ------ s2 ======= s4      all links are doubled by others: a ring,
          \\     /  |       /         a chord, and a pair of parallel links
           -- s3 ----------

    p1 at s1, p2 at s4, p3 at s3: plain.  a1 at s2 has an agent.

Each step needs what the ones before it left.  ONLY=name runs up to the step
of that name."""

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
from topologies.daemon import sh
from topologies.wait import until
from tests.controller import control
from tests.controller.network import CONTROL, Network
from tests.controller.steps import expect, run_suite

CONFIG = """
plain_hosts: true
plain_timeout: 6s
"""
HOSTS = (("p1", "s1"), ("p2", "s4"), ("p3", "s3"), ("a1", "s2"))
ADDRESS = {name: f"10.0.0.{i}" for i, (name, _) in enumerate(HOSTS, 1)}
ADDRESS6 = {name: f"fd00::{i}" for i, (name, _) in enumerate(HOSTS, 1)}


def try_inside(name, *command):
    """(exit status, output)."""
    done = subprocess.run(["nsenter", f"--net=/run/netns/{name}", *command],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def ping(net, a, address, count=3, *options):
    """How many of the pings are answered."""
    _, out = try_inside(a, "ping", "-c", str(count), "-i", "0.3", "-W", "5",
                        *options, address)
    match = re.search(r"(\d+) received", out)
    return int(match[1]) if match else 0


def plain(net):
    return {h["locator"]: (int(h["dpid"], 16), h["port"])
            for h in net.ask("show", "topology")["hosts"] if h["plain"]}


def check_recompute(net):
    answer = net.ask("recompute", "--check")
    expect(answer and answer["equal"], "a full recompute differs")


# The steps.


def switches_with_loops(net):
    for number in range(1, 5):
        net.add_switch(number)
    for a, b in (("s1", "s2"), ("s2", "s3"), ("s3", "s1"), ("s2", "s4"),
                 ("s2", "s4"), ("s3", "s4")):
        net.add_link(a, b)
    for name, switch in HOSTS:
        net.add_host(name, switch, ADDRESS[name])
        net.add_v6(name, ADDRESS6[name])
    net.start_controller(CONFIG)
    net.wait_in_sync(4, links=6)
    net.agent = net.add_agent("a1", ADDRESS["a1"], locator6=ADDRESS6["a1"])
    net.agent.hear("attachment attached=1")
    net.wait_in_sync(4)
    check_recompute(net)


def plain_hosts_reach_each_other(net):
    """Nobody knows anybody.  ARP and ND are broadcast at first."""
    for other in ("p2", "p3", "a1"):
        expect(ping(net, "p1", ADDRESS[other], 5) >= 2, f"p1 - {other}")
    expect(ping(net, "p3", ADDRESS6["p2"], 5, "-6") >= 2, "p3 - p2, IPv6")
    net.wait_in_sync(4)
    known = plain(net)
    for name, switch in HOSTS[:3]:
        where = (int(switch[1:]), net.port(name))
        expect(known.get(ADDRESS[name]) == where, f"{name}: {known}")
    expect(ADDRESS["a1"] not in known, "an endpoint is taken for plain")
    _, text, _ = control.call_raw(CONTROL, "show", "topology", as_json=False)
    expect(re.search(f"host {ADDRESS['p1']} .*, plain\n", text)
           and re.search(f"host {ADDRESS['a1']} .*, endpoint ", text), text)
    # From now on nothing is lost.
    expect(ping(net, "p1", ADDRESS["p2"], 5) == 5, "a ping was lost")
    check_recompute(net)
    return f"{len(known)} addresses learnt"


def a_transfer(net):
    """TCP, with an ordinary server."""
    server = subprocess.Popen(
        ["nsenter", "--net=/run/netns/p2", sys.executable, "-m",
         "http.server", "8000", "--directory", ROOT + "/controller"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://{ADDRESS['p2']}:8000/rules.h"
        until(lambda: try_inside("p1", "curl", "-s", "-o", "/dev/null",
                                 "--max-time", "2", url)[0] == 0,
              "curl gets the file", 10)
        _, text = try_inside("p1", "curl", "-s", url)
        with open(ROOT + "/controller/rules.h", encoding="utf-8") as file:
            expect(text == file.read(), "the file differs")
    finally:
        server.kill()
        server.wait()


def a_broadcast_arrives_once(net):
    """Ten ARP requests for an address that nobody has: ten at each host, and
    not one more, although the switches have loops."""
    count = """
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
s.bind(("eth0", 0)); s.settimeout(0.2); n = 0
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        frame, address = s.recvfrom(2000)
    except TimeoutError:
        continue
    n += address[2] != 4 and frame[38:42] == bytes([10, 0, 0, 200])
    if frame[38:42] == bytes([10, 0, 0, 201]):  # That was all, or nearly.
        end = min(end, time.monotonic() + 1)
print(n)
"""
    ears = {name: subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{name}", sys.executable, "-c", count],
        stdout=subprocess.PIPE, text=True) for name in ("p2", "p3", "a1")}
    for ear in ears.values():
        ear.stdout.readline()
    send = """
import socket, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0)); mac = s.getsockname()[4]
frame = (b"\\xff" * 6 + mac + bytes.fromhex("08060001080006040001") + mac
         + bytes([10, 0, 0, 1]) + bytes(6) + bytes([10, 0, 0]))
for last in 10 * [200] + [201]:
    s.send((frame + bytes([last])).ljust(60, b"\\0")); time.sleep(0.05)
"""
    status, out = try_inside("p1", sys.executable, "-c", send)
    expect(status == 0, out)
    heard = {name: int(ear.stdout.readline()) for name, ear in ears.items()}
    for ear in ears.values():
        ear.wait()
    expect(all(n == 10 for n in heard.values()), f"{heard}")
    return str(heard)


def addresses_are_not_taken(net):
    """p3 claims the agent's address, and p2's."""
    for victim in ("a1", "p2"):
        net.inside("p3", "ip", "address", "add", f"{ADDRESS[victim]}/32",
                   "dev", "eth0")
        before = net.ask("show", "status")["discovery"]["plain_refused"]
        ping(net, "p3", ADDRESS["p1"], 12, "-I", ADDRESS[victim])
        until(lambda b=before: net.ask("show", "status")["discovery"]
              ["plain_refused"] > b, "the claim is refused", 10)
        net.inside("p3", "ip", "address", "del", f"{ADDRESS[victim]}/32",
                   "dev", "eth0")
    hosts = {h["locator"]: int(h["dpid"], 16)
             for h in net.ask("show", "topology")["hosts"]}
    expect(hosts[ADDRESS["a1"]] == 2 and hosts.get(ADDRESS["p2"]) == 4,
           f"{hosts}")
    expect(ping(net, "p1", ADDRESS["a1"], 3) == 3, "p1 - a1")


def a_silent_host_is_asked_and_stays(net):
    """Much longer than plain_timeout, without a packet of its own."""
    expect(ping(net, "p1", ADDRESS["p2"], 3) == 3, "p1 - p2")
    before = net.ask("show", "status")["discovery"]["plain_asked"]
    time.sleep(9)  # A time out is what is tested: nothing to wait for.
    expect(ADDRESS["p2"] in plain(net), "p2 was forgotten")
    asked = net.ask("show", "status")["discovery"]["plain_asked"] - before
    expect(asked > 0, "nobody was asked")
    return f"{asked} questions in 9 s"


def a_host_moves(net):
    """Its cable is pulled and put into another switch."""
    net.ovs.vsctl("del-port", "s4", "p2")
    net.ovs.vsctl("add-port", "s1", "p2")
    until(lambda: ping(net, "p2", ADDRESS["p1"], 2) > 0, "p2 is back", 15)
    until(lambda: plain(net).get(ADDRESS["p2"], (0, 0))[0] == 1,
          "p2 is known at s1", 5)
    net.wait_in_sync(4)
    expect(ping(net, "p1", ADDRESS["p2"], 3) == 3, "p1 - p2")
    check_recompute(net)


def a_restart_loses_nothing(net):
    """kill -9; the next controller asks those that the rules speak of."""
    ping(net, "p1", ADDRESS["p2"], 2)
    pings = subprocess.Popen(
        ["nsenter", "--net=/run/netns/p1", "ping", "-i", "0.1", "-c", "120",
         "-W", "5", ADDRESS["p2"]], stdout=subprocess.PIPE, text=True)
    time.sleep(1)  # Some pings before.
    net.daemon.kill()
    net.start_controller(CONFIG)
    net.wait_in_sync(4, links=6, timeout=30)
    until(lambda: ADDRESS["p2"] in plain(net), "p2 is known again", 20)
    out = pings.communicate()[0]
    received = int(re.search(r"(\d+) received", out)[1])
    expect(received == 120, f"{120 - received} of 120 pings were lost")
    return f"{received} of 120 pings answered"


def who_is_gone_is_forgotten(net):
    net.inside("p3", "ip", "link", "set", "eth0", "down")
    sh("ip", "link", "set", "p3", "up")
    until(lambda: ADDRESS["p3"] not in plain(net), "p3 is forgotten", 20)
    net.wait_in_sync(4)
    check_recompute(net)


FLOOD = """
import os, random, socket, struct, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
rng, n, end = random.Random(1), 0, time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    mac = b"\\2" + rng.randbytes(5)
    source = bytes([10, 0, rng.randrange(1, 255), rng.randrange(1, 255)])
    s.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + struct.pack(
        ">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, source, bytes(6),
        bytes([10, 0, 0, 99])))
    n += 1
print(n)
"""


def a_flood_of_addresses_harms_nobody_else(net):
    """p1 claims thousands of addresses a second, as many as it can; meanwhile
    a host at the same switch is found, and known ones reach each other."""
    before = net.ask("show", "status")["discovery"]
    flood = subprocess.Popen(
        ["nsenter", "--net=/run/netns/p1", sys.executable, "-c", FLOOD, "8"],
        stdout=subprocess.PIPE, text=True)
    until(lambda: net.ask("show", "status")["discovery"]["plain_seen"]
          > before["plain_seen"] + 20, "the flood has begun")
    start = time.monotonic()
    net.add_host("p4", "s1", "10.0.0.44")
    try_inside("p4", "ping", "-c", "2", "-W", "1", ADDRESS["p2"])
    until(lambda: "10.0.0.44" in plain(net), "p4 is known", 6)
    took = time.monotonic() - start
    expect(flood.poll() is None, "the flood was over")
    expect(ping(net, "p4", ADDRESS["p2"], 3) >= 2, "p4 - p2")
    sent = int(flood.communicate()[0])
    learnt = (net.ask("show", "status")["discovery"]["plain_seen"]
              - before["plain_seen"])
    expect(learnt < 1000 < sent, f"{learnt} of {sent} were learnt")
    until(lambda: len(plain(net)) < 10, "what it claimed is forgotten", 30)
    net.wait_in_sync(4)
    check_recompute(net)
    return f"{sent} addresses, {learnt} heard of, p4 known after {took:.1f} s"


STEPS = (switches_with_loops, plain_hosts_reach_each_other, a_transfer,
         a_broadcast_arrives_once, addresses_are_not_taken,
         a_silent_host_is_asked_and_stays, a_host_moves,
         a_restart_loses_nothing, who_is_gone_is_forgotten,
         a_flood_of_addresses_harms_nobody_else)


def inside():
    return run_suite("plain", Network("check-plain"), STEPS)


if __name__ == "__main__":
    sys.exit(sandbox.run(inside))
