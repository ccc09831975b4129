#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""IPv6 inside and outside, in all combinations, without a daemon:

    10.0.0.1, 2001:db8::1               10.0.0.2, 2001:db8::2
    client 100.64.0.1, fd64::1          server 100.64.0.2, fd64::2
        |                                   |
        +------- br0, a Linux bridge -------+

With "thorough", also with each offload off, with what old kernels have, and
with native XDP.  The client's resolver addresses are the server's.  Services are those of
test_namespaces.py; fd5a::1 = web, fd5a::2 = shadow, fd5a::3 = nobody.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_namespaces as base  # noqa: E402
from netlab import Lab, nginx, wait_for  # noqa: E402
from test_namespaces import step, transfer  # noqa: E402

WEB6, SHADOW6, NOBODY6, UNKNOWN6 = "fd5a::1", "fd5a::2", "fd5a::3", "fd5a::4"
CLIENT_RULES = [*base.CLIENT_RULES, "address", WEB6, "web.shop.acme",
                "address", SHADOW6, "shadow.shop.acme",
                "address", NOBODY6, "nobody.shop.acme"]
INNER = {4: (base.WEB, base.SHADOW, base.NOBODY, base.UNKNOWN),
         6: (WEB6, SHADOW6, NOBODY6, UNKNOWN6)}


def start(lab):
    client, server = lab.hosts
    client.start("100.64.0.1", "resolver", server.locator, "resolver",
                 server.locator6, *CLIENT_RULES, identity6="fd64::1")
    server.start("100.64.0.2", "resolver", client.locator, "resolver",
                 client.locator6, *base.SERVER_RULES, identity6="fd64::2")
    for host in client, server:
        mtu = host.dump("status")["mtu"]
        assert mtu == 1500 - 64, mtu


def outer(client, version):
    """New flows of the client travel over this version."""
    client.dpctl("prefer-v6", "1" if version == 6 else "0")


def check_locators(client, server, version):
    """What flows there are travel over this version."""
    for host in client, server:
        own = host.locator6 if version == 6 else host.locator
        flows = host.flows()
        assert flows and all(f["own_locator"] == own for f in flows), flows


def one_connection(client, server, address, version):
    """While it is open, look at the flow."""
    v6 = ":" in address
    listener = server.listen(8080, "::" if v6 else "0.0.0.0")
    a = client.connect(address, 80)
    b, _ = listener.accept()
    a.sendall(b"hello")
    assert b.recv(10) == b"hello"
    check_locators(client, server, version)
    for s in a, b, listener:
        s.close()
    base.no_flows(client, server)


def with_nginx(lab, client, server):
    step("nginx answers curl -6, and sees the client's identity address")
    with nginx(lab, server, "[::]:8080") as access_log:
        for version in 4, 6:
            outer(client, version)
            got = base.curl(client, f"http://[{WEB6}]/")
            assert got == f"200 {WEB6}", got
        log = wait_for(lambda: open(access_log).read(), "log")
        assert log.startswith("fd64::1 "), log


def combinations(client, server, n):
    for version in 4, 6:
        outer(client, version)
        for inner, (web, shadow, nobody, unknown) in INNER.items():
            step(f"IPv{inner} in IPv{version}")
            one_connection(client, server, web, version)
            for address, port in ((web, 81), (nobody, 80), (web, 91),
                                  (unknown, 80)):
                base.refused(client, address, port)
            base.no_flows(client, server)
            base.many_connections(client, server, n, (web, shadow))
            base.same_port_twice(client, server, (web, shadow))
            base.udp(client, server, (web, nobody, unknown))
            step("every word verified, 2 x 32 MiB")
            transfer(client, server, 512, address=web)
            base.no_flows(client, server)


def offloads(client, server):
    for version in 4, 6:
        outer(client, version)
        step(f"over IPv{version}:")
        base.offloads(client, server, (base.WEB, WEB6))


def only_ipv6(client, server):
    step("with no IPv4 outside, new flows take IPv6")
    outer(client, 4)
    client.run("ip", "addr", "del", f"{client.locator}/24", "dev", "eth0")
    client.dpctl("attach", "eth0")
    for address in base.WEB, WEB6:
        one_connection(client, server, address, 6)
    client.run("ip", "addr", "add", f"{client.locator}/24", "dev", "eth0")
    client.dpctl("attach", "eth0")
    one_connection(client, server, WEB6, 4)


def variant(lab, name, **env):
    step(name)
    for host in lab.hosts:
        host.env = {"SALIENT_" + key: value for key, value in env.items()}
    start(lab)
    combinations(*lab.hosts, 50)
    offloads(*lab.hosts)


def thorough(lab):
    offloads(*lab.hosts)
    base.removal(lab)
    variant(lab, "the same with what Linux before 6.3 has", NO_DECAP="1")
    base.removal(lab)
    for host in lab.hosts:
        host.run("ethtool", "-K", "eth0", "gro", "on")
    variant(lab, "the same with native XDP", INGRESS="xdp")
    for host in lab.hosts:
        assert host.dump("counters")["in_xdp"] > 1000
    base.removal(lab)


def main():
    with Lab(sys.argv[1]) as lab:
        client = lab.host("client", "10.0.0.1", locator6="2001:db8::1")
        server = lab.host("server", "10.0.0.2", locator6="2001:db8::2")
        start(lab)
        with_nginx(lab, client, server)
        combinations(client, server, 100)
        base.own_service(server, WEB6)
        only_ipv6(client, server)
        if sys.argv[2:] == ["thorough"]:
            thorough(lab)
    print(f"{base.steps} steps")


if __name__ == "__main__":
    main()
