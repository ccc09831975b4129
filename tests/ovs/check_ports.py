#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SAL through real ports: whatever kind of port packets arrive by, and whatever
cache or optimized code the switch uses, they make the same megaflows and come
out alike.

    check_ports.py OVS_PREFIX [KIND...]

              +-------------------- Open vSwitch --------------------+
     p1p -----| p1                                            p2, p3 |----- p2p, p3p
              +------------------------------------------------------+

All in a network namespace of its own.  Kinds of p1 to p3: AF_PACKET, AF_XDP (a
thread that polls), AF_XDP without such a thread, AF_PACKET with userspace TSO.
The *p ends are raw sockets of this test.  OVS_TESTDIR keeps the switch's files.
"""

import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

import port_packets

PATIENCE = 20      # Seconds until what must happen has failed to.
PORTS = ("p1", "p2", "p3")

KINDS = {
    "af_packet": ("system", {}),
    "af_xdp": ("afxdp", {}),
    "af_xdp_nonpmd": ("afxdp-nonpmd", {}),
    "tso": ("system", {"userspace-tso-enable": "true"}),
}

# What the switch may do differently: settings, and the counter of the cache
# that must have hit ("" if none).
MODES = {
    "defaults": ({}, None),
    "every packet cached exactly": ({"emc-insert-inv-prob": "1"}, "emc"),
    "no exact match cache": ({"emc-insert-inv-prob": "0"}, ""),
    "signature match cache": ({"emc-insert-inv-prob": "0",
                               "smc-enable": "true"}, "smc"),
}
THREADS = {"two threads": ({"pmd-cpu-mask": "3"}, None)}

SOL_PACKET, PACKET_AUXDATA, STATUS_VLAN = 263, 8, 0x10


class Failure(Exception):
    """Something is not as it must be."""


class Wire:
    """Our end of a veth pair."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                    socket.htons(3))
        self.socket.bind((name, 0))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setblocking(False)

    def receive(self):
        """A frame that came in, or None."""
        while True:
            try:
                data, extra, _, sender = self.socket.recvmsg(65536, 256)
            except BlockingIOError:
                return None
            if sender[2] == socket.PACKET_OUTGOING:
                continue
            for _, _, aux in extra:
                # The kernel takes the VLAN tag out of the packet.
                status, = struct.unpack_from("=I", aux)
                tci, tpid = struct.unpack_from("=HH", aux, 16)
                if status & STATUS_VLAN:
                    data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
            return data


class Switch:
    """A database server and a switch daemon; end with stop()."""

    def __init__(self, prefix, folder, kind):
        self.prefix, self.folder = prefix, folder
        self.children = []
        self.type, self.config = KINDS[kind]
        os.makedirs(folder)
        self.environment = dict(
            os.environ, OVS_RUNDIR=folder, OVS_LOGDIR=folder,
            OVS_DBDIR=folder, OVS_SYSCONFDIR=folder)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        self.tool("ovsdb-tool", "create", "conf.db",
                  self.prefix + "/share/openvswitch/vswitch.ovsschema")
        self._spawn("ovsdb-server", "conf.db", "--remote=punix:db.sock",
                    "--unixctl=db.ctl", "--log-file=db.log")
        self._await("db.sock")
        self.vsctl("--no-wait", "init")
        self.configure(self.config, "--no-wait")
        self._spawn("ovs-vswitchd", "unix:db.sock", "--unixctl=vswitchd.ctl",
                    "--log-file=vswitchd.log")
        self._await("vswitchd.ctl")
        self.vsctl("add-br", "br0", "--", "set", "Bridge", "br0",
                   "datapath_type=netdev", "fail_mode=secure",
                   "protocols=OpenFlow15")
        for i, port in enumerate(PORTS, 1):
            self.vsctl("add-port", "br0", port, "--", "set", "Interface", port,
                       "type=" + self.type, "ofport_request=%d" % i)
        errors = self.vsctl("--columns=name,error", "find", "Interface",
                            "error!=[]").strip()
        if errors:
            raise Failure(errors)
        self.vsctl("--id=@t", "create", "Flow_Table", "name=service",
                   "prefixes=sal_service", "--", "set", "Bridge", "br0",
                   "flow_tables:10=@t")
        with open(self.folder + "/flows.txt", "w") as file:
            file.write(port_packets.FLOWS)
        self.tool("ovs-ofctl", "-O", "OpenFlow15", "add-flows", "br0",
                  "flows.txt")

    def _spawn(self, program, *arguments):
        log = open(self.folder + "/output.log", "ab")
        self.children.append(subprocess.Popen(
            [self.prefix + "/sbin/" + program, *arguments, "-vconsole:off"],
            cwd=self.folder, env=self.environment, stdout=log, stderr=log))

    def _await(self, name):
        def there():
            if any(child.poll() is not None for child in self.children):
                raise Failure("a daemon ended, see " + self.folder)
            return os.path.exists(os.path.join(self.folder, name))
        await_true(there, name)

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children = []

    def tool(self, program, *arguments):
        result = subprocess.run(
            [self.prefix + "/bin/" + program, *arguments], text=True,
            cwd=self.folder, env=self.environment, capture_output=True)
        if result.returncode:
            raise Failure("%s %s: %s" % (program, " ".join(arguments),
                                         result.stderr.strip()))
        return result.stdout

    def vsctl(self, *arguments):
        return self.tool("ovs-vsctl", "--db=unix:db.sock", *arguments)

    def appctl(self, *arguments):
        return self.tool("ovs-appctl", "-t",
                         self.folder + "/vswitchd.ctl", *arguments)

    def configure(self, settings, *options):
        """Makes other_config what 'settings' and the kind of port say."""
        settings = dict(self.config, **settings)
        self.vsctl(*options, "clear", "Open_vSwitch", ".", "other_config",
                   *(word for key, value in settings.items() for word in (
                       "--", "set", "Open_vSwitch", ".",
                       "other_config:%s=%s" % (key, value))))

    def megaflows(self):
        text = self.appctl("dpctl/dump-flows", "--names")
        text = re.sub(r"recirc_id\(0\),|packet_type\(ns=0,id=0\),"
                      r"|, packets:.*(?=, actions)", "", text)
        return sorted({line for line in text.splitlines()
                       if line and not line.startswith("flow-dump")})

    def hits(self):
        """Of each cache since the statistics were cleared."""
        text = self.appctl("dpif-netdev/pmd-stats-show")
        return {cache: sum(map(int, re.findall(cache + r" hits: (\d+)", text)))
                for cache in ("emc", "smc", "megaflow")}


def await_true(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failure("waited in vain for " + what)
        time.sleep(0.01)


def make_devices():
    for path in ("all", "default"):
        with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % path,
                  "w") as file:
            file.write("1")
    for port in PORTS:
        for command in (("add", port, "type", "veth", "peer", port + "p"),
                        ("set", port, "up"), ("set", port + "p", "up")):
            subprocess.run(["ip", "link", *command], check=True)


def remove_devices():
    for port in PORTS:
        subprocess.run(["ip", "link", "del", port], check=True)


def collect(wires, frames, sent):
    """Sends the frames 'sent', returns what comes out, a sorted list a port.
    'frames' is how many are expected.  Then a last one goes to all ports:
    nothing more can come after it."""
    out = {port: [] for port in wires if port != "p1"}
    ended = set()

    def receive(done, what):
        deadline = time.monotonic() + PATIENCE
        while not done():
            left = deadline - time.monotonic()
            if left < 0:
                raise Failure("%s: got %s" % (what, {
                    port: len(got) for port, got in out.items()}))
            select.select([wires[port].socket for port in out], [], [], left)
            for port, got in out.items():
                while True:
                    frame = wires[port].receive()
                    if frame is None:
                        break
                    if frame == port_packets.LAST:
                        ended.add(port)
                    else:
                        got.append(frame)

    for frame in sent:
        wires["p1"].socket.send(frame)
    receive(lambda: sum(map(len, out.values())) >= frames,
            "%d frames expected" % frames)
    wires["p1"].socket.send(port_packets.LAST)
    receive(lambda: len(ended) == len(out), "the end")
    return {port: sorted(got) for port, got in out.items()}


def show(title, got, want):
    lines = [title]
    lines += ["  missing: %s" % (x.hex() if isinstance(x, bytes) else x)
              for x in want if x not in got]
    lines += ["  unexpected: %s" % (x.hex() if isinstance(x, bytes) else x)
              for x in got if x not in want]
    return "\n".join(lines)


def check_traffic(switch, wires):
    """Misses, then hits: the same comes out, and megaflows are the expected."""
    want = {port: sorted(frames)
            for port, frames in port_packets.expected_output().items()}
    count = sum(map(len, want.values()))
    switch.appctl("revalidator/purge")
    switch.appctl("dpif-netdev/pmd-stats-clear")
    for _ in range(3):
        got = collect(wires, count, port_packets.frames())
        for port in want:
            if got[port] != want[port]:
                raise Failure(show(port, got[port], want[port]))
    megaflows = switch.megaflows()
    expected = sorted(port_packets.expected_megaflows())
    if megaflows != expected:
        raise Failure(show("megaflows", megaflows, expected))


def check_mode(switch, wires, settings, cache):
    switch.configure(settings)
    check_traffic(switch, wires)
    hits = switch.hits()
    if cache and not hits[cache] or cache == "" and hits["emc"]:
        raise Failure("hits of the caches: %s" % hits)


def avx512_extractors(switch):
    text = switch.appctl("dpif-netdev/miniflow-parser-get")
    return re.findall(r"^ *(avx512\w+) \(available: True", text, re.MULTILINE)


def check_avx512(switch, wires):
    """Each optimized extractor, and the one that compares them all."""
    switch.configure({})
    switch.appctl("dpif-netdev/dpif-impl-set", "dpif_avx512")
    for parser in ("study", "autovalidator", *avx512_extractors(switch)):
        switch.appctl("dpif-netdev/miniflow-parser-set", parser)
        check_traffic(switch, wires)
    with open(switch.folder + "/vswitchd.log") as log:
        if "Autovalidation" in log.read():
            raise Failure("the autovalidator complains")


class Results:
    """Counts of what passed, failed, was skipped."""

    def __init__(self):
        self.counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}

    def put(self, verdict, name, reason=""):
        self.counts[verdict] += 1
        print("  %s    %s%s" % (verdict, name, reason and ": " + reason),
              flush=True)

    def run(self, name, function, *arguments):
        try:
            function(*arguments)
        except Failure as failure:
            self.put("FAIL", name, str(failure))
        else:
            self.put("PASS", name)

    def total(self):
        print("%d passed, %d failed, %d skipped"
              % tuple(self.counts[key] for key in ("PASS", "FAIL", "SKIP")))
        return self.counts["FAIL"] == 0


def check_kind(results, prefix, folder, kind):
    make_devices()
    try:
        switch = Switch(prefix, folder, kind)
    except Failure as failure:
        results.put("FAIL", kind, str(failure))
        remove_devices()
        return
    try:
        wires = {port: Wire(port + "p") for port in PORTS}
        modes = dict(MODES)
        has_threads = switch.type == "afxdp"
        if has_threads:
            modes.update(THREADS)
        for mode, (settings, cache) in modes.items():
            results.run("%s: %s" % (kind, mode), check_mode, switch, wires,
                        settings, cache)
        # Only threads that poll have any use for optimized extraction.
        name = kind + ": optimized extraction"
        if has_threads and avx512_extractors(switch):
            results.run(name, check_avx512, switch, wires)
        elif has_threads:
            results.put("SKIP", name, "no AVX512 in this CPU or this build "
                        "(make check-ovs-native)")
    finally:
        switch.stop()
        remove_devices()


def main():
    if os.environ.get("CHECK_PORTS_NAMESPACE") != "1":
        os.environ["CHECK_PORTS_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable, "-B",
                              *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    prefix = os.path.abspath(sys.argv[1])
    folder = tempfile.mkdtemp(prefix="ports-", dir=os.environ.get("OVS_TESTDIR"))
    results = Results()
    for kind in sys.argv[2:] or KINDS:
        check_kind(results, prefix, os.path.join(folder, kind), kind)
    if results.total():
        shutil.rmtree(folder)
        return 0
    print("the switches' files: " + folder)
    return 1


if __name__ == "__main__":
    sys.exit(main())
