#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Path MTU discovery, without a daemon:

    client ----------- r1 ------ narrow ------ r2 ----------- server
    10.1.0.2         10.1.0.1                10.2.0.1        10.2.0.2
    2001:db8:1::2                                       2001:db8:2::2

Both hosts' uplinks have an MTU of 1500; the routers are plain Linux.
Services are those of test_ipv6.py.  With "thorough", 2 x 50 MiB a time.
"""
import errno
import os
import random
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_ipv6 as ipv6  # noqa: E402
import test_namespaces as base  # noqa: E402
from netlab import Host, Lab, Namespace, family_of  # noqa: E402
from test_namespaces import step, transfer  # noqa: E402

IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24


thorough = sys.argv[2:] == ["thorough"]


def cable(a, name_a, b, name_b):
    a.run("ip", "link", "add", name_a, "up", "type", "veth", "peer", "name",
          name_b, "netns", b.holder.pid)
    b.run("ip", "link", "set", name_b, "up")


def address(where, name, *addresses):
    for a in addresses:
        where.run("ip", "addr", "add", a, "dev", name,
                  *(["nodad"] if ":" in a else []))


def router():
    """Between the interfaces 'host' and 'narrow'."""
    r = Namespace()
    r.run("sysctl", "-qw", "net.ipv4.ip_forward=1",
          "net.ipv6.conf.all.forwarding=1",
          # Linux limits ICMP errors to one a second by peer.
          "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
    return r


def build(lab):
    client = Host(lab, "client", "10.1.0.2", locator6="2001:db8:1::2")
    server = Host(lab, "server", "10.2.0.2", locator6="2001:db8:2::2")
    r1, r2 = router(), router()
    cable(client, "eth0", r1, "host")
    cable(server, "eth0", r2, "host")
    cable(r1, "narrow", r2, "narrow")
    for n, (host, r) in enumerate(((client, r1), (server, r2)), 1):
        address(host, "eth0", f"10.{n}.0.2/24", f"2001:db8:{n}::2/64")
        address(r, "host", f"10.{n}.0.1/24", f"2001:db8:{n}::1/64")
        address(r, "narrow", f"10.9.0.{n}/24", f"2001:db8:9::{n}/64")
        host.run("ip", "route", "add", "default", "via", f"10.{n}.0.1")
        host.run("ip", "-6", "route", "add", "default", "via",
                 f"2001:db8:{n}::1")
        r.run("ip", "route", "add", f"10.{3 - n}.0.0/24", "via",
              f"10.9.0.{3 - n}")
        r.run("ip", "-6", "route", "add", f"2001:db8:{3 - n}::/64", "via",
              f"2001:db8:9::{3 - n}")
    return client, server, r1, r2


def start(client, server):
    for me, peer, n, rules in (
            (client, server, 1, ipv6.CLIENT_RULES),
            (server, client, 2, base.SERVER_RULES)):
        me.start(f"100.64.0.{n}", "resolver", peer.locator, "resolver",
                 peer.locator6, *rules, identity6=f"fd64::{n}")


def narrow(routers, mtu):
    for r in routers:
        r.run("ip", "link", "set", "narrow", "mtu", mtu)


def forget(hosts):
    """What kernels learnt of the paths to services and identities."""
    for host in hosts:
        host.run("ip", "route", "flush", "cache")
        host.run("ip", "-6", "route", "flush", "cache")


def tcp(client, server, address):
    begin = time.monotonic()
    transfer(client, server, 800 if thorough else 128, address=address)
    took = time.monotonic() - begin
    assert took < 60, took
    base.no_flows(client, server)


def datagrams(client, server, address, mtu, version):
    """A sender that asks for path MTU discovery learns what fits."""
    v6 = ":" in address
    sink = server.socket(family_of(address), socket.SOCK_DGRAM)
    sink.bind(("::" if v6 else "0.0.0.0", 9953))
    sink.settimeout(10)
    s = client.socket(family_of(address), socket.SOCK_DGRAM)
    level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
    s.setsockopt(level, IPV6_MTU_DISCOVER if v6 else IP_MTU_DISCOVER,
                 IP_PMTUDISC_DO)
    s.connect((address, 53))
    s.send(b"first")
    assert sink.recv(2000) == b"first"
    large, refused = bytes(1340), 0
    for _ in range(100):
        try:
            s.send(large)
        except OSError as error:
            assert error.errno == errno.EMSGSIZE, error
            refused += 1
            if refused == 2:  # Once told, once known.
                break
        time.sleep(0.01)
    assert refused == 2
    fits = s.getsockopt(level, IPV6_MTU if v6 else IP_MTU)
    assert fits == mtu - (64 if version == 6 else 44), fits
    s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # What is still pending.
    last = bytes(i % 251 for i in range(fits - (48 if v6 else 28)))
    s.send(last)
    while True:
        got = sink.recv(2000)
        if len(got) == len(last):
            break
    assert got == last
    s.close()
    sink.close()


def plain_datagrams(client, server, address, mtu, version):
    """A sender that asks for nothing: what it sends arrives, once the stack
    has learnt how large fragments may be; and answers do."""
    v6 = ":" in address
    sink = server.socket(family_of(address), socket.SOCK_DGRAM)
    sink.bind(("::" if v6 else "0.0.0.0", 9953))
    s = client.socket(family_of(address), socket.SOCK_DGRAM)
    for x in s, sink:
        x.settimeout(10)
    s.sendto(b"first", (address, 53))
    got, peer = sink.recvfrom(2000)
    for length in 1340, 5000:
        for sender, receiver, to in (s, sink, (address, 53)), (sink, s, peer):
            data = random.Random(length).randbytes(length)
            receiver.settimeout(0.1)
            for _ in range(100):
                sender.sendto(data, to)
                try:
                    got = receiver.recv(65536)
                    break
                except TimeoutError:
                    pass
            assert got == data, (length, len(got))
            receiver.settimeout(0.3)
            try:
                while True:
                    assert receiver.recv(65536) == data
            except TimeoutError:
                pass
            # From now on nothing is lost.
            receiver.settimeout(10)
            for i in range(20):
                sender.sendto(data[i:], to)
                assert receiver.recv(65536) == data[i:]
    s.close()
    sink.close()


def too_small(client, server, address, version):
    """IPv6 itself does not fit.  The connection that finds that out has its
    segments cut.  The next ones, and those that IPv4's told, have segments
    that fit."""
    step(f"less than IPv6 needs, in IPv{version}: known from IPv4 inside")
    fitted(client, server, address)

    step(f"less than IPv6 needs, in IPv{version}: the first connection")
    restart(client, server)
    ipv6.outer(client, version)
    first(client, server, address)
    step(f"less than IPv6 needs, in IPv{version}: the second")
    fitted(client, server, address)


def first(client, server, address):
    """A connection that finds out how little fits."""
    forget((client, server))
    tcp(client, server, address)
    for host in client, server:
        counters = host.dump("counters")
        assert counters["in_path_mtu"] > 0
        assert counters["out_path_cut"] > 0
        assert counters["in_mss"] == 0 == counters["out_failed"]


def far_too_small(client, server, routers):
    """Each segment is cut more than once, by GSO or by us."""
    narrow(routers, 600)  # Its IPv6 addresses are gone.
    for segments in 40, 1:
        step(f"much less than IPv6 needs; {segments} segments at once")
        restart(client, server)
        for host in client, server:
            host.run("ip", "link", "set", "sal0", "gso_max_segs", segments)
            host.run("ethtool", "-K", "eth0", "tx", "off")  # Sums count.
        first(client, server, ipv6.WEB6)
        fitted(client, server, ipv6.WEB6)


def fitted(client, server, address):
    """A connection whose ends know the path: nothing is too large for it."""
    forget((client, server))
    names = "in_path_mtu", "out_path_cut"
    before = {host.name: host.dump("counters") for host in (client, server)}
    tcp(client, server, address)
    for host in client, server:
        counters = host.dump("counters")
        assert counters["in_mss"] > before[host.name]["in_mss"]
        for name in names:
            assert counters[name] == before[host.name][name], name


def paths(client, server, routers):
    for mtu in 1400, 1300:
        narrow(routers, mtu)
        for version in 4, 6:
            restart(client, server)
            ipv6.outer(client, version)
            for address in base.WEB, ipv6.WEB6:
                v6 = ":" in address
                if v6 and mtu < 1280 + (64 if version == 6 else 44):
                    too_small(client, server, address, version)
                    continue
                step(f"MTU {mtu}: IPv{6 if v6 else 4} in IPv{version}: each "
                     "word verified; UDP adapts")
                forget((client, server))
                tcp(client, server, address)
                forget((client, server))
                datagrams(client, server, address, mtu, version)
                forget((client, server))
                plain_datagrams(client, server, address, mtu, version)
            for host in client, server:
                counters = host.dump("counters")
                assert counters["in_path_mtu"] > 0
                assert counters["out_path_mtu"] > 0


def restart(client, server):
    for host in client, server:
        if os.path.isdir(host.pins):
            host.dpctl("remove")
    start(client, server)


def remembered(client, server, routers):
    step("the next flow knows, and gives the answer itself")
    narrow(routers, 1400)
    restart(client, server)
    ipv6.outer(client, 4)
    forget((client, server))
    tcp(client, server, base.WEB)
    for host in client, server:
        host.run("ip", "route", "flush", "cache")
    listener = server.listen(8080)
    a = client.connect(base.WEB, 80)
    b, _ = listener.accept()
    flows = client.flows()
    assert [f.get("path_mtu") for f in flows] == [1400], flows
    for s in a, b, listener:
        s.close()
    base.no_flows(client, server)


def unreachable(client, server, routers):
    """The resolver's network is gone: connects end at once."""
    for version, web in ((4, base.WEB), (6, ipv6.WEB6)):
        step(f"no route: refused at once, IPv{version}")
        ipv6.outer(client, version)
        prefix = "10.2.0.0/24" if version == 4 else "2001:db8:2::/64"
        routers[0].run("ip", f"-{version}", "route", "replace",
                       "unreachable", prefix)
        base.refused(client, web, 80)
        s = client.socket(family_of(web), socket.SOCK_DGRAM)
        s.settimeout(5)
        s.connect((web, 53))
        s.send(b"anybody?")
        try:
            s.recv(10)
            raise AssertionError("answered")
        except ConnectionRefusedError:
            pass
        s.close()
    assert client.dump("counters")["in_icmp_refused"] == 4


def main():
    with Lab(sys.argv[1], direct=True) as lab:
        client, server, *routers = build(lab)
        lab.hosts += [client, server]
        paths(client, server, routers)
        remembered(client, server, routers)
        far_too_small(client, server, routers)
        unreachable(client, server, routers)
        base.removal(lab)
    print(f"{base.steps} steps")


if __name__ == "__main__":
    main()
