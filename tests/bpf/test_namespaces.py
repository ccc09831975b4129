#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The data plane between real hosts in namespaces, without a daemon:

        10.0.0.1            10.0.0.2            10.0.0.3
        client              server              stranger
        100.64.0.1          100.64.0.2          raw sockets
           |                   |                   |
           +------ br0, a plain Linux bridge ------+

The client's resolver address is the server's, so every SYN arrives there.
198.18.0.1 = web.shop.acme, 198.18.0.2 = shadow.shop.acme (the same targets),
198.18.0.3 = nobody.shop.acme.
"""
import os
import random
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from netlab import Lab, family_of, nginx, wait_for  # noqa: E402

WEB, SHADOW, NOBODY, UNKNOWN = ("198.18.0.1", "198.18.0.2", "198.18.0.3",
                                "198.18.0.4")
SERVER_RULES = []
for service in "web.shop.acme", "shadow.shop.acme":
    SERVER_RULES += ["rule", service, "demux"]
    for port, target in ((80, "0.0.0.0:8080"), (90, "0.0.0.0:9000"),
                         (91, "0.0.0.0:9999")):
        SERVER_RULES += ["target", service, 6, port, target]
    SERVER_RULES += ["target", service, 17, 53, "0.0.0.0:9953"]
CLIENT_RULES = ["rule", "acme", "forward", "address", WEB, "web.shop.acme",
                "address", SHADOW, "shadow.shop.acme",
                "address", NOBODY, "nobody.shop.acme"]

steps = 0


def step(name):
    global steps
    steps += 1
    print(f"-- {name}", flush=True)


def start(lab):
    client, server = lab.hosts[:2]
    client.start("100.64.0.1", "resolver", server.locator, *CLIENT_RULES)
    server.start("100.64.0.2", "resolver", client.locator, *SERVER_RULES)
    for host in client, server:
        for what in "all", "sal0", "eth0":
            host.run("sysctl", "-qw", f"net.ipv4.conf.{what}.rp_filter=1")


def curl(host, url):
    return host.run("curl", "-sS", "-m", "5", "-o", "/dev/null", "-w",
                    "%{http_code} %{remote_ip}", url, check=False)


def with_nginx(lab, client, server):
    step("nginx answers curl, and sees the client's identity address")
    with nginx(lab, server, "8080") as access_log:
        assert curl(client, f"http://{WEB}/") == f"200 {WEB}"
        assert curl(client, f"http://{SHADOW}/") == f"200 {SHADOW}"
        log = wait_for(lambda: open(access_log).read(), "log")
        assert log.startswith("100.64.0.1 "), log


def refused(client, address, port):
    """At once: TCP sends a SYN again after a second.  Once, or twice, the
    machine may be busy."""
    for _ in range(3):
        begin = time.monotonic()
        try:
            client.connect(address, port).close()
        except ConnectionRefusedError:
            took = time.monotonic() - begin
            if took < 0.9:
                return
        else:
            raise AssertionError(f"{address}:{port} was not refused")
    raise AssertionError(f"refused only after {took:.1f} s")


def block(number):
    """64 KiB in which every word is different from block to block."""
    return struct.pack("<Q", number) * 8192


def transfer(client, server, blocks, during=None, peer_is=None, address=WEB):
    """Sends at least 'blocks' blocks each way at once, and goes on until
    during() returns; verifies every word."""
    v6 = ":" in address
    listener = server.listen(9000, "::" if v6 else "0.0.0.0")
    a = client.connect(address, 90)
    b, peer = listener.accept()
    listener.close()
    identity = client.identity6 if v6 else client.identity
    assert peer[0] == (peer_is or identity), peer
    errors, sent, busy = [], {}, threading.Event()

    def send(s, first):
        i = 0
        while i < blocks or busy.is_set():
            s.sendall(block(first + i))
            i += 1
        sent[first] = i
        s.shutdown(socket.SHUT_WR)

    def receive(s, first):
        buffer, i = bytearray(65536), 0
        while True:
            view, got = memoryview(buffer), 0
            while got < 65536:
                n = s.recv_into(view[got:])
                if not n:
                    break
                got += n
            if not got:
                break
            if buffer != block(first + i):
                errors.append(f"block {i} is wrong")
                return
            i += 1
        if i != sent.get(first):
            errors.append(f"{sent.get(first)} blocks sent, {i} received")

    if during:
        busy.set()
    for s in a, b:
        s.settimeout(60)
    threads = [threading.Thread(target=f, args=x, daemon=True) for f, x in (
        (send, (a, 0)), (receive, (b, 0)),
        (send, (b, 1 << 40)), (receive, (a, 1 << 40)))]
    for t in threads:
        t.start()
    if during:
        during()
        busy.clear()
    for t in threads:
        t.join(60)
    a.close()
    b.close()
    assert not errors, errors
    assert len(sent) == 2


def no_flows(client, server):
    for host in client, server:
        try:
            wait_for(lambda h=host: not h.flows(), f"{host.name}: flows end")
        except AssertionError:
            # What is left says why: a socket that waits, or a flow of none.
            print(host.name, host.flows()[:3], host.run("ss", "-Htano"))
            raise


def many_connections(client, server, n, services=(WEB, SHADOW)):
    step(f"{n} connections, each answered, none left over")
    v6 = ":" in services[0]
    listener = server.listen(8080, "::" if v6 else "0.0.0.0")
    done = []

    def serve():
        for _ in range(n):
            s, _ = listener.accept()
            s.sendall(s.recv(16))
            s.close()
        done.append(True)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    for i in range(n):
        s = client.connect(services[i % 2], 80)
        word = struct.pack("<Q", i)
        s.sendall(word)
        assert s.recv(16) == word
        s.close()
    thread.join()
    listener.close()
    assert done
    no_flows(client, server)


def same_port_twice(client, server, services=(WEB, SHADOW)):
    step("one client port, two services, one target: two connections")
    v6 = ":" in services[0]
    listener = server.listen(8080, "::" if v6 else "0.0.0.0")
    pairs = []
    for address in services:
        s = client.socket(family_of(address))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((client.identity6 if v6 else client.identity, 45678))
        s.settimeout(5)
        s.connect((address, 80))
        pairs.append((s, listener.accept()[0]))
    for i, (a, b) in enumerate(pairs):
        a.sendall(b"ask%d" % i)
        assert b.recv(16) == b"ask%d" % i
        b.sendall(b"answer%d" % i)
        assert a.recv(16) == b"answer%d" % i
        a.close()
        b.close()
    listener.close()
    no_flows(client, server)


def forge(stranger, flows, n):
    """Forged DATA with RST, RESETs, SYN-ACKs from a third host, with its own
    and with borrowed source addresses, some with the right flow IDs."""
    raw = stranger.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    rng = random.Random(4)
    for _ in range(n):
        flow = rng.choice(flows)
        kind = rng.choice((1, 4, 0x12, 0x11, rng.randrange(256)))
        length = {1: 16, 4: 32}.get(kind, 64)
        dst_flow = (int(flow["id"], 16) if rng.random() < 0.5
                    else rng.getrandbits(32))
        src_flow = rng.getrandbits(32)
        sal = bytearray(struct.pack(
            "!BBBBIIBBHIIQ", 0x10, length // 4, kind, 6, src_flow, dst_flow,
            0, 4, 0, 0, 0, rng.getrandbits(64)))[:length]
        sal += bytes(length - len(sal))
        if length > 16:
            total = sum(struct.unpack(f"!{length // 2}H", sal))
            while total >> 16:
                total = (total & 0xffff) + (total >> 16)
            struct.pack_into("!H", sal, 14, ~total & 0xffff)
        wire = flow["wire"]
        inner = struct.pack(
            "!BBHHHBBH4s4sHHIIBBHHH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0,
            socket.inet_aton(wire["remote"]), socket.inet_aton(wire["local"]),
            wire["remote_port"], wire["local_port"], rng.getrandbits(32),
            rng.getrandbits(32), 0x50, 0x14, 0, 0, 0)
        body = bytes(sal) + inner
        if rng.random() < 0.2:
            body = body[:rng.randrange(len(body))]
        udp = struct.pack("!HHHH", rng.randrange(65536), 6090, 8 + len(body),
                          0) + body
        source = rng.choice((stranger.locator, flow["peer_locator"]))
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17,
                         0, socket.inet_aton(source),
                         socket.inet_aton(flow["own_locator"]))
        raw.sendto(ip + udp, (flow["own_locator"], 0))
    raw.close()


def under_attack(client, server, stranger):
    step("forged packets during a transfer: counted, and nothing happens")

    def attack():
        flows = client.flows() + server.flows()
        assert len(flows) >= 2
        forge(stranger, flows, 5000)

    transfer(client, server, 1000, during=attack)
    counters = client.dump("counters")
    for name in "in_wrong_peer", "in_unknown_flow", "in_type":
        assert counters[name] > 0, name
    no_flows(client, server)


def replaced_under_load(client, server):
    step("the data plane is reloaded five times during a transfer")

    def reload():
        for _ in range(5):
            assert client.dump("flows") and server.dump("flows")
            client.dpctl("attach", "eth0")
            server.dpctl("attach", "eth0")

    transfer(client, server, 1500, during=reload)
    no_flows(client, server)


def offloads(client, server, addresses=(WEB,)):
    for off in ("", "tx", "tso gso", "gro", "tx tso gso gro sg"):
        step(f"every word verified, 2 x 32 MiB, without: {off or 'nothing'}")
        for state in "off", "on":
            # Features depend on one another: back on in reverse.
            features = off.split()[::-1 if state == "on" else 1]
            for feature in features:
                for host in client, server:
                    host.run("ethtool", "-K", "eth0", feature, state)
            if state == "off":
                for address in addresses:
                    transfer(client, server, 512, address=address)


def bulk(client, server):
    step("every word verified, 2 x 256 MiB")
    transfer(client, server, 4096)
    no_flows(client, server)


def all_steps(lab):
    client, server, stranger = lab.hosts
    start(lab)
    with_nginx(lab, client, server)
    step("refused at once: port, service, target, address")
    refused(client, WEB, 81)
    refused(client, NOBODY, 80)
    refused(client, WEB, 91)
    refused(client, UNKNOWN, 80)
    no_flows(client, server)
    many_connections(client, server, 1000)
    same_port_twice(client, server)
    own_service(server)
    udp(client, server)
    bulk(client, server)
    offloads(client, server)
    replaced_under_load(client, server)
    under_attack(client, server, stranger)


def udp(client, server, services=(WEB, NOBODY, UNKNOWN)):
    step("UDP: request and answer, bursts, UDP_SEGMENT, refused at once")
    web, nobody, unknown = services
    family = family_of(web)
    v6 = family == socket.AF_INET6
    identity = client.identity6 if v6 else client.identity
    echo = server.socket(family, socket.SOCK_DGRAM)
    echo.bind(("::" if v6 else "0.0.0.0", 9953))
    echo.settimeout(10)
    s = client.socket(family, socket.SOCK_DGRAM)
    s.settimeout(10)
    for i in range(200):
        ask = struct.pack("<Q", i) * (1 + i % 150)
        s.sendto(ask, (web, 53))
        got, peer = echo.recvfrom(2000)
        assert got == ask and peer[0] == identity, (peer, i)
        echo.sendto(got[::-1], peer)
        got, peer = s.recvfrom(2000)
        assert got == ask[::-1] and peer[:2] == (web, 53), peer
    mtu = client.dump("status")["mtu"]
    full = bytes(i % 256 for i in range(mtu - (48 if v6 else 28)))
    s.sendto(full, (web, 53))
    assert echo.recv(2000) == full
    fragmented(s, echo, web)
    s.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT.
    parts = [bytes([i]) * 1000 for i in range(20)]
    s.sendto(b"".join(parts), (web, 53))
    assert [echo.recv(2000) for _ in parts] == parts
    s.close()

    burst = client.socket(family, socket.SOCK_DGRAM)
    for i in range(50):
        burst.sendto(b"%d" % i, (web, 53))
    assert [echo.recv(100) for _ in range(50)] == [b"%d" % i
                                                   for i in range(50)]
    burst.close()
    echo.close()

    for address, port in ((web, 54), (nobody, 53), (unknown, 53)):
        s = client.socket(family, socket.SOCK_DGRAM)
        s.settimeout(5)
        s.connect((address, port))
        s.send(b"anybody?")
        try:
            s.recv(10)
            raise AssertionError(f"{address}:{port}/udp answered")
        except ConnectionRefusedError:
            pass
        s.close()


def fragmented(s, echo, service):
    """Datagrams larger than sal0's MTU, which the stack fragments: the last
    fragment long and as short as can be."""
    for length in (1436, 1409, 2817, 3000, 8192, 20000, 65000):
        ask = random.Random(length).randbytes(length)
        s.sendto(ask, (service, 53))
        got, peer = echo.recvfrom(65536)
        assert got == ask, (len(got), length)
        echo.sendto(got[::-1], peer)
        got, peer = s.recvfrom(65536)
        assert got == ask[::-1] and peer[0] == service, (len(got), peer)


def own_datagrams(server, address=WEB):
    """A service of the host's own; the first datagram is in fragments."""
    v6 = ":" in address
    family = family_of(address)
    echo = server.socket(family, socket.SOCK_DGRAM)
    echo.bind(("::" if v6 else "0.0.0.0", 9953))
    s = server.socket(family, socket.SOCK_DGRAM)
    for x in s, echo:
        x.settimeout(10)
    s.sendto(bytes(5000), (address, 53))
    got, peer = echo.recvfrom(65536)
    assert got == bytes(5000) and peer[0] == address, (len(got), peer)
    fragmented(s, echo, address)
    s.close()
    echo.close()


def own_service(server, address=WEB):
    step("a server calls its own service, and its own closed port")
    server.dpctl("address", address, "web.shop.acme")
    transfer(server, server, 512, peer_is=address, address=address)
    refused(server, address, 91)
    refused(server, address, 81)
    own_datagrams(server, address)
    no_flows(server, server)


def removal(lab):
    step("removal leaves nothing")
    for host in lab.hosts[:2]:
        host.dpctl("remove")
        assert "sal0" not in host.run("ip", "link")
        assert not os.path.exists(host.pins), os.listdir(host.pins)
        assert "sal" not in host.run("tc", "filter", "show", "dev", "eth0",
                                     "ingress", check=False)


def without_tcx(lab):
    step("the same over clsact, closes inferred from FIN and RST")
    client, server, _ = lab.hosts
    for host in client, server:
        host.env = {"SALIENT_NO_TCX": "1", "SALIENT_NO_SOCKOPS": "1"}
    start(lab)
    status = client.dump("status")
    assert status["egress"] == "clsact", status
    assert status["close_tracking"] == "fin-rst", status
    refused(client, WEB, 81)
    many_connections(client, server, 200)
    transfer(client, server, 256)
    replaced_under_load(client, server)
    removal(lab)


def with_xdp(lab):
    step("the same with native XDP on the uplinks")
    client, server, stranger = lab.hosts
    for host in client, server:
        host.env = {"SALIENT_INGRESS": "xdp"}
        host.run("ethtool", "-K", "eth0", "gro", "on")
    start(lab)
    refused(client, WEB, 81)
    many_connections(client, server, 200)
    udp(client, server)
    offloads(client, server)
    replaced_under_load(client, server)
    under_attack(client, server, stranger)
    for host in client, server:
        assert host.dump("counters")["in_xdp"] > 1000
    removal(lab)


def main():
    with Lab(sys.argv[1]) as lab:
        lab.host("client", "10.0.0.1")
        lab.host("server", "10.0.0.2")
        lab.host("stranger", "10.0.0.3")
        all_steps(lab)
        removal(lab)
        without_tcx(lab)
        with_xdp(lab)
    print(f"{steps} steps")


if __name__ == "__main__":
    main()
