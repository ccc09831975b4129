# SPDX-License-Identifier: Apache-2.0
"""Switches without the SAL fields: the Open vSwitch as Debian ships it.

    h1, w1 -- t1 ---- t2 ---- s3 -- w3        t1, t2: stock; s3: with SAL

Both kinds run for real, each with daemons and a network namespace of its
own (two userspace datapaths in one would share a device).  Skipped where the
unpatched Open vSwitch has not been built (make ovs-pristine).

Each step needs what the ones before it left.  ONLY=name runs up to the step
of that name."""

import contextlib
import ctypes
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.daemon import BUILD, RUN, sh
from topologies.ovs import OpenVSwitch
from topologies.wait import TooLate, until
from tests.controller.network import OPENFLOW_PORT, Network
from tests.controller.steps import expect, run_suite

CLONE_NEWNET = 0x40000000
OURS, THEIRS = "192.0.2.1", "192.0.2.2"  # Of the management network.

PRISTINE = f"{BUILD}/ovs-pristine/ovs"
SERVICE = "web.shop.acme"
HOSTS = (("h1", "t1"), ("w1", "t1"), ("w3", "s3"))
ADDRESS = {name: f"10.0.0.{i}" for i, (name, _) in enumerate(HOSTS, 1)}
ADDRESS6 = {name: f"fd00::{i}" for i, (name, _) in enumerate(HOSTS, 1)}


@contextlib.contextmanager
def namespace(name):
    """What is started inside lives in the network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as ours, \
            open(f"/run/netns/{name}", "rb") as theirs:
        expect(libc.setns(theirs.fileno(), CLONE_NEWNET) == 0, "setns")
        try:
            yield
        finally:
            expect(libc.setns(ours.fileno(), CLONE_NEWNET) == 0, "setns")


def put(device, switch):
    """Makes the device a port of the switch."""
    if switch[0] == "t":
        sh("ip", "link", "set", device, "netns", "stock")
        Network.inside("stock", "ip", "link", "set", device, "up")
    else:
        sh("ip", "link", "set", device, "up")


@contextlib.contextmanager
def pristine(net):
    """The tools speak to the stock switches inside."""
    patched = dict(os.environ)
    os.environ.update(net.stock_environment)
    try:
        yield net.stock
    finally:
        os.environ.clear()
        os.environ.update(patched)


def take(agent):
    """What was heard so far, as one text; stays to be heard."""
    while not agent._new.empty():  # pylint: disable=protected-access
        agent.lines.append(agent._new.get())  # pylint: disable=W0212
    return "\n".join(agent.lines)


def syn(net, service, port, kind="syn", client="h1"):
    """Whom a SYN of the client reaches; None: it was refused."""
    net.hosts[client].say(f"{kind} {service} {port} 0")
    found = []

    def look():
        for name, agent in net.hosts.items():
            if f"src_flow={0x10000 + port} " in take(agent):
                found.append(name)
        if f"dst_flow={0x10000 + port} " in take(net.hosts[client]):
            found.append(None)
        return found
    until(look, f"a SYN for {service} gets anywhere", 5)
    return found[0]


def hops(agent, service):
    """The hops of the last push about the service."""
    text = take(agent)
    start = text.rfind(f"service {service} ")
    return dict(re.findall(r"hop (\S+) weight (\d+)",
                           text[start:].split("\nservice ")[0].split(
                               "\ntable ")[0]))


# The steps.


def switches_and_hosts(net):
    net.stock = OpenVSwitch(PRISTINE, f"{RUN}/stock", net.log_dir + "/stock")
    os.makedirs(net.log_dir + "/stock", exist_ok=True)
    patched = dict(os.environ)
    sh("ip", "netns", "add", "stock")
    sh("ip", "link", "add", "m0", "type", "veth", "peer", "name", "m1",
       "netns", "stock")
    sh("ip", "address", "add", f"{OURS}/30", "dev", "m0")
    sh("ip", "link", "set", "m0", "up")
    net.inside("stock", "ip", "address", "add", f"{THEIRS}/30", "dev", "m1")
    net.inside("stock", "ip", "link", "set", "m1", "up")
    net.inside("stock", "ip", "link", "set", "lo", "up")
    with namespace("stock"):
        net.stock.start()
    net.stock_environment = {k: os.environ[k] for k in os.environ
                             if k == "PATH" or k.startswith("OVS_")}
    os.environ.clear()
    os.environ.update(patched)

    net.add_switch(3)
    with pristine(net) as stock:
        for number in (1, 2):
            stock.vsctl(
                "add-br", f"t{number}", "--", "set", "bridge", f"t{number}",
                "datapath_type=netdev", "fail_mode=secure",
                "protocols=OpenFlow15",
                f"other_config:datapath-id={number:016x}",
                "other_config:disable-in-band=true", "--", "set-controller",
                f"t{number}", f"tcp:{OURS}:{OPENFLOW_PORT}", "--", "set",
                "controller", f"t{number}", "max_backoff=1000")
    for a, b in (("t1", "t2"), ("t2", "s3")):
        sh("ip", "link", "add", f"{a}-{b}", "type", "veth", "peer", "name",
           f"{b}-{a}")
        for end, switch in ((f"{a}-{b}", a), (f"{b}-{a}", b)):
            put(end, switch)
            if switch[0] == "t":
                with pristine(net) as stock:
                    stock.vsctl("add-port", switch, end)
            else:
                net.ovs.vsctl("add-port", switch, end)
    for name, switch in HOSTS:
        if switch[0] == "t":
            with pristine(net) as stock:
                ours, net.ovs = net.ovs, stock
                net.add_host(name, switch, ADDRESS[name])
                net.ovs = ours
                put(name, switch)
        else:
            net.add_host(name, switch, ADDRESS[name])
        net.add_v6(name, ADDRESS6[name])
    net.start_controller()
    net.wait_in_sync(3, links=2, switches_stock=2)
    net.hosts = {name: net.add_agent(name, ADDRESS[name],
                                     locator6=ADDRESS6[name])
                 for name, _ in HOSTS}
    for agent in net.hosts.values():
        until(lambda a=agent: "attachment attached=1" in take(a)
              and "attachment6 attached=1" in take(a),
              f"{agent.name} is attached", 10)
    net.wait_in_sync(3)


def stock_switches_hand_on(net):
    """To the nearest that resolves, two switches away, and back again if the
    instance is at the client's own switch."""
    for name in ("w1", "w3"):
        heard = net.hosts[name].ask(f"register {SERVICE} 80 1 wait",
                                    "registered confirmed=1|error")
        expect("registered" in heard.string, heard.string)
    net.wait_in_sync(3)
    for kind in ("syn", "syn6"):
        reached = {syn(net, SERVICE, 50000 + i + (10 if kind == "syn6" else 0),
                       kind) for i in range(4)}
        expect(reached == {"w1", "w3"}, f"{kind}: {reached}")
        expect(syn(net, "nobody.shop.acme",
                   50030 + (kind == "syn6"), kind) is None, "not refused")
    expect(not hops(net.hosts["h1"], SERVICE), "hops although s3 is there")
    net.inside("h1", "ping", "-c1", "-W2", ADDRESS["w3"])
    net.inside("h1", "ping", "-6", "-c1", "-W2", ADDRESS6["w3"])


def without_one_agents_get_routes(net):
    """The link to s3 is cut: nobody near resolves, so agents are told who
    serves, and told of changes."""
    with pristine(net) as stock:
        stock.vsctl("del-port", "t2", "t2-s3")
    wanted = {ADDRESS["w1"]: "1", ADDRESS6["w1"]: "1"}
    until(lambda: hops(net.hosts["h1"], SERVICE) == wanted,
          "h1 is told of w1 only: w3 cannot be reached", 10)
    net.hosts["h1"].forget()
    net.hosts["h1"].say(f"resolve {SERVICE}")
    net.hosts["h1"].hear("resolved length=192")
    net.hosts["h1"].hear(f"hop {ADDRESS['w1']} weight 1")
    net.hosts["h1"].say("resolve nobody.shop.acme")
    net.hosts["h1"].hear("error 4 resolve.service_id")
    net.hosts["w1"].ask(f"register {SERVICE} 80 7 wait", "registered")
    wanted = {ADDRESS["w1"]: "7", ADDRESS6["w1"]: "7"}
    until(lambda: hops(net.hosts["h1"], SERVICE) == wanted,
          "h1 is told of the weight", 10)
    # An endpoint by its ID.
    prefix = re.search(r"endpoint (0x[0-9a-f]+/192)",
                       "\n".join(net.hosts["w1"].lines))[1]
    net.hosts["h1"].say(f"resolve {prefix}")
    net.hosts["h1"].hear("resolved length=192")
    net.hosts["h1"].hear(r"hop (10.0.0.2|fd00::2) weight 1")
    answer = net.ask("recompute", "--check")
    expect(answer and answer["equal"], "a full recompute differs")


def they_are_taken_back(net):
    """s3 is there again: SYNs go to the resolver address."""
    with pristine(net) as stock:
        stock.vsctl("add-port", "t2", "t2-s3")
    until(lambda: not hops(net.hosts["h1"], SERVICE), "no hops any more", 15)
    net.wait_in_sync(3, links=2)
    # Confirmed is not yet effective in the datapath, so a SYN may need a retry.
    for port in range(50050, 50053):
        with contextlib.suppress(TooLate):
            expect(syn(net, SERVICE, port) in ("w1", "w3"), "not reached")
            break
    else:
        raise AssertionError("three SYNs got nowhere")


def hop_by_hop_across_stock_switches(net):
    """A second SAL switch, s4, with a host of its own beyond t2:

        h1, w1 -- t1 ---- t2 ---- s3 -- w3
                           |
                          s4 -- c4, w4

    A SYN of c4 is resolved at s4, because the next on its way resolves
    nothing; with `hop-by-hop', too."""
    net.add_switch(4)
    sh("ip", "link", "add", "t2-s4", "type", "veth", "peer", "name", "s4-t2")
    put("t2-s4", "t2")
    put("s4-t2", "s4")
    with pristine(net) as stock:
        stock.vsctl("add-port", "t2", "t2-s4")
    net.ovs.vsctl("add-port", "s4", "s4-t2")
    for name, locator in (("c4", "10.0.0.8"), ("w4", "10.0.0.9")):
        net.add_host(name, "s4", locator)
        net.hosts[name] = net.add_agent(name, locator)
        net.hosts[name].hear("attachment attached=1")
    net.hosts["w4"].ask(f"register {SERVICE} 80 1 wait",
                        "registered confirmed=1")
    port = 50100

    def times_read():
        with open(net.daemon.log, encoding="utf-8") as log:
            return log.read().count("configuration was read again")
    for resolution in ("edge", "hop-by-hop"):
        before = times_read()
        net.configure(f"resolution: {resolution}\n")
        sh("kill", "-HUP", str(net.daemon.process.pid))
        until(lambda n=before: times_read() > n, "it is read again")
        net.wait_in_sync(4, links=3)
        for client in ("c4", "h1"):
            reached = set()
            for _ in range(40):
                port += 1
                with contextlib.suppress(TooLate):
                    reached.add(syn(net, SERVICE, port, client=client))
                if reached == {"w1", "w3", "w4"}:
                    break
            expect(reached == {"w1", "w3", "w4"},
                   f"{resolution}: {client} reaches {reached}")
        net.wait_in_sync(4, links=3)
        answer = net.ask("recompute", "--check")
        expect(answer and answer["equal"], "a full recompute differs")


STEPS = (switches_and_hosts, stock_switches_hand_on,
         without_one_agents_get_routes, they_are_taken_back,
         hop_by_hop_across_stock_switches)


def inside():
    if not os.path.exists(f"{PRISTINE}/sbin/ovs-vswitchd"):
        print(f"  SKIP    no unpatched Open vSwitch in {PRISTINE}")
        print(f"stock: 0 passed, 0 failed, {len(STEPS)} skipped")
        return 0
    net = Network("check-stock")
    net.config = net.config.replace("tcp:127.0.0.1", "tcp:0.0.0.0")

    def stop_stock():
        if hasattr(net, "stock"):
            net.stock.stop()
    return run_suite("stock", net, STEPS, stop_stock)


if __name__ == "__main__":
    sys.exit(sandbox.run(inside))
