# SPDX-License-Identifier: Apache-2.0
"""A host of the network: its namespaces, its agent, its web server."""

import json
import os
import subprocess

from mininet.node import Host

from topologies import load
from topologies.daemon import BUILD, ROOT, RUN, Daemon, salctl, sh, write
from topologies.wait import until

DNS_ADDRESS = "127.0.0.55"
MANAGEMENT = "172.30.0"
WEB_PORT = 8080

NGINX = """\
user root;
daemon off;
worker_processes 1;
pid {run}/nginx.pid;
error_log {log};
events {{ worker_connections 512; }}
http {{
    access_log off;
    default_type text/plain;
    client_body_temp_path {run}/nginx-body;
    proxy_temp_path {run}/nginx-proxy;
    fastcgi_temp_path {run}/nginx-fastcgi;
    uwsgi_temp_path {run}/nginx-uwsgi;
    scgi_temp_path {run}/nginx-scgi;
    server {{
        listen {port};
        listen [::]:{port};
        root {run}/www;
        location = / {{ return 200 "{name}\\n"; }}
        location = /client {{ return 200 "$remote_addr\\n"; }}
        location /slow/ {{ limit_rate 2m; alias {run}/www/; }}
    }}
}}
"""

AGENT_YAML = """\
name: {name}
controller: tcp:{controller}
uplinks: [{uplink}]
state_dir: {run}/state
control_socket: {run}/sald.sock
pin_path: {pins}
"""

SERVICE_YAML = """\
  - name: {name}
    port: {port}
    weight: {weight}
    target: {target}
"""
PIN_PATH = "/sys/fs/bpf/salient"


class SalientHost(Host):
    """A host with its own bpf file system, resolv.conf, agent and, if it
    serves, nginx."""

    ipv6 = None        # Its locator, if it has one.
    agent_options = "" # More lines of the agent's configuration.

    def use_ipv6(self, number):
        """A second locator, which the agent prefers."""
        self.ipv6 = f"fd00::{number:x}"
        self.do("sysctl", "-qw",
                f"net.ipv6.conf.{self.uplink}.disable_ipv6=0")
        self.do("ip", "-6", "address", "add", f"{self.ipv6}/64", "dev",
                self.uplink, "nodad")
        self.do("ip", "-6", "route", "add", "fd53:414c::/48", "dev",
                self.uplink)
        self.agent_options = "prefer_ipv6: true\n"

    def prepare(self, net, number):
        """After Mininet has made the host and its links."""
        self.net = net
        self.agent = self.nginx = None
        self.run_dir = f"{RUN}/{self.name}"
        self.control = f"{self.run_dir}/sald.sock"
        os.makedirs(self.run_dir, mode=0o700, exist_ok=True)
        write(f"{self.run_dir}/resolv.conf", f"nameserver {DNS_ADDRESS}\n")
        # mnexec gave the host a mount namespace and a fresh /sys.
        self.do("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
        self.attempt("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
        self.do("mount", "--bind", f"{self.run_dir}/resolv.conf",
                "/etc/resolv.conf")
        self.do("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", f"{self.name}-mgmt", "master", "mgmt0", "type",
           "veth", "peer", "name", "mgmt", "netns", str(self.pid))
        sh("ip", "link", "set", f"{self.name}-mgmt", "up")
        self.do("ip", "address", "add", f"{MANAGEMENT}.{10 + number}/24",
                "dev", "mgmt")
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

    # Running things in the host.

    def inside(self, command):
        """'command' as it is given outside the host."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--",
                *command]

    def start(self, command, **options):
        """A process in the host that our Ctrl-C does not reach."""
        environment = dict(os.environ, PYTHONPATH=ROOT,
                           PYTHONDONTWRITEBYTECODE="1")
        return subprocess.Popen(self.inside(command), env=environment,
                                stdin=subprocess.DEVNULL,
                                start_new_session=True, **options)

    def attempt(self, *command, timeout=30):
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

    # nginx.

    def start_nginx(self):
        os.makedirs(f"{self.run_dir}/www", exist_ok=True)
        conf = write(f"{self.run_dir}/nginx.conf", NGINX.format(
            run=self.run_dir, port=WEB_PORT, name=self.name,
            log=f"{self.net.log_dir}/{self.name}-nginx-error.log"))
        self.nginx = Daemon(f"{self.name}-nginx", self.inside(
            ["nginx", "-p", self.run_dir, "-c", conf]), self.net.log_dir)
        until(lambda: self.attempt(
            "curl", "-sf", f"http://127.0.0.1:{WEB_PORT}/").returncode == 0,
              f"nginx on {self.name} answers")

    # The agent.

    def start_agent(self, services=None):
        """'services' is a list of {"name", "port", "weight"}; None: as the
        last time.  nginx serves them all."""
        config = f"{self.run_dir}/agent.yaml"
        os.makedirs(f"{self.run_dir}/state", mode=0o700, exist_ok=True)
        if services is not None:
            self.write_config(config, services)
        self.agent = Daemon(f"{self.name}-sald", self.inside(
            [f"{BUILD}/bin/sald", "--config", config]), self.net.log_dir)

    def write_config(self, path, services):
        text = AGENT_YAML.format(
            name=self.name, controller=self.net.API, uplink=self.uplink,
            run=self.run_dir, pins=PIN_PATH) + self.agent_options
        if services:
            text += "services:\n" + "".join(
                SERVICE_YAML.format(target=WEB_PORT, **service)
                for service in services)
        write(path, text)

    def salctl(self, *command):
        """A command of the agent's control socket, its JSON answer."""
        return salctl(self.control, *command)

    def register(self, name, weight):
        """Registers the web server; returns once the switches have it."""
        return self.must_salctl("register", f"{name}:80", "--target",
                                str(WEB_PORT), "--weight", str(weight),
                                "--wait")

    def unregister(self, name):
        return self.must_salctl("unregister", f"{name}:80", "--wait")

    def must_salctl(self, *command):
        return sh(f"{BUILD}/bin/salctl", "--socket", self.control, *command)

    def wait_agent(self):
        """Until the agent has its session and all its registrations."""
        until(lambda: self.attempt(
            f"{BUILD}/bin/salctl", "--socket", self.control,
            "status").returncode == 0, f"sald on {self.name} answers")

    def agent_traces(self):
        """What an agent installs on its host, as sentences; [] if nothing of
        it is there."""
        found = []
        if self.attempt("ip", "link", "show", "sal0").returncode == 0:
            found.append(f"{self.name}: device sal0")
        pins = self.do("find", "/sys/fs/bpf", "-mindepth", "1", "-not",
                       "-name", "*.debug").split()
        found += [f"{self.name}: {pin}" for pin in pins]
        for where in ("ingress", "egress"):
            if self.do("tc", "filter", "show", "dev", self.uplink, where):
                found.append(f"{self.name}: tc {where} filter")
        if "xdp" in self.do("ip", "link", "show", self.uplink):
            found.append(f"{self.name}: XDP on {self.uplink}")
        for route in self.do("ip", "route", "show", "table", "all").split("\n"):
            if "sal0" in route or "198.18." in route or "100.64." in route:
                found.append(f"{self.name}: route {route.strip()}")
        return found

    def stop_daemons(self):
        """Asks agent and nginx to leave; what did not do so well."""
        wrong = []
        if self.agent and self.agent.alive():
            status = self.agent.stop()
            if status != 0:
                wrong.append(f"{self.name}: sald's exit status was {status}")
            wrong += self.agent_traces()
        if self.nginx:
            self.nginx.stop()
        return wrong
