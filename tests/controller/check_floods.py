# SPDX-License-Identifier: Apache-2.0
"""Hosts that claim, forge and flood, and ports that flap: on real switches,
nobody else notices.

    h1, thief, noisy, ... -- s1 ---- s2 -- w2, fresh

Each step needs what the ones before it left.  ONLY=name runs up to the step
of that name."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.daemon import RUN, sh, write
from topologies.wait import until
from tests.controller.network import CONTROL, OPENFLOW_PORT, Network
from tests.controller.stock_switch import StockSwitch
from tests.controller.steps import expect, run_suite

CONFIG = f"""\
openflow:
  listen: ["tcp:127.0.0.1:{OPENFLOW_PORT}"]
  forget_switch: 2s
api:
  listen: ["unix:{RUN}/api.sock"]
control: {CONTROL}
link_probe_interval: 1s
link_timeout: 4s
host_probe_interval: 200ms
host_timeout: 100s
"""
PORT_MOD, BARRIER_REQUEST, BARRIER_REPLY = 16, 20, 21


def two_switches(net):
    net.add_switch(1)
    net.add_switch(2)
    net.add_link("s1", "s2")
    net.add_host("h1", "s1", "10.0.0.1")
    net.start_controller()
    net.wait_in_sync(2, links=1)
    net.w2 = add_agent_at(net, "w2", "s2", 2)
    return ""


def a_host_cannot_take_anothers_address(net):
    """Its agent is genuine; its locator is w2's."""
    net.add_host("thief", "s1", "10.0.0.7")
    net.inside("thief", "ip", "address", "flush", "dev", "eth0")
    net.inside("thief", "ip", "address", "add", "10.0.0.2/16", "dev", "eth0")
    net.inside("thief", "ip", "route", "add", "default", "dev", "eth0")
    before = net.flows("s2", 20) | net.flows("s1", 20)
    thief = net.add_agent("thief", "10.0.0.2")
    thief.hear("welcome")
    until(lambda: net.ask("show", "status")["discovery"]
          ["host_probes_refused"] > 0, "it is refused")
    expect(net.flows("s2", 20) | net.flows("s1", 20) == before,
           "rules have changed")
    host = next(h for h in net.ask("show", "topology")["hosts"]
                if h["locator"] == "10.0.0.2")
    expect(host["dpid"].endswith("2"), f"{host}")
    thief.stop()
    return ""


def link_probes_of_hosts_make_no_link(net):
    """Forged ones, and those that the host itself was sent."""
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                            socket.htons(3))  # ETH_P_ALL
    capture.bind(("h1", 0))  # The switch's end: outgoing frames.
    capture.settimeout(5)
    while True:
        frame, where = capture.recvfrom(2048)
        if where[2] == socket.PACKET_OUTGOING and frame[12:14] == b"\x88\xcc":
            break
    write(f"{RUN}/send.py", "import socket, sys\n"
          "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
          "s.bind(('eth0', 0))\n"
          "for i in range(50):\n"
          "    f = bytearray.fromhex(sys.argv[1])\n"
          "    if i % 2: f[20 + i] ^= 1\n"
          "    s.send(f)\n")
    net.inside("h1", sys.executable, f"{RUN}/send.py", frame.hex())
    until(lambda: net.ask("show", "status")["discovery"]
          ["link_probes_forged"] > 0, "the forged ones are counted")
    net.wait_in_sync(2, links=1)
    return ""


FLOOD = """
import os, signal, socket, struct, sys
def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def sal(kind, service):
    header = struct.pack(">BBBBIIBBHIIQ32s", 0x10, 16, kind, 6, 1, 0, 0, 59, 0,
                         0, 0, 1, service)
    return header[:14] + struct.pack(">H", checksum(header)) + header[16:]
def ipv4(payload):
    udp = struct.pack(">HHHH", 6090, 6090, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64,
                       17, 0, source, bytes([10, 255, 255, 254]))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + udp
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mac, source = s.getsockname()[4], socket.inet_aton(sys.argv[1])
ethernet = bytes.fromhex("0253414c0001") + mac
frames = [ethernet + b"\\x08\\x00" + ipv4(sal(0x15, bytes(32))),
          ethernet + b"\\x08\\x00" + ipv4(sal(0x11, os.urandom(32))),
          bytes.fromhex("0180c200000e") + mac + b"\\x88\\xcc" + bytes(60),
          b"\\xff" * 6 + mac + b"\\x08\\x06" + struct.pack(
              ">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, source, bytes(6),
              bytes([10, 0, 0, 99]))]
n = 0
def end(*_):
    print(n, flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
while True:
    for frame in frames:
        s.send(frame)
    n += 3
"""


def add_agent_at(net, name, switch, number):
    net.add_host(name, switch, f"10.0.0.{number}")
    agent = net.add_agent(name, f"10.0.0.{number}")
    agent.hear("attachment attached=1")
    return agent


def a_flooding_host_harms_nobody_else(net):
    """PROBEs, link probes, SYNs to services that nobody serves and ARP, as
    fast as it can, for longer than links and hosts are remembered without a probe.
    Links, attached hosts, registrations and who attaches, there or elsewhere,
    do not notice: each port has limits of its own."""
    probes = 20

    def heard_of():
        return net.ask("show", "status")["discovery"]
    # With limits that even a slow machine's flood exceeds a hundred times.
    net.reload(CONFIG.replace("host_timeout: 100s", "host_timeout: 7s")
               + "limits: {host_probe_pps: 60, link_probe_pps: 40,"
                 " service_miss_pps: 200}\n")
    noisy = add_agent_at(net, "noisy", "s1", 9)
    near = add_agent_at(net, "near", "s1", 10)
    net.wait_in_sync(2, links=1, hosts_attached=3)
    expect(net.switch(1)["metered"] == "port", f"{net.switch(1)}")
    write(f"{RUN}/flood.py", FLOOD)
    before, start, known = net.cpu_seconds(), time.monotonic(), heard_of()
    flood = subprocess.Popen(
        ["nsenter", "--net=/run/netns/noisy", sys.executable,
         f"{RUN}/flood.py", "10.0.0.9"],
        stdout=subprocess.PIPE, text=True)
    flood.stdout.readline()
    slowest = 0
    try:
        for i in range(5):
            for agent in net.w2, near:
                heard = agent.ask(f"register quiet{i}.shop.acme 80 1 wait",
                                  r"registered confirmed=1 us=(\d+)|error")
                expect(heard[1], heard.string)
                slowest = max(slowest, int(heard[1]))
        # Nobody serves it: still the neighbour is told so.
        near.ask("syn nobody.shop.acme 51000", r"packet type=0x4 ")
        fresh = [add_agent_at(net, "fresh", "s2", 11),
                 add_agent_at(net, "new", "s1", 12)]
        seen_before = heard_of()["host_probes_seen"]
        for _ in range(probes):
            near.say("probe")
            time.sleep(0.1)
        until(lambda: heard_of()["host_probes_seen"] - seen_before
              >= probes * 3 // 4, "the neighbour's PROBEs get through", 5)
        got = heard_of()["host_probes_seen"] - seen_before
        begun = time.monotonic()
        while time.monotonic() - begun < 10:
            for agent in (near, net.w2, noisy, *fresh):
                agent.say("probe")
            status = net.ask("show", "status")
            expect(status["links"] == 1 and status["hosts_attached"] >= 4,
                   f"after {time.monotonic() - start:.1f} s: {status}")
            time.sleep(1)
        for agent in (near, net.w2, *fresh):
            agent.forget()
            expect(not any("attached=0" in line for line in agent.lines),
                   f"{agent.name} was forgotten")
    finally:
        took = time.monotonic() - start
        flood.terminate()
        sent = int(flood.communicate()[0])
    cpu = net.cpu_seconds() - before
    expect(cpu < 0.7 * took, f"{cpu:.2f} s of CPU in {took:.1f} s")
    came = sum(heard_of()[key] - known[key]
               for key in ("unrecognised", "resets_sent", "resets_limited",
                           "link_probes_forged"))
    expect(came > 300, f"only {came} packets of the flood came here")
    for agent in net.w2, near:
        for i in range(5):
            agent.ask(f"unregister quiet{i}.shop.acme 80 wait",
                      "unregistered confirmed=1")
    for name, agent in (("noisy", noisy), ("near", near), ("fresh", fresh[0]),
                        ("new", fresh[1])):
        sh("ip", "link", "set", name, "down")
        agent.stop()
    net.reload(CONFIG)
    net.w2.say("probe")
    net.wait_in_sync(2, links=1, hosts_attached=1, timeout=20)
    return (f"{sent / took / 1000:.0f},000 packets a second, {came} came "
            f"here; registered in {slowest / 1000:.0f} ms at most, {got} of "
            f"{probes} PROBEs, {100 * cpu / took:.0f} % of a CPU")


def meters_that_do_not_fit_are_shared(net):
    """A switch that has too few for each port, one that has fewer than it
    says, one that refuses all."""
    for dpid, more, metered, n in (
            (0x61, {"meters": 11}, "switch", 4),
            (0x62, {"meters": 12}, "port", 4 + 2 * 2),
            (0x63, {"meters": 100, "room": 6}, "switch", 4),
            (0x64, {"meters": 100, "room": 0}, "nothing", 0)):
        switch = StockSwitch(OPENFLOW_PORT, dpid, **more)
        until(lambda d=dpid, m=metered: net.switch(d).get("in_sync")
              and net.switch(d)["metered"] == m, f"{dpid:x} is in sync")
        expect(len(switch.meters) == n, f"{dpid:x}: {switch.meters}")
        expect(not net.switch(dpid)["refused"], f"{net.switch(dpid)}")
        switch.stop()
    net.wait_status(switches_known=2, timeout=15)
    net.wait_in_sync(2, links=1)
    return ""


class Flapper:
    """Sends OpenFlow to a switch, to set its ports down and up: nothing else
    is as fast."""

    def __init__(self, net, switch, ports):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(f"{RUN}/ovs/{switch}.mgmt")
        self.sock.sendall(struct.pack(">BBHI", 6, 0, 8, 1))
        self.ports = [(net.port(port), bytes.fromhex(
            net.ovs.vsctl("get", "interface", port, "mac_in_use")
            .strip().strip('"').replace(":", ""))) for port in ports]

    def set(self, down):
        self.sock.sendall(b"".join(
            struct.pack(">BBHI", 6, PORT_MOD, 32, 2)
            + struct.pack(">I4x6s2xII", number, mac, down, 1)
            for number, mac in self.ports))

    def run(self, seconds, times_a_second):
        """Returns how many times it was, a second."""
        start, n = time.monotonic(), 0
        half = 0.5 / times_a_second
        while time.monotonic() - start < seconds:
            for down in (1, 0):
                self.set(down)
                n += 1
                time.sleep(max(0, n * half - (time.monotonic() - start)))
        self._wait()
        return n / 2 / (time.monotonic() - start)

    def _wait(self):
        """Until the switch has done what it was told."""
        self.sock.sendall(struct.pack(">BBHI", 6, BARRIER_REQUEST, 8, 9))
        self.sock.settimeout(30)
        data = b""
        while True:
            while len(data) < 8 or len(data) < struct.unpack(
                    ">xxH", data[:4])[0]:
                data += self.sock.recv(65536)
            kind, length = struct.unpack(">xBH", data[:4])
            if kind == BARRIER_REPLY:
                return
            data = data[length:]

    def end(self):
        self.sock.close()


def ports_flap(net):
    """A host's port and a link, down and up more than a hundred times a second
    for three seconds: the controller hears of each time, answers others, holds
    the ports down, and takes them as up when they are stable.  The rules of
    other hosts do not change meanwhile."""
    other = add_agent_at(net, "calm", "s1", 13)
    net.wait_in_sync(2, links=1, hosts_attached=2)
    flapper = Flapper(net, "s2", ("w2", "s2-l1"))
    before, known = net.cpu_seconds(), {n: net.switch(n) for n in (1, 2)}
    memory = net.memory_kib()
    slowest, done = 0, threading.Event()

    def ask():
        nonlocal slowest
        while not done.is_set():
            start = time.monotonic()
            net.ask("show", "status")
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.02)
    asking = threading.Thread(target=ask)
    asking.start()
    start, runs, rate = time.monotonic(), 0, 0
    try:
        while rate < 100 and runs < 3:  # A busy machine may be too slow once.
            rate = flapper.run(3, 125)
            runs += 1
    finally:
        done.set()
        asking.join()
        flapper.end()
    took = time.monotonic() - start
    status, now = net.ask("show", "status"), {n: net.switch(n) for n in (1, 2)}
    expect(status["ports_held"] >= 2, f"{status}")
    told = (now[2]["messages_received"] - known[2]["messages_received"]) / took
    expect(rate >= 100, f"only {rate:.0f} times a second")
    expect(told >= 2 * 2 * 100 / runs, f"only {told:.0f} messages a second")
    cpu = net.cpu_seconds() - before
    expect(cpu < 0.5 * took, f"{cpu:.2f} s of CPU in {took:.1f} s")
    # Not three hundred times: each time that it was not held, and the end.
    wrote = sum(now[n]["rounds"] - known[n]["rounds"] for n in (1, 2))
    expect(wrote < 100, f"{wrote} rounds")
    expect(net.memory_kib() < memory + 4096, "it grows")
    start = time.monotonic()
    net.w2.say("probe")
    net.wait_in_sync(2, links=1, hosts_attached=2, ports_held=0, timeout=20)
    back = time.monotonic() - start
    expect(net.ask("recompute", "--check")["equal"],
           "a full recompute differs")
    text = json.dumps(net.ask("show", "events", "500"))
    for words in ("until it is stable", "is up, and stable"):
        expect(words in text, f"no event says '{words}'")
    sh("ip", "link", "set", "calm", "down")
    other.stop()
    net.wait_in_sync(2, links=1, hosts_attached=1, timeout=20)
    return (f"{rate:.0f} times a second, {told:.0f} messages, {wrote} rounds "
            f"in all, {100 * cpu / took:.0f} % of a CPU, answers within "
            f"{slowest * 1000:.0f} ms, back after {back:.1f} s")


STEPS = (two_switches, a_host_cannot_take_anothers_address,
         link_probes_of_hosts_make_no_link, a_flooding_host_harms_nobody_else,
         meters_that_do_not_fit_are_shared, ports_flap)


def inside():
    return run_suite("floods", Network("check-floods", CONFIG), STEPS)


if __name__ == "__main__":
    sys.exit(sandbox.run(inside))
