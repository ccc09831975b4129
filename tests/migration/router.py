# SPDX-License-Identifier: Apache-2.0
"""A router, or a NAT, that is put between a host's first uplink and its switch
while everything goes on, and taken out again.

    h1-eth0 ---- inside [router] outside ---- s1
"""

import subprocess

from topologies.daemon import sh
from topologies.salient_net import RESOLVER

OUTSIDE = "10.0.0.200"


class Router:
    def __init__(self, lab, host):
        self.lab = lab
        self.port = host.cable(0)
        self._switch, self._number = (self.port.node,
                                      self.port.node.ports[self.port])
        self._holder = subprocess.Popen(["unshare", "-n", "sh", "-c",
                                         "echo; exec cat"],
                                        stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self._holder.stdout.readline()  # It is in its namespace now.
        pid = str(self._holder.pid)
        lab.ovs.vsctl("del-port", self.port.name)
        sh("ip", "link", "set", self.port.name, "netns", pid, "name",
           "inside")
        sh("ip", "link", "add", "router", "type", "veth", "peer", "name",
           "outside", "netns", pid)
        for name in "inside", "outside":
            self.do("ip", "link", "set", name, "up")
            self.do("ethtool", "-K", name, "tx", "off")
        self.do("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.do("ip", "address", "add", f"{OUTSIDE}/8", "dev", "outside")
        # It is no host that the controller knows, so nobody answers it.
        for neighbour in lab.hosts:
            self.neighbour(neighbour.IP(), neighbour.MAC())
        self.neighbour(RESOLVER, lab.server.do(
            "ip", "neigh", "show", RESOLVER).split("lladdr ")[1].split()[0])
        lab.ovs.vsctl("add-port", self._switch.name, "router", "--", "set",
                      "interface", "router",
                      f"ofport_request={self._number}")
        sh("ip", "link", "set", "router", "up")

    def do(self, *command):
        return sh("nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--",
                  *command)

    def neighbour(self, address, mac):
        self.do("ip", "neigh", "replace", address, "lladdr", mac, "dev",
                "outside", "nud", "permanent")

    def subnet(self, address, length=24):
        """Its address inside."""
        self.do("ip", "address", "flush", "dev", "inside")
        self.do("ip", "address", "add", f"{address}/{length}", "dev",
                "inside")

    def translate(self, host_address, port):
        """It gives the host's SAL port another number; any peer may use it
        (an endpoint-independent NAT, RFC 4787).  It forgets all it did."""
        self.do("nft", f"""
            table ip nat {{}}; delete table ip nat; table ip nat {{
                chain out {{ type nat hook postrouting priority 100;
                    oifname outside udp sport 6090 snat to {OUTSIDE}:{port};
                    oifname outside masquerade; }}
                chain in {{ type nat hook prerouting priority -100;
                    iifname outside udp dport {port} dnat to {host_address}:6090; }}
            }}""")
        self.do("conntrack", "-F")

    def remove(self):
        """The cable is plugged in again where it was."""
        self.lab.ovs.vsctl("del-port", "router")
        self.do("ip", "link", "set", "inside", "netns", "1", "name",
                self.port.name)
        self.lab.ovs.vsctl("add-port", self._switch.name, self.port.name,
                           "--", "set", "interface", self.port.name,
                           f"ofport_request={self._number}")
        sh("ip", "link", "set", self.port.name, "up")
        self._holder.stdin.close()
        self._holder.wait()
