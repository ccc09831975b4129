#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""UDP and the actions of the service table between real hosts, without a
daemon:

    10.0.0.1,           10.0.0.2,           10.0.0.3,
    2001:db8::1         2001:db8::2         2001:db8::3
        client              server              other
    100.64.0.1,         100.64.0.2,         100.64.0.3,
    fd64::1             fd64::2             fd64::3
           |                   |                   |
           +------ br0, a plain Linux bridge ------+

The client's resolver address is the server's, so every SYN arrives there.
198.18.0.1, fd5a::1 = web.shop.acme, served by both; 198.18.0.2, fd5a::2 =
own.shop.acme, the client's.
"""
import json
import os
import random
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from netlab import Lab, wait_for  # noqa: E402

WEB, OWN = ("198.18.0.1", "fd5a::1"), ("198.18.0.2", "fd5a::2")
SERVER_RULES = ["rule", "web.shop.acme", "demux",
                "target", "web.shop.acme", 17, 53, "0.0.0.0:9953",
                "target", "web.shop.acme", 6, 80, "0.0.0.0:8080"]
CLIENT_RULES = ["rule", "acme", "forward",
                *(x for a in WEB for x in ("address", a, "web.shop.acme")),
                *(x for a in OWN for x in ("address", a, "own.shop.acme")),
                "rule", "own.shop.acme", "demux",
                "target", "own.shop.acme", 17, 53, "0.0.0.0:9953"]
MTU = 1500 - 64  # Of sal0.

steps = 0


def step(name):
    global steps
    steps += 1
    print(f"-- {name}", flush=True)


class Way:
    """IP versions inside and outside, and what hangs on them."""

    def __init__(self, inner, outer):
        self.inner, self.outer = inner, outer
        v6 = inner == 6
        self.web, self.own = WEB[v6], OWN[v6]
        self.family = socket.AF_INET6 if v6 else socket.AF_INET
        self.any = "::" if v6 else "0.0.0.0"
        # The payload that fills sal0's MTU.
        self.full = MTU - (48 if v6 else 28)

    def udp(self, host, port=0):
        s = host.socket(self.family, socket.SOCK_DGRAM)
        s.bind((self.any, port))
        s.settimeout(10)
        return s

    def locator(self, host):
        return host.locator6 if self.outer == 6 else host.locator

    def identity(self, host):
        return host.identity6 if self.inner == 6 else host.identity

    def __str__(self):
        return f"IPv{self.inner} in IPv{self.outer}"


class Holder:
    """What the daemon does with packets that cannot leave yet."""

    def __init__(self, host):
        self.process = host.popen(host.lab.dpctl, host.pins, "sal0", "hold",
                                  stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)

    def close(self):
        out, _ = self.process.communicate("")
        assert self.process.returncode == 0
        return json.loads(out)


def bound(host, port=None):
    """All bound UDP flows, or those of a client's port."""
    return [f for f in host.flows("bound", 17) if port is None
            or port in (f["inner"]["local_port"], f["inner"]["remote_port"])]


def one_way(way, client, server):
    step("UDP in one direction binds both ends")
    sink, s = way.udp(server, 9953), way.udp(client)
    s.sendto(b"first", (way.web, 53))
    assert sink.recv(100) == b"first"
    port = s.getsockname()[1]
    wait_for(lambda: bound(client, port) and bound(server, port), "bound")
    before = client.dump("counters")["out_syn"]
    for i in range(20):
        s.sendto(b"%d" % i, (way.web, 53))
    assert [sink.recv(100) for _ in range(20)] == [b"%d" % i
                                                   for i in range(20)]
    assert client.dump("counters")["out_syn"] == before
    sink.close()
    s.close()


def refused_large(way, client, length):
    holder = Holder(client)
    before = client.dump("counters")["in_reset"]
    s = client.socket(way.family, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((way.web, 54))
    s.send(bytes(length))
    try:
        s.recv(10)
        raise AssertionError("answered")
    except ConnectionRefusedError:
        pass
    wait_for(lambda: client.dump("counters")["in_reset"] > before, "reset")
    stats = holder.close()
    assert stats["refused"] >= 1 and stats["sent"] == 0, stats
    s.close()


def large_first(way, client, server):
    step("full-size first datagrams arrive, whatever checksum offload")
    sink = way.udp(server, 9953)
    for tx in "on", "off":
        for host in client, server:
            host.run("ethtool", "-K", "eth0", "tx", tx)
        holder = Holder(client)
        s = way.udp(client)
        wanted = {bytes([i]) * way.full for i in range(5)}
        for data in sorted(wanted):
            s.sendto(data, (way.web, 53))
        assert {sink.recv(3000) for _ in wanted} == wanted
        stats = holder.close()
        assert 1 <= stats["sent"] == stats["held"] <= 5, stats
        assert stats["full"] == stats["timed_out"] == 0, stats
        s.close()

    step("first datagrams in fragments arrive, the first as the others")
    holder = Holder(client)
    for length in way.full + 1, 20000:
        data = random.Random(length).randbytes(length)
        s = way.udp(client)
        for _ in range(3):
            s.sendto(data, (way.web, 53))
        for _ in range(3):
            got, peer = sink.recvfrom(65536)
            assert got == data, len(got)
        sink.sendto(data, peer)
        assert s.recv(65536) == data
        s.close()
    stats = holder.close()
    assert stats["sent"] == stats["held"] > 0, stats

    step("a first batch of UDP_SEGMENT: each datagram by itself")
    holder = Holder(client)
    s = way.udp(client)
    s.setsockopt(socket.IPPROTO_UDP, 103, 1380)
    parts = [bytes([i]) * 1380 for i in range(6)]
    s.sendto(b"".join(parts), (way.web, 53))
    assert sorted(sink.recv(65536) for _ in parts) == parts
    s.close()
    stats = holder.close()
    assert stats["sent"] == stats["held"] == len(parts), stats

    step("first datagrams to a closed port: refused at once")
    for length in way.full, 20000:
        refused_large(way, client, length)

    step("a full-size answer arrives")
    s = way.udp(client)
    s.sendto(b"how much?", (way.web, 53))
    _, peer = sink.recvfrom(100)
    sink.sendto(bytes(way.full), peer)
    assert s.recv(3000) == bytes(way.full)
    s.close()

    step("the SYN is lost: a held datagram is tried again")
    holder = Holder(client)
    s = way.udp(client)
    before = client.dump("counters")["out_syn_retry"]
    client.lab.bridge.run("ip", "link", "set", server.name, "down")
    s.sendto(bytes(way.full), (way.web, 53))
    client.lab.bridge.run("ip", "link", "set", server.name, "up")
    assert sink.recv(3000) == bytes(way.full)
    stats = holder.close()
    assert stats["held"] == 1 and stats["sent"] == 1, stats
    assert client.dump("counters")["out_syn_retry"] > before
    s.close()
    sink.close()


def refused_by_icmp(way, client, server):
    step("nobody listens at the server's port: ECONNREFUSED, by its ICMP")
    for host, address in (server, way.web), (client, way.own):
        s = client.socket(way.family, socket.SOCK_DGRAM)
        s.settimeout(5)
        s.connect((address, 53))
        for _ in range(2):
            s.send(b"anybody?")
            try:
                s.recv(10)
                raise AssertionError("answered")
            except ConnectionRefusedError:
                pass
        s.close()
        assert host.dump("counters")["out_icmp"] >= 1
    assert client.dump("counters")["in_icmp"] >= 1


class Mute:
    """Nothing that 'host' sends gets through."""

    def __init__(self, host):
        self.bridge = host.lab.bridge
        self.table = f"mute_{host.name}"
        self.bridge.run("nft", "add", "table", "netdev", self.table)
        self.bridge.run("nft", "add", "chain", "netdev", self.table, "in",
                        f"{{ type filter hook ingress device {host.name} "
                        "priority 0 ; policy drop ; }")

    def end(self):
        self.bridge.run("nft", "delete", "table", "netdev", self.table)


def late_server(way, client, server, other):
    step("TCP: the SYN-ACK of a second server comes late: its socket goes away")
    listeners = [host.listen(8080, way.any) for host in (server, other)]
    before = server.dump("counters")["in_reset"]
    mute = Mute(server)
    s = client.socket(way.family)
    s.setblocking(False)
    s.connect_ex((way.web, 80))
    wait_for(lambda: server.run("ss", "-Htn", "state", "syn-recv"), "SYN")
    client.dpctl("resolver", way.locator(other))
    there, peer = listeners[1].accept()
    assert peer[0] == way.identity(client)
    mute.end()
    wait_for(lambda: server.dump("counters")["in_reset"] > before, "RESET")
    wait_for(lambda: not server.run("ss", "-Htn", "state", "syn-recv"), "RST")
    assert not server.flows() and not server.flows("half-open")
    s.setblocking(True)
    s.sendall(b"still here")
    assert there.recv(100) == b"still here"
    client.dpctl("resolver", way.locator(server))
    for one in s, there, *listeners:
        one.close()

    step("UDP: the same; the flow goes away")
    sinks = [way.udp(host, 9953) for host in (server, other)]
    before = server.dump("counters")["in_reset"]
    mute = Mute(server)
    s = way.udp(client)
    s.sendto(b"1", (way.web, 53))
    port = s.getsockname()[1]
    assert sinks[0].recv(10) == b"1"
    client.dpctl("resolver", way.locator(other))

    def second():
        s.sendto(b"2", (way.web, 53))
        return bound(other, port)
    wait_for(second, "another server")
    mute.end()
    sinks[0].sendto(b"late", (way.identity(client), port))
    wait_for(lambda: server.dump("counters")["in_reset"] > before, "RESET")
    assert not [f for f in server.flows("half-open", 17) + bound(server)
                if f["inner"]["remote_port"] == port]
    client.dpctl("resolver", way.locator(server))
    for one in s, *sinks:
        one.close()


def own_service(way, client):
    step("a host's own UDP service, any size")
    echo, s = way.udp(client, 9953), way.udp(client)
    for data in b"small", bytes(way.full), bytes(9000), b"again":
        s.sendto(data, (way.own, 53))
        got, peer = echo.recvfrom(10000)
        assert got == data and peer[0] == way.own, peer
        echo.sendto(got, peer)
        got, peer = s.recvfrom(10000)
        assert got == data and peer[:2] == (way.own, 53), peer
    echo.close()
    s.close()


def jumbo(client, server):
    way = Way(4, 4)
    step("jumbo frames: a full-size first datagram arrives")
    for host in client, server:
        host.run("ip", "link", "set", "eth0", "mtu", 9000)
        client.lab.bridge.run("ip", "link", "set", host.name, "mtu", 9000)
        host.dpctl("attach", "eth0")
        assert host.dump("status")["mtu"] == 9000 - 64
    sink, s, holder = way.udp(server, 9953), way.udp(client), Holder(client)
    data = random.Random(1).randbytes(9000 - 64 - 28)
    for _ in range(2):  # Held; as DATA.
        s.sendto(data, (way.web, 53))
        got, peer = sink.recvfrom(65536)
        assert got == data, len(got)
    sink.sendto(data, peer)
    assert s.recv(65536) == data
    stats = holder.close()
    assert 1 <= stats["sent"] == stats["held"] <= 2, stats
    s.close()
    sink.close()


def all_steps(lab):
    client, server, other = (
        lab.host(name, f"10.0.0.{i}", locator6=f"2001:db8::{i}")
        for i, name in enumerate(("client", "server", "other"), 1))
    for i, (host, peer, rules) in enumerate((
            (client, server, CLIENT_RULES), (server, client, SERVER_RULES),
            (other, client, SERVER_RULES)), 1):
        host.start(f"100.64.0.{i}", "resolver", peer.locator, "resolver",
                   peer.locator6, *rules, identity6=f"fd64::{i}")
        assert host.dump("status")["mtu"] == MTU
    for way in Way(4, 4), Way(6, 6), Way(6, 4), Way(4, 6):
        client.dpctl("prefer-v6", "1" if way.outer == 6 else "0")
        step(f"{way}:")
        one_way(way, client, server)
        large_first(way, client, server)
        refused_by_icmp(way, client, server)
        if way.inner == way.outer:
            late_server(way, client, server, other)
        own_service(way, client)
    client.dpctl("prefer-v6", "0")
    jumbo(client, server)


def main():
    with Lab(sys.argv[1] if len(sys.argv) > 1 else "build") as lab:
        all_steps(lab)
    print(f"{steps} steps")


main()
