# SPDX-License-Identifier: Apache-2.0
"""One Open vSwitch, patched or pristine, with ports without wires.

    in1, in2, in7  OpenFlow ports 1, 2, 7: packets come from files
                   (netdev_bench.c)
    out3..out6     OpenFlow ports 3 to 6: packets are counted and freed; or
                   veth devices with 'outputs' "system" (AF_PACKET) or "afxdp"
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time

PORTS = {"in1": 1, "in2": 2, "in7": 7, "out3": 3,
         "out4": 4, "out5": 5, "out6": 6}
START_SECONDS = 120  # Enough for valgrind on a machine with other work.


class Run:
    """What `bench/run` says of the packets that it fed into a switch."""

    def __init__(self, reply, count):
        cpu_ns, wall_ns, sent = map(int, reply.split())
        self.count = count
        self.cpu_ns = cpu_ns / count     # Polling thread, a packet.
        self.wall_ns = wall_ns / count
        self.sent = sent

    @property
    def pps(self):
        return 1e9 / self.cpu_ns


class Switch:
    """A database server and a switch daemon of their own; end with stop()."""

    def __init__(self, name, vswitchd, prefix, folder, wrapper=(),
                 outputs="bench"):
        self.name = name
        self.prefix = os.path.abspath(prefix)
        self.folder = os.path.abspath(folder)
        self.has_veth = outputs != "bench"
        self.children = []
        self.request = 0
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.environment = dict(
            os.environ, OVS_RUNDIR=self.folder, OVS_LOGDIR=self.folder,
            OVS_DBDIR=self.folder, OVS_SYSCONFDIR=self.folder)
        try:
            self._start(os.path.abspath(vswitchd), list(wrapper), outputs)
        except BaseException:
            self.stop()
            raise

    def _start(self, vswitchd, wrapper, outputs):
        schema = self.prefix + "/share/openvswitch/vswitch.ovsschema"
        self.tool("ovsdb-tool", "create", "conf.db", schema)
        self._spawn([self.prefix + "/sbin/ovsdb-server", "conf.db",
                     "--remote=punix:db.sock", "--unixctl=db.ctl",
                     "--log-file=db.log", "-vconsole:off"])
        self._await("db.sock")
        self.vsctl("--no-wait", "init")
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                   "other_config:pmd-cpu-mask=%#x" % (1 << polling_cpu()),
                   "other_config:flow-limit=2000000",
                   "other_config:max-idle=3600000")
        self.daemon = self._spawn(
            # A namespace each: they all want a device named ovs-netdev.
            ["unshare", "-n", *wrapper, vswitchd, "unix:db.sock",
             "--unixctl=vswitchd.ctl", "--log-file=vswitchd.log",
             "-vconsole:off"])
        self._await("vswitchd.ctl")
        self.vsctl("add-br", "br0", "--", "set", "Bridge", "br0",
                   "datapath_type=netdev", "fail_mode=secure",
                   "protocols=OpenFlow13,OpenFlow15")
        for port, number in PORTS.items():
            kind = outputs if port.startswith("out") else "bench"
            if kind != "bench":
                self._make_veth(port)
            self.vsctl("add-port", "br0", port, "--", "set", "Interface",
                       port, "type=" + kind, "ofport_request=%d" % number)
        errors = self.vsctl("--columns=name,error", "find", "Interface",
                            "error!=[]")
        if errors.strip():
            raise RuntimeError("%s: %s" % (self.name, errors))
        # Otherwise the limit of megaflows begins at 10,000 and follows the
        # speed of revalidation, which is not what is measured here.
        self.appctl("revalidator/pause")
        self.appctl("upcall/set-flow-limit", "2000000")

    def _make_veth(self, port):
        """A device whose peer takes packets, to throw them away."""
        for command in (("add", port, "type", "veth", "peer", port + "p"),
                        ("set", port, "up"), ("set", port + "p", "up")):
            subprocess.run(["nsenter", "--net=/proc/%d/ns/net"
                            % self.daemon.pid, "ip", "link", *command],
                           check=True)

    def _spawn(self, command):
        log = open(self.folder + "/output.log", "ab")
        child = subprocess.Popen(command, cwd=self.folder, stdout=log,
                                 stderr=log, env=self.environment)
        self.children.append(child)
        return child

    def _await(self, path):
        deadline = time.monotonic() + START_SECONDS
        while not os.path.exists(os.path.join(self.folder, path)):
            if any(child.poll() is not None for child in self.children):
                raise RuntimeError("%s: a daemon ended, see %s"
                                   % (self.name, self.folder))
            if time.monotonic() > deadline:
                raise RuntimeError("%s: no %s" % (self.name, path))
            time.sleep(0.02)

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children = []

    # Talking to it.

    def tool(self, program, *arguments):
        result = subprocess.run(
            [self.prefix + "/bin/" + program, *arguments], text=True,
            cwd=self.folder, env=self.environment, capture_output=True)
        if result.returncode:
            raise RuntimeError("%s: %s %s: %s" % (
                self.name, program, " ".join(arguments), result.stderr))
        return result.stdout

    def vsctl(self, *arguments):
        return self.tool("ovs-vsctl", "--db=unix:db.sock", *arguments)

    def ofctl(self, *arguments):
        return self.tool("ovs-ofctl", "-O", "OpenFlow15", *arguments)

    def appctl(self, method, *parameters):
        """What ovs-appctl does, without a process for each slice."""
        self.request += 1
        with socket.socket(socket.AF_UNIX) as control:
            # The path may be longer than sun_path.
            here = os.open(self.folder, os.O_PATH)
            try:
                control.connect("/proc/self/fd/%d/vswitchd.ctl" % here)
            finally:
                os.close(here)
            control.sendall(json.dumps(
                {"id": self.request, "method": method,
                 "params": list(parameters)}).encode())
            decoder, text = json.JSONDecoder(), ""
            while True:
                data = control.recv(1 << 20)
                if not data:
                    raise RuntimeError("%s: %s: no answer"
                                       % (self.name, method))
                text += data.decode()
                try:
                    reply = decoder.raw_decode(text)[0]
                    break
                except ValueError:
                    continue
        if reply.get("error"):
            raise RuntimeError("%s: %s: %s"
                               % (self.name, method, reply["error"]))
        return reply["result"] or ""

    def run(self, port, packets, count):
        return Run(self.appctl("bench/run", port, os.path.abspath(packets),
                               str(count)), count)

    def rewind(self, packets):
        self.appctl("bench/rewind", os.path.abspath(packets))

    # State.

    def cache_exactly(self, inverse_probability):
        """How often a missing flow enters the exact match cache."""
        self.vsctl("set", "Open_vSwitch", ".",
                   "other_config:emc-insert-inv-prob=%d"
                   % inverse_probability)

    def load(self, flows, groups=None):
        if groups:
            self.ofctl("add-groups", "br0", os.path.abspath(groups))
        self.ofctl("add-flows", "br0", os.path.abspath(flows))

    def use_tries(self):
        self.vsctl("--id=@t", "create", "Flow_Table", "name=service",
                   "prefixes=sal_service", "--", "set", "Bridge", "br0",
                   "flow_tables:10=@t")

    def megaflows(self):
        return int(re.search(r"flows: (\d+)",
                             self.appctl("dpctl/show")).group(1))

    def memory(self):
        return int(self.appctl("bench/memory"))

    def clear(self):
        self.appctl("dpif-netdev/pmd-stats-clear")

    def statistics(self):
        """Of the polling thread since clear()."""
        text = self.appctl("dpif-netdev/pmd-stats-show", "-pmd",
                           str(polling_cpu()))

        def number(pattern):
            found = re.search(pattern + r": *([\d.]+)", text)
            return float(found.group(1)) if found else 0.0
        return {
            "packets": number("packets received"),
            "emc": number("emc hits"),
            "hits": number("megaflow hits"),
            "upcalls": number("miss with success upcall")
                       + number("miss with failed upcall"),
            "lookups": number("avg. subtable lookups per megaflow hit"),
            "passes": number("avg. datapath passes per packet"),
        }


def polling_cpu():
    """The last CPU: the first is the one that interrupts go to."""
    return max(os.sched_getaffinity(0))
