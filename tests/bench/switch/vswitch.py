# SPDX-License-Identifier: Apache-2.0
"""A private Open vSwitch in the current network namespace, and what a bench
wants to know from it."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time


def run(*args, **kwargs):
    return subprocess.run(args, check=True, capture_output=True, text=True,
                          **kwargs).stdout


class VSwitch:
    """ovsdb-server and ovs-vswitchd from 'prefix', with the userspace
    datapath.  'wrapper' is a command to run ovs-vswitchd under."""

    def __init__(self, prefix, wrapper=()):
        self.prefix = os.path.abspath(prefix)
        self.dir = tempfile.mkdtemp(prefix="bench-ovs-")
        self.env = dict(os.environ, OVS_RUNDIR=self.dir, OVS_LOGDIR=self.dir,
                        OVS_DBDIR=self.dir, OVS_SYSCONFDIR=self.dir)
        self.env["PATH"] = "%s/bin:%s/sbin:%s" % (
            self.prefix, self.prefix, self.env["PATH"])
        self.db = "unix:%s/db.sock" % self.dir
        schema = self.prefix + "/share/openvswitch/vswitch.ovsschema"
        self.cmd("ovsdb-tool", "create", self.dir + "/conf.db", schema)
        self.server = self.spawn(
            "ovsdb-server", "--remote=p" + self.db, "--log-file=/dev/null",
            "-vconsole:off", "--pidfile", self.dir + "/conf.db")
        self.wait(lambda: os.path.exists(self.dir + "/db.sock"))
        self.vsctl("--no-wait", "init")
        self.daemon = self.spawn(
            *wrapper, self.prefix + "/sbin/ovs-vswitchd", self.db, "--pidfile",
            "-vconsole:off", "--log-file=" + self.dir + "/vswitchd.log")
        self.wait(lambda: os.path.exists(self.dir + "/ovs-vswitchd.pid"), 120)
        self.ports = []

    def spawn(self, *args):
        return subprocess.Popen(args, env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def cmd(self, *args):
        return run(*args, env=self.env)

    def vsctl(self, *args):
        return self.cmd("ovs-vsctl", "--db=" + self.db, "-t120", *args)

    def ofctl(self, *args):
        return self.cmd("ovs-ofctl", "-OOpenFlow15", *args)

    def appctl(self, *args):
        return self.cmd("ovs-appctl", *args)

    def wait(self, condition, seconds=30):
        deadline = time.time() + seconds
        while not condition():
            if time.time() > deadline:
                raise RuntimeError("timed out; log: %s" % self.dir)
            time.sleep(0.05)

    def add_bridge(self, name, in_port, out_port):
        """A bridge between two veth pairs: frames sent to IN_PORT-g arrive at
        OpenFlow port 1, and what leaves by port 2 is thrown away."""
        self.vsctl("add-br", name, "--", "set", "bridge", name,
                   "datapath_type=netdev", "fail_mode=secure",
                   "protocols=OpenFlow10,OpenFlow15")
        for number, port in ((1, in_port), (2, out_port)):
            peer = port + "-g"
            run("ip", "link", "add", port, "type", "veth", "peer", "name",
                peer)
            for interface in (port, peer):
                with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % interface,
                          "w") as f:
                    f.write("1")
                run("ip", "link", "set", interface, "up")
                subprocess.run(["ethtool", "-K", interface, "tx", "off"],
                               capture_output=True)
            self.vsctl("add-port", name, port, "--", "set", "Interface", port,
                       "ofport_request=%d" % number)
            self.ports.append(port)

    def set_flows(self, bridge, flows):
        path = self.dir + "/flows.txt"
        with open(path, "w") as f:
            f.write("\n".join(flows) + "\n")
        self.ofctl("del-flows", bridge)
        self.ofctl("add-flows", bridge, path)

    def flush(self):
        self.appctl("revalidator/purge")

    def lookups(self):
        """Returns packets that hit and that missed the datapath's flows."""
        out = self.appctl("dpctl/show")
        return (int(re.search(r"hit:(\d+)", out)[1]),
                int(re.search(r"missed:(\d+)", out)[1]))

    def n_megaflows(self):
        return int(re.search(r"flows: (\d+)", self.appctl("dpctl/show"))[1])

    def cpu(self):
        """Seconds of CPU that the main thread, which is the one that runs the
        datapath, has used."""
        with open("/proc/%d/task/%d/schedstat" % ((self.daemon.pid,) * 2)) as f:
            return int(f.read().split()[0]) / 1e9

    def rss(self):
        with open("/proc/%d/status" % self.daemon.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) * 1024

    def close(self):
        for process in (self.daemon, self.server):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for port in self.ports:
            subprocess.run(["ip", "link", "del", port], capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)
