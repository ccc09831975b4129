#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""UDP and the actions of the service table between real hosts, without a
daemon:

        10.0.0.1            10.0.0.2            10.0.0.3
        client              server              other
        100.64.0.1          100.64.0.2          100.64.0.3
           |                   |                   |
           +------ br0, a plain Linux bridge ------+

The client's resolver address is the server's, so every SYN arrives there.
198.18.0.1 = web.shop.acme, served by both; 198.18.0.2 = own.shop.acme, the
client's; 198.18.0.3 = nobody.shop.acme.
"""
import json
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from netlab import Lab, wait_for  # noqa: E402

WEB, OWN, NOBODY = "198.18.0.1", "198.18.0.2", "198.18.0.3"
SERVER_RULES = ["rule", "web.shop.acme", "demux",
                "target", "web.shop.acme", 17, 53, "0.0.0.0:9953",
                "target", "web.shop.acme", 6, 80, "0.0.0.0:8080"]
CLIENT_RULES = ["rule", "acme", "forward", "address", WEB, "web.shop.acme",
                "address", OWN, "own.shop.acme",
                "address", NOBODY, "nobody.shop.acme",
                "rule", "own.shop.acme", "demux",
                "target", "own.shop.acme", 17, 53, "0.0.0.0:9953"]
FULL = 1428 - 28 + 28  # The payload that fills sal0's MTU of 1456 bytes.

steps = 0


def step(name):
    global steps
    steps += 1
    print(f"-- {name}", flush=True)


def udp(host, port=0):
    s = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    s.settimeout(10)
    return s


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


def bound(host):
    return host.flows("bound", 17)


def one_way(client, server):
    step("UDP in one direction binds both ends")
    sink, s = udp(server, 9953), udp(client)
    s.sendto(b"first", (WEB, 53))
    assert sink.recv(100) == b"first"
    wait_for(lambda: len(bound(client)) == 1 and len(bound(server)) == 1,
             "bound")
    before = client.dump("counters")["out_syn"]
    for i in range(20):
        s.sendto(b"%d" % i, (WEB, 53))
    assert [sink.recv(100) for _ in range(20)] == [b"%d" % i
                                                   for i in range(20)]
    assert client.dump("counters")["out_syn"] == before
    sink.close()
    s.close()


def large_first(client, server):
    step("full-size first datagrams arrive, whatever checksum offload")
    sink = udp(server, 9953)
    for tx in "on", "off":
        for host in client, server:
            host.run("ethtool", "-K", "eth0", "tx", tx)
        holder = Holder(client)
        s = udp(client)
        wanted = {bytes([i]) * FULL for i in range(5)}
        for data in sorted(wanted):
            s.sendto(data, (WEB, 53))
        assert {sink.recv(3000) for _ in wanted} == wanted
        stats = holder.close()
        assert 1 <= stats["sent"] == stats["held"] <= 5, stats
        assert stats["full"] == stats["timed_out"] == 0, stats
        s.close()

    step("a full-size first datagram to a closed port: refused at once")
    holder = Holder(client)
    s = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((WEB, 54))
    s.send(bytes(FULL))
    try:
        s.recv(10)
        raise AssertionError("answered")
    except ConnectionRefusedError:
        pass
    wait_for(lambda: client.dump("counters")["in_reset"], "reset")
    stats = holder.close()
    assert stats["refused"] == 1 and stats["sent"] == 0, stats
    s.close()

    step("a full-size answer arrives")
    s = udp(client)
    s.sendto(b"how much?", (WEB, 53))
    _, peer = sink.recvfrom(100)
    sink.sendto(bytes(FULL), peer)
    assert s.recv(3000) == bytes(FULL)
    s.close()

    step("the SYN is lost: a held datagram is tried again")
    holder = Holder(client)
    s = udp(client)
    before = client.dump("counters")["out_syn_retry"]
    client.lab.bridge.run("ip", "link", "set", server.name, "down")
    s.sendto(bytes(FULL), (WEB, 53))
    client.lab.bridge.run("ip", "link", "set", server.name, "up")
    assert sink.recv(3000) == bytes(FULL)
    stats = holder.close()
    assert stats["held"] == 1 and stats["sent"] == 1, stats
    assert client.dump("counters")["out_syn_retry"] > before
    s.close()
    sink.close()


def refused_by_icmp(client, server):
    step("nobody listens at the server's port: ECONNREFUSED, by its ICMP")
    for host, address in (server, WEB), (client, OWN):
        s = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
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


def late_server(client, server, other):
    step("TCP: the SYN-ACK of a second server comes late: its socket goes away")
    listeners = [host.listen(8080) for host in (server, other)]
    before = server.dump("counters")["in_reset"]
    mute = Mute(server)
    s = client.socket()
    s.setblocking(False)
    s.connect_ex((WEB, 80))
    wait_for(lambda: server.run("ss", "-Htn", "state", "syn-recv"), "SYN")
    client.dpctl("resolver", other.locator)
    there, peer = listeners[1].accept()
    assert peer[0] == client.identity
    mute.end()
    wait_for(lambda: server.dump("counters")["in_reset"] > before, "RESET")
    wait_for(lambda: not server.run("ss", "-Htn", "state", "syn-recv"), "RST")
    assert not server.flows() and not server.flows("half-open")
    s.setblocking(True)
    s.sendall(b"still here")
    assert there.recv(100) == b"still here"
    client.dpctl("resolver", server.locator)
    for one in s, there, *listeners:
        one.close()

    step("UDP: the same; the flow goes away")
    sinks = [udp(host, 9953) for host in (server, other)]
    before = server.dump("counters")["in_reset"]
    mute = Mute(server)
    s = udp(client)
    s.sendto(b"1", (WEB, 53))
    assert sinks[0].recv(10) == b"1"
    client.dpctl("resolver", other.locator)

    def second():
        s.sendto(b"2", (WEB, 53))
        return client.dump("counters")["out_syn_retry"] and bound(other)
    wait_for(second, "another server")
    mute.end()
    peer = (client.identity, s.getsockname()[1])
    sinks[0].sendto(b"late", peer)
    wait_for(lambda: server.dump("counters")["in_reset"] > before, "RESET")
    assert not [f for f in server.flows("half-open", 17) + bound(server)
                if f["inner"]["remote_port"] == peer[1]]
    client.dpctl("resolver", server.locator)
    for one in s, *sinks:
        one.close()


def own_service(client):
    step("a host's own UDP service, any size")
    echo, s = udp(client, 9953), udp(client)
    for data in b"small", bytes(FULL), b"again":
        s.sendto(data, (OWN, 53))
        got, peer = echo.recvfrom(3000)
        assert got == data and peer[0] == OWN, peer
        echo.sendto(got, peer)
        got, peer = s.recvfrom(3000)
        assert got == data and peer == (OWN, 53), peer
    echo.close()
    s.close()


def all_steps(lab):
    client = lab.host("client", "10.0.0.1")
    server = lab.host("server", "10.0.0.2")
    other = lab.host("other", "10.0.0.3")
    client.start("100.64.0.1", "resolver", server.locator, *CLIENT_RULES)
    server.start("100.64.0.2", "resolver", client.locator, *SERVER_RULES)
    other.start("100.64.0.3", "resolver", client.locator, *SERVER_RULES)
    one_way(client, server)
    large_first(client, server)
    refused_by_icmp(client, server)
    late_server(client, server, other)
    own_service(client)


def main():
    lab = Lab(sys.argv[1] if len(sys.argv) > 1 else "build")
    try:
        all_steps(lab)
    finally:
        lab.close()
    print(f"{steps} steps")


main()
