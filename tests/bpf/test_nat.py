#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The data plane through a NAT that changes ports, and over several uplinks,
without a daemon:

    client                  nat                      server
    eth0 192.168.1.2 --- 192.168.1.1, 10.0.0.9 ---+--- 10.0.0.2
    eth1 10.0.0.1 --------------------------------+
                                                 br0

The client's resolver address is the server's, so every SYN arrives there.
"""
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from netlab import Lab, Namespace, wait_for  # noqa: E402
from test_namespaces import (WEB, NOBODY, SERVER_RULES,  # noqa: E402
                             CLIENT_RULES, no_flows, refused, transfer)

INSIDE, OUTSIDE = "192.168.1.1", "10.0.0.9"
PORTS = range(20000, 21000)
steps = 0


def step(name):
    global steps
    steps += 1
    print(f"-- {name}", flush=True)


def make_nat(lab, client):
    """A router between the client's eth0 and the bridge that replaces the
    source port of all UDP."""
    nat = Namespace()
    client.run("ip", "link", "add", "eth0", "up", "type", "veth", "peer",
               "name", "inside", "netns", nat.holder.pid)
    lab.bridge.run("ip", "link", "add", "nat", "up", "master", "br0", "type",
                   "veth", "peer", "name", "outside", "netns",
                   nat.holder.pid)
    for name, address in ("inside", INSIDE), ("outside", OUTSIDE):
        nat.run("ip", "link", "set", name, "up")
        nat.run("ip", "addr", "add", f"{address}/24", "dev", name)
    nat.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    nat.run("nft", "add table ip nat; add chain ip nat out "
            "{ type nat hook postrouting priority 100; }; "
            "add rule ip nat out oifname outside udp sport 0-65535 "
            f"masquerade to :{PORTS[0]}-{PORTS[-1]}")
    client.run("ip", "addr", "add", "192.168.1.2/24", "dev", "eth0")
    client.run("ip", "route", "add", "10.0.0.0/24", "via", INSIDE)
    return nat


def through_nat(client, server):
    step("TCP through the NAT, each word verified")
    client.start("100.64.0.1", "uplink", "eth0", 1, "nat", "resolver",
                 server.locator, *CLIENT_RULES)
    server.start("100.64.0.2", "resolver", OUTSIDE, *SERVER_RULES)
    transfer(client, server, 256)
    listener = server.listen(8080)
    s = client.connect(WEB, 80)
    there, = wait_for(server.flows, "the server's flow")
    here, = client.flows()
    assert there["peer_locator"] == OUTSIDE, there
    assert there["peer_port"] in PORTS, there
    assert there["udp_source"] == here["udp_source"] == 6090, (there, here)
    assert here["peer_port"] == 0, here
    s.close()
    listener.close()
    no_flows(client, server)


def refused_through_nat(client):
    step("refused at once, also through the NAT")
    refused(client, NOBODY, 80)
    refused(client, WEB, 81)


def udp_through_nat(client, server):
    step("UDP through the NAT, and back when the server speaks first")
    echo = server.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind(("0.0.0.0", 9953))
    echo.settimeout(10)
    s = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(10)
    for i in range(100):
        s.sendto(b"%d" % i, (WEB, 53))
        data, peer = echo.recvfrom(64)
        assert data == b"%d" % i
        echo.sendto(data, peer)
        assert s.recv(64) == data
    echo.sendto(b"by the way", peer)
    assert s.recv(64) == b"by the way"
    s.close()
    echo.close()


def shared_out(lab, client, server):
    """eth0 goes through the NAT, eth1 does not."""
    step("new flows are shared out over two uplinks by weight, 3 : 1")
    lab.bridge.run("ip", "link", "add", "client1", "master", "br0", "up",
                   "type", "veth", "peer", "name", "eth1", "netns",
                   client.holder.pid)
    client.run("ip", "link", "set", "eth1", "up")
    client.run("ip", "addr", "add", "10.0.1.1/24", "dev", "eth1")
    server.run("ip", "addr", "add", "10.0.1.2/24", "dev", "eth0")
    server.dpctl("attach", "eth0", "resolver", "10.0.1.1")
    client.run("ip", "route", "add", "10.0.0.2/32", "dev", "eth1", "metric",
               "5")
    client.dpctl("attach", "eth0", "attach", "eth1", "uplink", "eth0", 1,
                 "nat", "uplink", "eth1", 3)
    listener = server.listen(8080)
    n = 200
    open_ones = [client.connect(WEB, 80) for _ in range(n)]
    flows = client.flows()
    assert len(flows) == n
    for flow in flows:
        nat = flow["own_locator"] == "192.168.1.2"
        assert nat == (flow["udp_source"] == 6090), flow
    by_nat = sum(flow["own_locator"] == "192.168.1.2" for flow in flows)
    # 50 are expected; the chance to be off by more than 30 is 1e-6.
    assert 20 <= by_nat <= 80, by_nat
    print(f"   {by_nat} of {n} by the NAT")
    for s in open_ones:
        s.close()
    listener.close()
    no_flows(client, server)


def main():
    with Lab(sys.argv[1]) as lab:
        client = lab.host("client", None)
        server = lab.host("server", "10.0.0.2")
        lab.others.append(make_nat(lab, client))
        through_nat(client, server)
        refused_through_nat(client)
        udp_through_nat(client, server)
        shared_out(lab, client, server)
    print(f"{steps} steps")


if __name__ == "__main__":
    main()
