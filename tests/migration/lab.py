# SPDX-License-Identifier: Apache-2.0
"""A Salient network with hosts that can move, and a server of everything.

                 s1 ---------- s3
               /    \\        /    \\
       h1-eth0       \\      /      web1-eth0
       10.0.0.1       \\    /        10.0.0.2
       h1-eth1 -------- s2 ------- web1-eth1
       10.0.1.1                      10.0.1.2

Both hosts have two uplinks, of which the first is preferred.  To be run in a
sandbox (topologies/sandbox.py).
"""

import json
import os
import signal
import subprocess

from topologies import probes
from topologies.daemon import BUILD, ROOT, Daemon, sh, write
from topologies.host import PIN_PATH, SalientHost
from topologies.salient_net import SalientNet
from topologies.wait import until

MIGRATION = os.path.join(ROOT, "tests/migration")

AGENT_YAML = """\
name: {name}
controller: tcp:{controller}
uplinks: {uplinks}
state_dir: {run}/state
control_socket: {run}/sald.sock
pin_path: {pins}
{options}
"""

# Name, protocol, port that clients connect to, port of the server.
SERVICES = {"words": ("tcp", 7000, 7000), "redis": ("tcp", 6379, 6379),
            "http2": ("tcp", 80, 8081), "voice": ("udp", 5004, 5004),
            "many": ("tcp", 7100, 7100)}
HTTP2_MIB = 384


class MovingHost(SalientHost):
    """A host with several uplinks that can lose, change and move them."""

    options = ""  # More lines of agent.yaml.
    serves = ()
    uplink_list = None  # As in agent.yaml; default: all, in order.

    def prepare(self, net, number):
        super().prepare(net, number)
        self.servers = []
        for i, name in enumerate(self.uplinks):
            self.do("ethtool", "-K", name, "tx", "off")
            if i:
                self.add_address(i, f"10.0.{i}.{number}")
        # An address is asked for, and answered, on its own interface only.
        for key, value in (("arp_ignore", 1), ("arp_announce", 2),
                           ("rp_filter", 0)):
            self.do("sysctl", "-qw", f"net.ipv4.conf.all.{key}={value}")

    @property
    def uplinks(self):
        return sorted(name for name in self.nameToIntf
                      if name.startswith(f"{self.name}-eth"))

    def start_agent(self, services=None):
        os.makedirs(f"{self.run_dir}/state", mode=0o700, exist_ok=True)
        self.agent = Daemon(f"{self.name}-sald", self.inside(
            [f"{BUILD}/bin/sald", "--config", self.write_own_config()]),
            self.net.log_dir)

    def write_own_config(self):
        text = AGENT_YAML.format(
            name=self.name, controller=self.net.API, run=self.run_dir,
            uplinks=self.uplink_list or "[" + ", ".join(self.uplinks) + "]",
            pins=PIN_PATH, options=self.options)
        if self.serves:
            text += "services:\n" + "".join(
                f"  - {{name: {name}.shop.acme, protocol: {protocol}, "
                f"port: {port}, target: {target}}}\n"
                for name, (protocol, port, target) in SERVICES.items()
                if name in self.serves)
        return write(f"{self.run_dir}/agent.yaml", text)

    def reload(self):
        """Has the agent read its configuration again."""
        self.write_own_config()
        self.agent.process.send_signal(signal.SIGHUP)

    # What happens to interfaces and addresses.

    def address(self, i=0):
        """The IPv4 address of uplink number 'i', or None."""
        words = self.do("ip", "-4", "-o", "addr", "show", "dev",
                        self.uplinks[i]).split()
        return (words[words.index("inet") + 1].split("/")[0]
                if "inet" in words else None)

    def add_address(self, i, address, length=8):
        self.do("ip", "addr", "add", f"{address}/{length}", "dev",
                self.uplinks[i])

    def remove_address(self, i, address, length=8):
        self.do("ip", "addr", "del", f"{address}/{length}", "dev",
                self.uplinks[i])

    def set_uplink(self, i, state):
        """Interface "up" or "down", as its owner does it."""
        self.do("ip", "link", "set", self.uplinks[i], state)

    def cable(self, i):
        """The switch's end of uplink number 'i'."""
        link = self.intf(self.uplinks[i]).link
        return link.intf2 if link.intf1.node is self else link.intf1

    # The agent, asked.

    def flows(self, **wanted):
        """Bound flows whose fields are as 'wanted'."""
        # Of those that have just ended there may be thousands.
        dump = self.salctl("flows", "state=bound", "--limit", "20000")
        flows = dump["flows"] if isinstance(dump, dict) else dump or []
        return [flow for flow in flows if flow["state"] == "bound"
                and all(flow[key] == value for key, value in wanted.items())]

    def counters(self):
        """Of the data plane."""
        return self.salctl("show", "counters")["datapath"]

    def groups(self):
        """Groups of flows that move together, of all peers."""
        return [group for peer in self.salctl("show", "groups") or []
                for group in peer["groups"]]

    def events(self):
        """Moves, as the daemon tells them."""
        return salctl_lines(self.control, "events")

    def migrate(self, source, target):
        """Has all flows leave by another uplink; returns once the peers have
        confirmed."""
        return self.must_salctl("migrate", "interface", self.uplinks[source],
                                "--to", self.uplinks[target], "--wait")

    # Servers.

    @property
    def stream(self):
        """The file that is served over HTTP/2."""
        return f"{self.run_dir}/www/stream"

    def start_servers(self):
        commands = {
            "words": [f"{BUILD}/tests/words", "serve", "7000"],
            "voice": [f"{BUILD}/tests/voice", "serve", "5004"],
            "many": [f"{BUILD}/tests/many", "serve", "7100"],
            "redis": ["redis-server", "--port", "6379", "--save", "",
                      "--bind", "0.0.0.0", "--protected-mode", "no",
                      "--dir", self.run_dir],
            "http2": ["nghttpd", "--no-tls", "-d", f"{self.run_dir}/www",
                      "8081"]}
        if "http2" in self.serves:
            os.makedirs(f"{self.run_dir}/www", exist_ok=True)
            with open(self.stream, "wb") as file:
                for _ in range(HTTP2_MIB):
                    file.write(os.urandom(1 << 20))
        for name in self.serves:
            self.servers.append(Daemon(f"{self.name}-{name}", self.inside(
                commands[name]), self.net.log_dir))
        tcp = {target for name, (protocol, _, target) in SERVICES.items()
               if name in self.serves and protocol == "tcp"}
        until(lambda: all(f":{port} " in self.do("ss", "-tln")
                          for port in tcp), f"{self.name}'s servers listen")

    def stop_daemons(self):
        wrong = super().stop_daemons()
        for server in self.servers:
            server.stop()
        return wrong


class Lab(SalientNet):
    """h1 and web1, as drawn above."""

    def __init__(self, name, cls=MovingHost):
        super().__init__(name)
        self.switches_by_name = {
            name: self.addSwitch(name) for name in ("s1", "s2", "s3")}
        s1, s2, s3 = self.switches_by_name.values()
        self.addLink(s1, s2)
        self.addLink(s2, s3)
        self.addLink(s3, s1)
        # All of 10/8 is on the link: the switches answer for whoever is there.
        self.client = self.addHost("h1", cls=cls, ip="10.0.0.1/8")
        self.server = self.addHost("web1", cls=cls, ip="10.0.0.2/8")
        self.server.serves = tuple(SERVICES)
        for host, first in (self.client, s1), (self.server, s3):
            self.addLink(host, first)
            self.addLink(host, s2)

    def start(self):
        """Everything is up, and the client can call every service."""
        self.up_network()
        self.start_controller()
        for host in self.hosts:
            host.start_servers()
            host.start_agent()
        self.wait_in_sync()
        self.wait_uplinks()
        self.service_address = {
            name: until(lambda: probes.resolve(self.client,
                                               f"{name}.shop.acme.sal"),
                        f"{name} resolves") for name in SERVICES}

    def in_sync(self):
        """As of other networks, but hosts may be attached several times."""
        status = self.ask_controller("show", "status")
        return (status is not None
                and status["switches_in_sync"] == len(self.switches)
                and status["agents_connected"] == len(self.hosts)
                and status["pending_puts"] == 0
                and status["hold_left_ms"] == 0)

    def wait_uplinks(self):
        """Until the network sees each host at all its usable uplinks."""
        for host in self.hosts:
            until(lambda: all(
                uplink["attached"] for uplink in host.salctl("status")[
                    "uplinks"] if uplink["up"] and uplink["locator"]),
                f"{host.name} is attached at all its uplinks", 15)
        self.wait_in_sync()

    def move_port(self, host, i, switch):
        """Pulls the cable of an uplink and plugs it in at another switch."""
        port = host.cable(i).name
        sh("ip", "link", "set", port, "down")
        self.ovs.vsctl("del-port", port)
        self.ovs.vsctl("add-port", switch.name, port)
        sh("ip", "link", "set", port, "up")

    def logs(self):
        return {host.name: f"{self.log_dir}/{host.name}-sald.log"
                for host in self.hosts}


def salctl_lines(socket, *command):
    """What 'salctl --json' prints, one object a line."""
    return [json.loads(line) for line in sh(
        f"{BUILD}/bin/salctl", "--json", "--socket", socket,
        *command).splitlines() if line.strip()]


def run_in(host, command, **options):
    """A process on the host that prints to a pipe."""
    return host.start(command, stdout=subprocess.PIPE, text=True, **options)
