# SPDX-License-Identifier: Apache-2.0
"""A Salient network in Mininet: patched switches, hosts with agents, the
controller, and a management network apart from the data network.

Run inside a sandbox (sandbox.py).  Everything below belongs to one run:

    /run/salient            sockets, databases, keys, configuration
    build/log/NAME          what the daemons printed; kept afterwards

    mgmt0 (bridge) ---- 172.30.0.1 controller
      +---------------- 172.30.0.(10+N) host N, interface "mgmt"
    Mininet's links --- 10.0.0.N/16 host N, interface "HOST-eth0"
"""

import os
import re

from mininet.link import Link
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import OVSSwitch

from topologies import numbers
from topologies.daemon import BUILD, OVS_PREFIX, RUN, Daemon, salctl, sh, write
from topologies.host import MANAGEMENT, SalientHost
from topologies.ovs import OpenVSwitch
from topologies.report import note, title
from topologies.wait import TooLate, until

CONTROLLER = f"{MANAGEMENT}.1"
OPENFLOW_PORT = 6653
API_PORT = 6654

RESOLVER = "10.0.255.254"

# Everything else has its default; see controller/controller.yaml.
CONTROLLER_YAML = """\
openflow:
  listen: ["tcp:127.0.0.1:{openflow}"]
api:
  listen: [tcp:{address}:{api}]
control: {run}/controller.sock
resolver: {resolver}
"""


class SalientSwitch(OVSSwitch):
    """The patched Open vSwitch on its userspace datapath."""

    def __init__(self, name, **params):
        params.setdefault("failMode", "secure")
        params.setdefault("protocols", "OpenFlow15")
        super().__init__(name, datapath="user", **params)

    def port_to(self, node):
        """OpenFlow number of the port that leads to 'node'."""
        interface, _ = self.connectionsTo(node)[0]
        return self.ports[interface]


class ControllerAddress:
    """Where switches find the controller, in the terms of OVSSwitch."""

    name, protocol, port = "c", "tcp", OPENFLOW_PORT

    @staticmethod
    def IP():  # pylint: disable=invalid-name
        return "127.0.0.1"


class SalientNet(Mininet):
    """Add hosts, switches and links; then up_network(), start_controller(),
    and start_agent() of each host; down() at the end."""

    API = f"{CONTROLLER}:{API_PORT}"
    controller_options = ""  # More lines of its configuration.

    def __init__(self, name):
        # Mininet.init() would raise limits of the whole machine.
        Mininet.inited = True
        setLogLevel("critical")
        super().__init__(switch=SalientSwitch, host=SalientHost, link=Link,
                         controller=None, ipBase="10.0.0.0/16",
                         autoSetMacs=True)
        self.log_dir = f"{BUILD}/log/{name}"
        os.makedirs(self.log_dir, exist_ok=True)
        for old in os.listdir(self.log_dir):
            os.unlink(f"{self.log_dir}/{old}")
        os.makedirs(RUN, mode=0o700, exist_ok=True)
        self.salient_controller = None
        self.ovs = OpenVSwitch(OVS_PREFIX, f"{RUN}/ovs", self.log_dir)
        sh("ip", "link", "set", "lo", "up")
        self.ovs.start()  # Mininet asks it for its version with each switch.

    def up_network(self):
        """Switches, links, management network; no daemon of ours yet."""
        sh("ip", "link", "add", "mgmt0", "type", "bridge")
        sh("ip", "address", "add", f"{CONTROLLER}/24", "dev", "mgmt0")
        sh("ip", "link", "set", "mgmt0", "up")
        self.build()
        for number, host in enumerate(self.hosts, 1):
            host.prepare(self, number)
        for switch in self.switches:
            switch.start([ControllerAddress()])

    # The controller.

    def start_controller(self):
        config = write(f"{RUN}/controller.yaml", CONTROLLER_YAML.format(
            address=CONTROLLER, openflow=OPENFLOW_PORT, api=API_PORT, run=RUN,
            resolver=RESOLVER) + self.controller_options)
        self.salient_controller = Daemon(
            "controller", [f"{BUILD}/bin/salient-controller", "--config",
                           config], self.log_dir)

    def ask_controller(self, *command):
        """A command of the controller's control socket, its JSON answer."""
        return salctl(f"{RUN}/controller.sock", "controller", *command)

    def weights(self, service):
        """{endpoint's name: weight} of a service, as registered."""
        registry = self.ask_controller("show", "services") or {"services": []}
        return {instance["endpoint"]: instance["weight"]
                for known in registry["services"]
                if known.get("name") == service
                for instance in known["instances"]}

    def in_sync(self):
        """Whether all switches and agents are there and every switch has
        confirmed what the controller wants."""
        status = self.ask_controller("show", "status")
        return (status is not None
                and status["switches_in_sync"] == len(self.switches)
                and status["agents_connected"] == len(self.hosts)
                and status["hosts_attached"] == len(self.hosts)
                and status["pending_puts"] == 0
                and status["hold_left_ms"] == 0)

    def wait_in_sync(self, timeout=30):
        until(self.in_sync, "everything is in sync", timeout)

    def wait_ready(self, service, servers):
        """Until all switches send clients of 'service' to all 'servers' and
        every host resolves the name."""
        self.wait_in_sync()
        for server in map(self.get, servers):
            until(lambda: self.in_service_rules(server) == self.switches,
                  f"{server.name} is in the service rules of every switch")
        for host in self.hosts:
            until(lambda: host.attempt("getent", "ahostsv4",
                                       f"{service}.sal").returncode == 0,
                  f"{service}.sal resolves on {host.name}")
        self.ovs.appctl("revalidator/wait")

    # What the switches hold, as they tell it themselves.

    def in_service_rules(self, host):
        """The switches whose service rules send clients to 'host'; that it is
        a service of its own does not count."""
        registered = f",cookie={numbers.SERVICE_COOKIE}"
        return [switch for switch in self.switches
                if re.search(rf"\b{re.escape(host.IP())}\b", self.ovs.flows(
                    switch, numbers.SERVICE, more=registered))]

    def since_rule_change(self):
        """Seconds since the latest change of any rule of any switch."""
        ages = [float(age) for switch in self.switches
                for age in re.findall(r"duration=([0-9.]+)s", self.ovs.ofctl(
                    "dump-flows", switch.name))]
        return min(ages)

    @staticmethod
    def set_link(interface, state):
        """Takes a switch's end of a link "down" or "up": the other end loses
        its carrier, as if the cable were pulled."""
        sh("ip", "link", "set", interface, state)

    # The end.

    def daemons(self):
        """All processes whose logs tell what happened."""
        every = [self.salient_controller]
        for host in self.hosts:
            every += [host.agent, host.nginx]
        return [daemon for daemon in every if daemon]

    def show_logs(self):
        """The last lines of each, for a person to read."""
        title(f"The last lines of each log (all of it: {self.log_dir})")
        for daemon in self.daemons():
            note(f"{daemon.log}\n{daemon.log_tail()}")

    def leftovers(self):
        """Processes and interfaces of the sandbox that should be gone, a
        moment after down(): processes that were told to end are ending."""
        try:
            until(lambda: not self._leftovers(), "nothing is left", 5)
        except TooLate:
            pass
        return self._leftovers()

    @staticmethod
    def _leftovers():
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if pid not in (1, os.getpid()):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        command = file.read().replace(b"\0", b" ").decode()
                    found.append(f"process {pid} {command}")
                except OSError:
                    pass  # It has just ended.
        found += [f"interface {name}" for name in os.listdir("/sys/class/net")
                  if name != "lo"]
        return found

    def down(self):
        """Asks everything to leave; what did not do so well, as sentences."""
        wrong = []
        for host in self.hosts:
            wrong += host.stop_daemons()
        if self.salient_controller:
            status = self.salient_controller.stop()
            if status != 0:
                wrong.append(f"the controller's exit status was {status}")
        for host in self.hosts:
            sh("ip", "link", "delete", f"{host.name}-mgmt")
        self.stop()
        sh("ip", "link", "delete", "mgmt0")
        if not self.ovs.stop():
            wrong.append("Open vSwitch had to be killed")
        return wrong
