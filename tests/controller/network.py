# SPDX-License-Identifier: Apache-2.0
"""A small network for tests of the controller: real switches in one network
namespace, hosts that are a namespace and a veth each, with test agents."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading

from topologies.daemon import BUILD, OVS_PREFIX, RUN, Daemon, sh, write
from topologies.ovs import OpenVSwitch
from topologies.wait import until

OPENFLOW_PORT = 6653
CONTROL = f"{RUN}/controller.sock"
API = f"unix:{RUN}/api.sock"
CONFIG = f"""\
openflow:
  listen: ["tcp:127.0.0.1:{OPENFLOW_PORT}"]
  forget_switch: 3s
  retry: 2s
api:
  listen: ["{API}"]
control: {CONTROL}
link_probe_interval: 500ms
link_timeout: 4s
usage_interval: 2s
""" + os.environ.get("EXTRA", "").replace(";", "\n")  # "a: b;c: d;"


class Agent:
    """A test_agent; its lines are read by a thread."""

    def __init__(self, name, namespace, locator, api=API, more=()):
        self.name, self.lines, self._new = name, [], queue.Queue()
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{namespace}",
             f"{BUILD}/tests/test_agent", api, name, locator,
             f"{RUN}/{name}.key", *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._new.put(line.strip())

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def hear(self, pattern, timeout=10.0):
        """The next line that matches; what came before is gone."""
        def look():
            while not self._new.empty():
                line = self._new.get()
                self.lines.append(line)
                match = re.search(pattern, line)
                if match:
                    return match
            return None
        try:
            return until(look, f"{self.name} hears '{pattern}'", timeout)
        except Exception as error:
            raise AssertionError(f"{error}; heard {self.lines[-5:]}, exit "
                                 f"status {self.process.poll()}") from error

    def has(self, pattern):
        """Whether a line so far matches; all of them stay to be heard of."""
        while not self._new.empty():
            self.lines.append(self._new.get())
        return any(re.search(pattern, line) for line in self.lines[-50:])

    def forget(self):
        """What was said so far is not looked at any more."""
        while not self._new.empty():
            self.lines.append(self._new.get())

    def ask(self, command, pattern, timeout=15.0):
        """What is heard after, and because of, 'command'."""
        self.forget()
        self.say(command)
        return self.hear(pattern, timeout)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Network:
    """Switches s1, s2, ...; add_switch(), add_link(), add_host(), start()."""

    def __init__(self, name, config=CONFIG):
        self.config = config
        self.log_dir = f"{BUILD}/log/{name}"
        os.makedirs(self.log_dir, exist_ok=True)
        os.makedirs(RUN, mode=0o700, exist_ok=True)
        sh("ip", "link", "set", "lo", "up")
        self.ovs = OpenVSwitch(OVS_PREFIX, f"{RUN}/ovs", self.log_dir)
        self.ovs.start()
        self.daemon, self.agents, self._links = None, [], 0
        self._processes = []

    def add_switch(self, number, protocols="OpenFlow15", dpid=None):
        name = f"s{number}"
        self.ovs.vsctl(
            "add-br", name, "--", "set", "bridge", name,
            "datapath_type=netdev", "fail_mode=secure",
            f"protocols={protocols}",
            f"other_config:datapath-id={dpid or number:016x}",
            "other_config:disable-in-band=true",
            "--", "set-controller", name, f"tcp:127.0.0.1:{OPENFLOW_PORT}",
            "--", "set", "controller", name, "max_backoff=1000")
        return name

    def add_link(self, a, b):
        self._links += 1
        ends = [f"{a}-l{self._links}", f"{b}-l{self._links}"]
        sh("ip", "link", "add", ends[0], "type", "veth", "peer", "name",
           ends[1])
        for switch, end in zip((a, b), ends):
            sh("ip", "link", "set", end, "up")
            self.ovs.vsctl("add-port", switch, end)
        return ends

    def add_slow_link(self, a, b, delay_ms):
        """A link with a latency; returns the process that is the cable."""
        self._links += 1
        inner = []
        for switch in (a, b):
            end = f"{switch}-l{self._links}"
            inner.append(end + "c")
            sh("ip", "link", "add", end, "type", "veth", "peer", "name",
               end + "c")
            for device in (end, end + "c"):
                sh("ip", "link", "set", device, "up")
            self.ovs.vsctl("add-port", switch, end)
        process = subprocess.Popen(
            [sys.executable, f"{os.path.dirname(__file__)}/delay.py", *inner,
             str(delay_ms)])
        self._processes.append(process)
        return process

    def add_host(self, name, switch, locator):
        """A host's end of the link is NAME-eth0, the switch's NAME."""
        sh("ip", "netns", "add", name)
        sh("ip", "link", "add", name, "type", "veth", "peer", "name",
           "eth0", "netns", name)
        sh("ip", "link", "set", name, "up")
        self.inside(name, "ip", "link", "set", "eth0", "up")
        self.inside(name, "ethtool", "-K", "eth0", "tx", "off")
        self.inside(name, "ip", "address", "add", f"{locator}/16", "dev",
                    "eth0")
        self.inside(name, "ip", "route", "add", "default", "dev", "eth0")
        self.ovs.vsctl("add-port", switch, name)

    def add_v6(self, name, locator):
        """A second locator; the resolver is on the link."""
        self.inside(name, "ip", "-6", "address", "add", f"{locator}/64",
                    "dev", "eth0", "nodad")
        self.inside(name, "ip", "-6", "route", "add", "fd53:414c::/48", "dev",
                    "eth0")

    @staticmethod
    def inside(namespace, *command):
        return sh("nsenter", f"--net=/run/netns/{namespace}", *command)

    def add_agent(self, name, locator, api=API, locator6="", zone=""):
        agent = Agent(name, name, locator, api, (locator6, zone))
        self.agents.append(agent)
        return agent

    def port(self, interface):
        return int(self.ovs.vsctl("get", "interface", interface, "ofport"))

    # The controller.

    def configure(self, extra):
        return write(f"{RUN}/controller.yaml", self.config + extra)

    def start_controller(self, extra=""):
        config = self.configure(extra)
        self.daemon = Daemon("controller", [
            f"{BUILD}/bin/salient-controller", "--config", config,
            "-v", "dbg"], self.log_dir)
        until(lambda: os.path.exists(CONTROL) and self.ask("show", "status"),
              "the controller answers")

    def reload(self, config):
        """SIGHUP with another configuration; what the log says of it."""
        write(f"{RUN}/controller.yaml", config)
        with open(self.daemon.log, encoding="utf-8") as log:
            log.seek(0, os.SEEK_END)
            self.daemon.process.send_signal(signal.SIGHUP)
            said = []

            def look():
                said.extend(log.readlines())
                return any("configuration was read again" in line
                           for line in said)
            until(look, "it is read again")
        return next(line for line in said if "read again" in line)

    def cpu_seconds(self):
        """Of the controller so far."""
        path = f"/proc/{self.daemon.process.pid}/stat"
        with open(path, encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kib(self):
        """Of the controller now."""
        path = f"/proc/{self.daemon.process.pid}/status"
        with open(path, encoding="ascii") as status:
            return int(next(line for line in status
                            if line.startswith("VmRSS")).split()[1])

    def ask(self, *command):
        from tests.controller.control import call
        return call(CONTROL, *command)

    def switch(self, dpid):
        """What the controller says of a switch; {} if it does not know it."""
        for switch in self.ask("show", "switches") or []:
            if switch["dpid"] == f"{dpid:016x}":
                return switch
        return {}

    def wait_status(self, timeout=15.0, **wanted):
        """Until 'show status' has these values."""
        last = {}

        def look():
            last.update(self.ask("show", "status") or {})
            return all(last.get(k) == v for k, v in wanted.items())
        try:
            until(look, f"status {wanted}", timeout)
        except Exception as error:
            raise AssertionError(f"{error}; status is {last}") from error
        return last

    def wait_in_sync(self, switches, **wanted):
        return self.wait_status(switches_in_sync=switches, pending_puts=0,
                                pending_events=0, **wanted)

    def flows(self, switch, table=None):
        """Flows without counters, as a set."""
        arguments = [switch] + ([f"table={table}"] if table is not None
                                else [])
        out = self.ovs.ofctl("--no-stats", "--no-names", "dump-flows",
                             *arguments)
        return {line.strip() for line in out.splitlines() if line.strip()}

    def down(self):
        for agent in self.agents:
            agent.stop()
        for process in self._processes:
            process.kill()
            process.wait()
        status = self.daemon.stop() if self.daemon else 0
        self.ovs.stop()
        return status
