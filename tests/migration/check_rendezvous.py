#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Both ends of a download move at once, where there is neither a SAL switch nor
a controller:

    client eth0 10.0.0.1  2001:db8::1 --+
           eth1 10.0.0.11             --+                  router
    server eth0 10.0.0.2  2001:db8::2 --+-- br0, plain --- eth0 10.0.0.9
           eth1 10.0.0.12             --+                       2001:db8::9

First the hosts know each other's places (eth0 goes down, then eth1 comes up),
then they ask the service router (both get addresses that nobody knew), once
more when its daemon has just restarted, and over IPv6.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../bpf")
from check_plain import MovingAgent, check, fetch, result  # noqa: E402
import check_plain  # noqa: E402
from netlab import Lab, wait_for  # noqa: E402

NAMES = "client", "server"
MIGRATION = "uplinks: [eth0, eth1]\nmigration: {hysteresis: 60s}\n"
SERVES = "services: [{name: words.shop.acme, port: 7000}]\n"


class Network:
    def __init__(self, lab):
        self.lab = lab
        self.hosts = {name: lab.host(name, f"10.0.0.{n}",
                                     locator6=f"2001:db8::{n}")
                      for n, name in enumerate(NAMES, 1)}
        self.router = lab.host("router", "10.0.0.9", locator6="2001:db8::9")
        for n, name in enumerate(NAMES, 1):
            host = self.hosts[name]
            lab.bridge.run("ip", "link", "add", f"{name}1", "master", "br0",
                           "up", "type", "veth", "peer", "name", "eth1",
                           "netns", host.holder.pid)
            host.run("ip", "addr", "add", f"10.0.0.1{n}/24", "dev", "eth1")
        self.agents = {}

    def start(self, name, host, number, more):
        self.agents[name] = MovingAgent(host, f"100.64.0.{number}", more)
        return self.agents[name]

    def start_hosts(self, routes, locator="10.0.0.2", more=""):
        """'routes' of a host, given the other one's endpoint ID."""
        words = (f"{MIGRATION}{more}routes:\n  - {{service: words.shop.acme,"
                 f" locators: [\"{locator}\"]}}\n")
        self.start("client", self.hosts["client"], 1, words)
        self.start("server", self.hosts["server"], 2,
                   MIGRATION + more + SERVES)
        ids = {name: self.agents[name].json("status")["endpoint_id"]
               for name in NAMES}
        for name, other in zip(NAMES, reversed(NAMES)):
            for service, locators in routes(name, ids[other]):
                self.agents[name].salctl("route", "add", service, *locators)

    def stop_hosts(self):
        for name in NAMES:
            agent = self.agents.pop(name)
            for route in agent.json("show", "routes"):
                if route["from"] == "salctl":
                    agent.salctl("route", "del", route["prefix"])
            agent.stop()

    def batch(self, commands):
        """Runs ip's commands of each host, all hosts at once."""
        runs = [(self.hosts[name].popen("ip", "-batch", "-",
                                        stdin=subprocess.PIPE, text=True),
                 text) for name, text in commands.items()]
        for run, text in runs:
            run.stdin.write(text)
        for run, _ in runs:
            run.stdin.close()
            assert run.wait() == 0

    def peer_of(self, name):
        flows = self.agents[name].flows()
        return flows[0]["peer_locator"] if flows else None

    def introduced(self, name):
        """A late copy of an RSYN announces again where the peer is."""
        return any(group["state"] in ("ESTABLISHED", "RSYN_RCVD") for peer in
                   self.agents[name].json("show", "groups")
                   for group in peer["groups"])

    def known_at(self, name):
        routers = self.agents[name].json("status")["service_routers"]
        return [router.get("knows_us_at") for router in routers]

    def moves_at_once(self, what, steps, places):
        """A download goes on when both hosts run each of 'steps', which take
        them to 'places'.  Nobody begins the second before both have done the
        first: so no RSYN finds the other where it was."""
        client, server = (self.hosts[name] for name in NAMES)
        serving = server.popen(f"{self.lab.build}/tests/words", "serve",
                               "7000")
        download = None
        try:
            wait_for(lambda: ":7000" in server.run("ss", "-tln"), "server")
            address = self.agents["client"].resolve("words.shop.acme")
            download = fetch(client, address, 60, "rate=10")
            for name in NAMES:
                wait_for(lambda n=name: self.peer_of(n)
                         and self.introduced(n), f"{name}: introduction", 20)
            wait_for(lambda: self.agents["client"].flows()[0]["in_bytes"]
                     > 1 << 20, "a MiB", 20)
            for commands in steps:
                self.batch(commands)
            for name, other in zip(NAMES, reversed(NAMES)):
                wait_for(lambda n=name, o=other:
                         self.peer_of(n) == places[o],
                         f"{name}: peer at {places[other]}", 20)
            last = result(download)
            check(what, f"{last['bytes'] >> 20} MiB, longest pause "
                  f"{last['longest_ms']:.0f} ms")
        finally:
            serving.kill()
            serving.wait()
            if download:
                download.kill()
                download.wait()


def renumber(was, now, bits, options=""):
    """Steps that give each host another address."""
    return [{name: f"addr del {was}{n}/{bits} dev eth0\n"
             for n, name in enumerate(NAMES, 1)},
            {name: f"addr add {now}{n}/{bits} dev eth0 {options}\n"
             for n, name in enumerate(NAMES, 1)}]


def known_places(net):
    """Each other's places are in their routes."""
    places = {"client": ("10.0.0.1", "10.0.0.11"),
              "server": ("10.0.0.2", "10.0.0.12")}
    net.start_hosts(lambda name, other: [
        (f"endpoint:{other}", places[NAMES[1 - NAMES.index(name)]])])
    net.moves_at_once(
        "both lose eth0; routes say where the other may be",
        [{name: "link set eth0 down\n" for name in NAMES},
         {name: "link set eth1 up\n" for name in NAMES}],
        {"client": "10.0.0.11", "server": "10.0.0.12"})
    assert net.agents["router"].counter("in_rsyn_routed") == 0
    net.batch({name: f"link set eth1 down\nlink set eth0 up\n"
               f"addr replace 2001:db8::{n}/64 dev eth0 nodad\n"
               for n, name in enumerate(NAMES, 1)})
    net.stop_hosts()


def told(net, places):
    for name in NAMES:
        wait_for(lambda n=name: net.known_at(n) == [places[n]],
                 f"{name}: the router knows {places[name]}", 20)


def asked_router(net):
    """The router is told, and sends RSYNs on."""
    net.start_hosts(lambda name, other: [("endpoint:any", ["10.0.0.9"])])
    told(net, {"client": "10.0.0.1", "server": "10.0.0.2"})
    check("hosts tell the service router where they are")
    net.moves_at_once(
        "both get new addresses; the service router finds them",
        renumber("10.0.0.", "10.0.0.10", 24),
        {"client": "10.0.0.101", "server": "10.0.0.102"})
    told(net, {"client": "10.0.0.101", "server": "10.0.0.102"})
    routed = net.agents["router"].counter("in_rsyn_routed")
    assert routed >= 1
    counters = net.agents["router"].json("show", "counters")["agent"]
    assert counters["router_told"] >= 4, counters
    assert not counters["router_forged"], counters
    check("it sent RSYNs on", f"{routed} RSYNs")


def after_restart(net):
    """A router's daemon that knows nothing is told again."""
    router = net.agents["router"]
    router.process.kill()
    router.process.wait()
    os.unlink(router.socket)
    router.start()
    assert router.json("show", "routes") == []
    net.agents["client"].salctl("route", "add", "words.shop.acme",
                                "10.0.0.102")
    net.moves_at_once(
        "the same, when the service router has just restarted",
        renumber("10.0.0.10", "10.0.0.11", 24),
        {"client": "10.0.0.111", "server": "10.0.0.112"})
    net.stop_hosts()


def over_ipv6(net):
    net.start_hosts(lambda name, other: [("endpoint:any", ["2001:db8::9"])],
                    "2001:db8::2", "prefer_ipv6: true\n")
    told(net, {"client": "2001:db8::1", "server": "2001:db8::2"})
    net.moves_at_once("the same over IPv6",
                      renumber("2001:db8::", "2001:db8::10", 64, "nodad"),
                      {"client": "2001:db8::101", "server": "2001:db8::102"})
    net.stop_hosts()


def main():
    lab = Lab(sys.argv[1])
    net = Network(lab)
    try:
        net.start("router", net.router, 9,
                  "uplinks: [eth0]\nservice_router: true\n")
        known_places(net)
        asked_router(net)
        after_restart(net)
        over_ipv6(net)
        net.agents.pop("router").stop()
    except BaseException:
        print([(n, a.process.poll()) for n, a in net.agents.items()])
        for agent in net.agents.values():
            print(agent.host.name, open(agent.log).read()[-3000:])
            print(agent.salctl("show", "groups", check=False),
                  agent.salctl("show", "routes", check=False),
                  agent.salctl("status", check=False))
        raise
    finally:
        for agent in net.agents.values():
            agent.process.kill()
            agent.process.wait()
        lab.close()
    print(f"rendezvous: {check_plain.passed} passed, 0 failed, 0 skipped")


if __name__ == "__main__":
    main()
