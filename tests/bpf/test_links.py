#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an uplink may be, without a daemon: interfaces that stand on others.

    client eth0 ---------------- eth0 server      10.0.0.0/24
           stacked on eth0 ----- stacked          10.5.0.0/24, 2001:db8:5::/64
           joined (eth1, eth2) - joined           10.6.0.0/24

"stacked" is a VLAN interface and a macvlan, "joined" a bond and a bridge, as
far as the kernel has them.  Services are those of test_ipv6.py.

    test_links.py BUILD [KIND]...    default: all kinds
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_ipv6 as ipv6  # noqa: E402
import test_namespaces as base  # noqa: E402
from netlab import Host, Lab, wait_for  # noqa: E402
from test_namespaces import step, transfer  # noqa: E402

WEBS = base.WEB, ipv6.WEB6


STACKED = {"vlan": ("type", "vlan", "id", "5"),
           "macvlan": ("type", "macvlan", "mode", "bridge")}
JOINED = {"bond": ("type", "bond", "mode", "active-backup", "miimon", "20"),
          "bridge": ("type", "bridge")}


def kernel_has(host, kind, *words):
    """Whether the kernel knows such devices; says so if not."""
    if "Unknown device type" in host.output("ip", "link", "add", *words):
        print(f"-- skipped: the kernel has no {kind} devices")
        return False
    host.run("ip", "link", "del", "probe")
    return True


class Peer(Host):
    def output(self, *args):
        done = subprocess.run(self.command(*args), capture_output=True,
                              text=True, check=False)
        return done.stdout + done.stderr

    def give(self, name, *addresses):
        self.run("ip", "link", "set", name, "up")
        for address in addresses:
            self.run("ip", "addr", "add", address, "dev", name,
                     *(["nodad"] if ":" in address else []))


def build(lab):
    client, server = (Peer(lab, name, None) for name in ("client", "server"))
    for name in "eth0", "eth1", "eth2":
        client.run("ip", "link", "add", name, "up", "type", "veth", "peer",
                   "name", name, "netns", server.holder.pid)
    for n, host in enumerate((client, server), 1):
        host.give("eth0", f"10.0.0.{n}/24")
        # Each interface answers for itself.
        host.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1")
    return client, server


def stack(hosts, kind):
    for n, host in enumerate(hosts, 1):
        host.run("ip", "link", "add", "link", "eth0", "name", "stacked",
                 *STACKED[kind])
        host.give("stacked", f"10.5.0.{n}/24", f"2001:db8:5::{n}/64")


def join(hosts, kind):
    for n, host in enumerate(hosts, 1):
        host.run("ip", "link", "add", "joined", *JOINED[kind])
        for name in ("eth1", "eth2") if kind == "bond" else ("eth1",):
            host.run("ip", "link", "set", name, "down")
            host.run("ip", "link", "set", name, "master", "joined")
            host.run("ip", "link", "set", name, "up")
        host.give("joined", f"10.6.0.{n}/24")


def remove(hosts, name):
    for host in hosts:
        host.dpctl("remove")
        host.run("ip", "link", "del", name)


def start(client, server, resolver, *uplinks):
    """'resolver' is the server's address; the last uplink's by name."""
    for n, (me, rules) in enumerate(((client, ipv6.CLIENT_RULES),
                                     (server, base.SERVER_RULES)), 1):
        if os.path.isdir(me.pins):
            me.dpctl("remove")
        me.identity, me.identity6 = f"100.64.0.{n}", f"fd64::{n}"
        me.dpctl(*(word for name in uplinks for word in ("attach", name)),
                 "identity", me.identity, "identity", me.identity6,
                 *(word for address in resolver
                   for word in ("resolver", address)), *rules)
        for identity, pool in ((f"{me.identity}/32", "198.18.0.0/15"),
                               (f"{me.identity6}/128", "fd5a::/48")):
            me.run("ip", "addr", "add", identity, "dev", "sal0",
                   *(["nodad"] if ":" in identity else []))
        for source, *pools in ((me.identity, "198.18.0.0/15",
                                "100.64.0.0/10"),
                               (me.identity6, "fd5a::/48", "fd64::/48")):
            for pool in pools:
                me.run("ip", "route", "add", pool, "dev", "sal0", "src",
                       source)


def over(client, server, locators, web):
    """A connection travels between these locators."""
    listener = server.listen(8080, "::" if ":" in web else "0.0.0.0")
    a = client.connect(web, 80)
    b, _ = listener.accept()
    a.sendall(b"hello")
    assert b.recv(10) == b"hello"
    b.sendall(b"world")
    assert a.recv(10) == b"world"
    for host, own in zip((client, server), locators):
        flows = host.flows()
        assert [f["own_locator"] for f in flows] == [own], flows
    for s in a, b, listener:
        s.close()
    base.no_flows(client, server)


def check(client, server, locators, blocks=64):
    for web in WEBS:
        over(client, server, locators, web)
        transfer(client, server, blocks, address=web)
        base.refused(client, web, 81)
    base.no_flows(client, server)


def stacked(client, server, kind):
    for version, addresses in ((4, ("10.5.0.1", "10.5.0.2")),
                               (6, ("2001:db8:5::1", "2001:db8:5::2"))):
        step(f"a {kind} interface is the uplink, over IPv{version}")
        start(client, server, [addresses[1]], "stacked")
        status = client.dump("status")
        assert status["mtu"] == 1500 - (64 if version == 6 else 44), status
        check(client, server, addresses)


def no_xdp(client, kind):
    step(f"a {kind} interface has no native XDP: refused if it was asked for")
    client.env = {"SALIENT_INGRESS": "xdp"}
    try:
        client.dpctl("attach", "stacked")
        raise AssertionError("attached")
    except AssertionError as error:
        assert "stacked: no native XDP" in str(error), error
    finally:
        client.env = {}


def two(client, server, kind):
    step(f"two uplinks, a {kind} on the other: each has its own flows")
    start(client, server, ["10.5.0.2"], "stacked", "eth0")
    check(client, server, ("10.5.0.1", "10.5.0.2"))
    start(client, server, ["10.0.0.2"], "eth0", "stacked")
    check(client, server, ("10.0.0.1", "10.0.0.2"))
    step("the MTU is that of the smaller one")
    client.run("ip", "link", "set", "stacked", "mtu", 1400)
    client.dpctl("attach", "stacked")
    status = client.dump("status")
    assert status["mtu"] == 1400 - 44, status


def bond_by_tc(client, server):
    step("XDP strips packets on a bond's links; without it a bond works too")
    for ingress in "xdp", "tc":
        before = server.dump("counters")["in_xdp"]
        for host in client, server:
            host.env = {"SALIENT_INGRESS": ingress}
            host.dpctl("attach", "joined")
            host.env = {}
            link = host.run("ip", "link", "show", "joined")
            assert (" xdp " in link) == (ingress == "xdp"), link
        transfer(client, server, 64)
        stripped = server.dump("counters")["in_xdp"] > before
        assert stripped == (ingress == "xdp"), ingress


def joined(client, server, kind):
    step(f"a {kind} is the uplink")
    start(client, server, ["10.6.0.2"], "joined")
    check(client, server, ("10.6.0.1", "10.6.0.2"))
    if kind != "bond":
        return
    step("its active link fails during a transfer")

    def fail():
        for host in client, server:
            host.run("ip", "link", "set", "eth1", "down")
        wait_for(lambda: "eth2" in client.run(
            "cat", "/proc/net/bonding/joined").split("Active Slave:")[1]
                 .split("\n")[0], "the other link takes over")

    transfer(client, server, 256, during=fail)
    bond_by_tc(client, server)


def chosen(kinds):
    return {kind: words for kind, words in kinds.items()
            if kind in sys.argv[2:] or not sys.argv[2:]}


def main():
    with Lab(sys.argv[1], direct=True) as lab:
        client, server = build(lab)
        lab.hosts += [client, server]
        for kind, words in chosen(STACKED).items():
            if kernel_has(client, kind, "link", "eth0", "name", "probe",
                          *words):
                stack((client, server), kind)
                stacked(client, server, kind)
                no_xdp(client, kind)
                two(client, server, kind)
                remove((client, server), "stacked")
        for kind, words in chosen(JOINED).items():
            if kernel_has(client, kind, "probe", *words):
                join((client, server), kind)
                joined(client, server, kind)
                remove((client, server), "joined")
    print(f"{base.steps} steps")


if __name__ == "__main__":
    main()
