# SPDX-License-Identifier: Apache-2.0
"""A Salient network in Mininet: patched switches, hosts with agents, the
controller, and a management network apart from the data network.

Run inside a sandbox (sandbox.py).  Everything below belongs to one run:

    RUN    /run/salient     sockets, databases, keys, nginx, resolv.conf
    LOGS   build/log/NAME   what the daemons printed; kept

    mgmt0 (bridge) ---- 172.30.0.1 controller
      +---------------- 172.30.0.(10+N) host N, interface "mgmt"
    Mininet's links --- 10.0.0.N/16 host N, interface "hN-eth0"
"""

import json
import os
import signal
import subprocess
import sys

from mininet.link import Link
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import Host, OVSSwitch

from topologies import load
from topologies.ovs import OpenVSwitch
from topologies.wait import until

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("BUILD", f"{ROOT}/build"))
RUN = "/run/salient"
CONTROLLER = "172.30.0.1"
OPENFLOW_PORT = 6653
API_PORT = 6680
DNS_ADDRESS = "127.0.0.53"
STOP_TIMEOUT = 10


def sh(*command):
    """Runs a command of the set-up; an exception if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Daemon:
    """A process that logs to LOGS/NAME.log, in a session of its own so that a
    terminal's Ctrl-C reaches it only through us."""

    def __init__(self, name, command, log_dir):
        self.name = name
        self.log = f"{log_dir}/{name}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; its exit status, or None if it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


class SalientHost(Host):
    """A host with its own bpf file system, resolv.conf and agent."""

    def prepare(self, net, number):
        self.net, self.number = net, number
        self.agent = self.nginx = None
        self.run_dir = f"{RUN}/{self.name}"
        self.control = f"{self.run_dir}/sald.sock"
        os.makedirs(self.run_dir, exist_ok=True)
        with open(f"{self.run_dir}/resolv.conf", "w") as resolv:
            resolv.write(f"nameserver {DNS_ADDRESS}\n"
                         "options timeout:2 attempts:2\n")
        # mnexec gave the host a mount namespace and a fresh /sys.
        self.do("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
        self.do("mount", "--bind", f"{self.run_dir}/resolv.conf",
                "/etc/resolv.conf")
        self.do("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", f"{self.name}-mgmt", "master", "mgmt0", "type",
           "veth", "peer", "name", "mgmt", "netns", str(self.pid))
        sh("ip", "link", "set", f"{self.name}-mgmt", "up")
        self.do("ip", "address", "add", f"172.30.0.{10 + number}/24", "dev", "mgmt")
        self.do("ip", "link", "set", "mgmt", "up")
        # AF_PACKET ports of the switch deliver checksums as they find them.
        self.do("ethtool", "-K", self.uplink, "tx", "off")

    @property
    def uplink(self):
        return f"{self.name}-eth0"

    @property
    def switch_port(self):
        """(switch, interface, OpenFlow port) at the other end."""
        link = self.intf(self.uplink).link
        other = link.intf2 if link.intf1.node is self else link.intf1
        return other.node, other.name, other.node.ports[other]

    def inside(self, command):
        """'command' as seen from outside the host."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--",
                *command]

    def start(self, command, **options):
        """A process in the host that our Ctrl-C does not reach."""
        environment = dict(os.environ, PYTHONPATH=ROOT,
                           PYTHONDONTWRITEBYTECODE="1")
        return subprocess.Popen(self.inside(command), env=environment,
                                stdin=subprocess.DEVNULL,
                                start_new_session=True, **options)

    def try_(self, *command, timeout=30):
        """Runs a command; its CompletedProcess, whatever its status."""
        return subprocess.run(self.inside(command), capture_output=True,
                              text=True, check=False, timeout=timeout,
                              stdin=subprocess.DEVNULL)

    def do(self, *command):
        """Runs a command that must succeed; its output."""
        return sh(*self.inside(command))

    def curl(self, url, *options):
        """One request by curl, as load.curl() tells it."""
        return load.curl(url, *options, through=self.inside([]))


class SalientSwitch(OVSSwitch):
    """The patched Open vSwitch on its userspace datapath."""

    def __init__(self, name, **params):
        params.setdefault("failMode", "secure")
        params.setdefault("protocols", "OpenFlow15")
        super().__init__(name, datapath="user", **params)


class SalientNet(Mininet):
    """Build with addSwitch(), addHost(), addLink(); then up() and down()."""

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
        os.makedirs(RUN, exist_ok=True)
        self.ovs = OpenVSwitch(f"{ROOT}/build/ovs", f"{RUN}/ovs", self.log_dir)
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


class ControllerAddress:
    """Where switches find the controller, in the terms of OVSSwitch."""

    name, protocol, port = "c", "tcp", OPENFLOW_PORT

    @staticmethod
    def IP():  # pylint: disable=invalid-name
        return "127.0.0.1"
