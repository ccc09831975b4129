# SPDX-License-Identifier: Apache-2.0
"""Three switches of the private Open vSwitch, each linked to the others, their
hosts, and the first steps of every suite that has them:

                     controller -- agents (test_agent, over a Unix socket)
                    /     |     \\
    h1, w1 ------ s1 ---- s2 ---- s3 ------ w3
                   |      |       |
                   +------|-------+
                          w2
"""

import re

from tests.controller.steps import expect

SERVICE = "web.shop.acme"
SWITCHES = ("s1", "s2", "s3")
HOSTS = (("h1", "s1"), ("w1", "s1"), ("w2", "s2"), ("w3", "s3"))
ADDRESS = {name: f"10.0.0.{i}" for i, (name, _) in enumerate(HOSTS, 1)}
SERVICE_RULE = "cookie=0x53414c03"


def targets(net, switch):
    """{server address: its share of 16384 source ports} in table 10."""
    shares = {}
    for flow in net.flows(switch, 10):
        target = re.search(r"set_field:([0-9.]+)->ip_dst", flow)
        if target and SERVICE_RULE in flow:
            mask = re.search(r"tp_src=0x[0-9a-f]+/0x([0-9a-f]+)", flow)
            bits = bin(int(mask[1], 16)).count("1") if mask else 0
            shares[target[1]] = shares.get(target[1], 0) + (16384 >> bits)
    return shares


def services_in(net, switch, names):
    """{name: addresses of its instances} by table 10."""
    prefix = {s["name"]: s["prefix"].split("/")[0].rstrip("0")
              for s in net.ask("show", "services")["services"] if "name" in s}
    flows = [flow for flow in net.flows(switch, 10) if SERVICE_RULE in flow]
    return {name: set(re.findall(
        r"set_field:([0-9.]+)->ip_dst", " ".join(
            flow for flow in flows if prefix.get(name, "?") in flow)))
            for name in names}


def check_recompute(net):
    answer = net.ask("recompute", "--check")
    expect(answer and answer["equal"], "a full recompute differs")


# The steps.


def switches_and_links(net):
    for number in range(1, 4):
        net.add_switch(number)
    for a, b in (("s1", "s2"), ("s2", "s3"), ("s3", "s1")):
        net.add_link(a, b)
    for name, switch in HOSTS:
        net.add_host(name, switch, ADDRESS[name])
    net.start_controller()
    status = net.wait_in_sync(3, links=3, switches_stock=0)
    for switch in net.ask("show", "switches"):
        expect(switch["openflow"] == "1.5" and switch["sal"]
               and switch["bundles"] and not switch["malformed"],
               f"{switch}")
    check_recompute(net)
    return f"{status['uptime_ms']} ms after its start"


def registrations_are_confirmed(net):
    net.hosts = {name: net.add_agent(name, ADDRESS[name])
                 for name, _ in HOSTS}
    for agent in net.hosts.values():
        agent.hear("welcome")
        agent.hear("attachment attached=1")
    times = []
    for name, weight in (("w1", 1), ("w2", 1), ("w3", 2)):
        heard = net.hosts[name].ask(f"register {SERVICE} 80 {weight} wait",
                                    r"registered confirmed=1 us=(\d+)|error")
        expect(heard[1], heard.string)
        times.append(int(heard[1]))
        expect(ADDRESS[name] in targets(net, "s1"),
               f"{name} was confirmed but is not in s1")
    wanted = {ADDRESS["w1"]: 4096, ADDRESS["w2"]: 4096, ADDRESS["w3"]: 8192}
    for switch in SWITCHES:
        expect(targets(net, switch) == wanted, f"{targets(net, switch)}")
    net.wait_in_sync(3, hosts_attached=4, registrations=3, services=1)
    net.hosts["h1"].hear(rf"service {SERVICE} c612|service {SERVICE} c613")
    check_recompute(net)
    return "register to last barrier: " + ", ".join(f"{t} us" for t in times)
