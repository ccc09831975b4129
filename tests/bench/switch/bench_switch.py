# SPDX-License-Identifier: Apache-2.0
"""make bench-switch: see README.md of this folder for what is measured how.

usage: bench_switch.py PATCHED_PREFIX PRISTINE_PREFIX PKTGEN JSON [NAME...]

NAME is one of resolve, pick, upcalls, instructions, memory; all by default.
BENCH_ROUNDS and BENCH_SECONDS override how long a figure is measured.
To be run in a network namespace of its own, as root."""
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import traffic
from vswitch import VSwitch

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "1.5"))
N_FRAMES = 65536

PATCHED, PRISTINE, PKTGEN, JSON = sys.argv[1:5]
PARTS = sys.argv[5:] or ["resolve", "pick", "upcalls", "instructions",
                         "memory"]
results = []
scratch = tempfile.TemporaryDirectory(prefix="bench-switch-")


def report(name, value, unit):
    text = "%.3f" % value if unit == "ratio" else "%.6g" % value
    print("bench %s %s %s" % (name, text, unit), flush=True)
    results.append({"name": name, "value": value, "unit": unit})


def report_ratios(name, ratios):
    """The median, and the spread beside it."""
    report(name, statistics.median(ratios), "ratio")
    report(name + ".low", min(ratios), "ratio")
    report(name + ".high", max(ratios), "ratio")


def frames_file(name, frames):
    path = os.path.join(scratch.name, name)
    traffic.write_frames(path, frames)
    return path


class Load:
    """Frames that arrive as fast as they can be sent, while in a 'with'."""

    def __init__(self, port, path):
        self.args = (PKTGEN, port + "-g", path, "0", "64", "0")

    def __enter__(self):
        self.process = subprocess.Popen(self.args, stdout=subprocess.DEVNULL)

    def __exit__(self, *exc):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def send(port, path, count, burst=32, pause_us=2000):
    subprocess.run((PKTGEN, port + "-g", path, str(count), str(burst),
                    str(pause_us)), check=True, stdout=subprocess.DEVNULL)


def measure(switch, port, path, seconds=None):
    """Returns CPU seconds of the datapath a packet, packets a second, and the
    share of packets that missed, under saturation."""
    with Load(port, path):
        time.sleep(0.3)
        cpu, (hit, missed), start = switch.cpu(), switch.lookups(), time.time()
        time.sleep(seconds or SECONDS)
        cpu = switch.cpu() - cpu
        hit1, missed1 = switch.lookups()
        elapsed = time.time() - start
    n = hit1 + missed1 - hit - missed
    return cpu / n, n / elapsed, (missed1 - missed) / n


def warm_up(switch, port, path):
    """Until the datapath has the flows that the frames need."""
    for _ in range(20):
        if measure(switch, port, path, 1)[2] < 0.002:
            break


def compare(switch, sides):
    """Measures the two (port, path) in 'sides' in turns.  Returns how much
    cheaper a packet of the second is than one of the first, a round each, and
    the last figures of both."""
    for port, path in sides:
        warm_up(switch, port, path)
    ratios = []
    for i in range(ROUNDS):
        order = (0, 1) if i % 2 else (1, 0)
        figures = {k: measure(switch, *sides[k]) for k in order}
        ratios.append(figures[1][0] / figures[0][0])
    return ratios, figures[0], figures[1]


def two_bridges(prefix=None):
    switch = VSwitch(prefix or PATCHED)
    switch.add_bridge("sal", "s0", "s1")
    switch.add_bridge("plain", "t0", "t1")
    switch.vsctl("--", "--id=@t", "create", "Flow_Table", "name=services",
                 "prefixes=sal_service", "--", "set", "Bridge", "sal",
                 "flow_tables:10=@t")
    return switch


def megaflows_of(switch, port, path):
    switch.flush()
    before = switch.n_megaflows()
    warm_up(switch, port, path)
    return switch.n_megaflows() - before


def resolve(name, n):
    all_services = traffic.services(n)
    switch = two_bridges()
    try:
        switch.set_flows("sal", traffic.tile_flows(all_services))
        switch.set_flows("plain", traffic.route_flows(n))
        syns = frames_file("syns", traffic.syns(all_services, N_FRAMES))
        plain = frames_file("plain", traffic.packets(n, N_FRAMES))
        ratios, sal, ip = compare(switch, (("s0", syns), ("t0", plain)))
        report_ratios("switch.resolve." + name, ratios)
        report("switch.resolve.%s.rate" % name, 1 / sal[0], "packets/cpu-s")
        report("switch.resolve.%s.plain_rate" % name, 1 / ip[0],
               "packets/cpu-s")
        report("switch.resolve.%s.throughput" % name, sal[1], "packets/s")
        report("switch.resolve.%s.hit_rate" % name, 1 - sal[2], "ratio")
        report("switch.resolve.%s.plain_hit_rate" % name, 1 - ip[2], "ratio")
        report("switch.resolve.%s.megaflows" % name,
               megaflows_of(switch, "s0", syns), "flows")
        report("switch.resolve.%s.plain_megaflows" % name,
               megaflows_of(switch, "t0", plain), "flows")
    finally:
        switch.close()


def pick():
    """The ways to pick an instance, for 100 services."""
    n = 100
    all_services = traffic.services(n)
    syns = frames_file("syns", traffic.syns(all_services, N_FRAMES))
    plain = frames_file("plain", traffic.packets(n, N_FRAMES))
    switch = two_bridges()
    try:
        switch.set_flows("plain", traffic.route_flows(n))
        for name, method in (("tiles", None),
                             ("hash", "hash,fields(udp_src=0x00ff)"),
                             ("dp_hash", "dp_hash")):
            if method:
                path = os.path.join(scratch.name, "groups")
                with open(path, "w") as f:
                    f.write("\n".join(traffic.group_mods(all_services,
                                                         method)))
                switch.ofctl("del-groups", "sal")
                switch.ofctl("add-groups", "sal", path)
                switch.set_flows("sal", traffic.group_flows(all_services))
            else:
                switch.set_flows("sal", traffic.tile_flows(all_services))
            switch.flush()
            ratios, sal, _ = compare(switch, (("s0", syns), ("t0", plain)))
            report_ratios("switch.pick." + name, ratios)
            report("switch.pick.%s.megaflows" % name,
                   megaflows_of(switch, "s0", syns), "flows")
    finally:
        switch.close()


def upcalls():
    n = 10000
    all_services = traffic.services(n)
    switch = two_bridges()
    try:
        switch.set_flows("sal", traffic.tile_flows(all_services))
        # Every service once.
        each = frames_file("each", (
            traffic.syn(service, 0xc000 + i % 0x4000, i + 1)
            for i, (service, _) in enumerate(all_services)))
        rates = []
        for _ in range(3):
            switch.flush()
            cpu, missed = switch.cpu(), switch.lookups()[1]
            send("s0", each, n, 64, 5000)
            time.sleep(0.5)
            rates.append((switch.lookups()[1] - missed)
                         / (switch.cpu() - cpu))
        report("switch.upcalls", statistics.median(rates), "upcalls/cpu-s")

        # 100,000 SYNs of one service, and of an unknown one.
        for name, service in (("one_service", all_services[5]),
                              ("unknown_service",
                               (traffic.label("nobody") * 4, 192))):
            switch.flush()
            before = switch.n_megaflows()
            path = frames_file("one", traffic.syns([service], 20000))
            missed = switch.lookups()[1]
            send("s0", path, 100000, 64, 1000)
            time.sleep(0.5)
            report("switch.megaflows.%s" % name,
                   switch.n_megaflows() - before, "flows/100000 SYNs")
            report("switch.upcalls.%s" % name,
                   switch.lookups()[1] - missed, "upcalls/100000 SYNs")
    finally:
        switch.close()


CALLGRIND_ROUND = 4000


class CallgrindSwitch(VSwitch):
    """Counts instructions of the datapath: what dp_netdev_input() and its
    callees execute, once the megaflows are there."""

    def __init__(self, prefix):
        self.out = tempfile.mkdtemp(dir=scratch.name)
        super().__init__(prefix, (
            "valgrind", "-q", "--tool=callgrind", "--dump-instr=no",
            "--callgrind-out-file=%s/out" % self.out,
            "--toggle-collect=dp_netdev_input"))

    def control(self, *args):
        subprocess.run(("callgrind_control", *args, str(self.daemon.pid)),
                       check=True, capture_output=True)

    def instructions(self, port, path, symbol=None):
        """Returns instructions a packet, in all and in 'symbol'."""
        send(port, path, CALLGRIND_ROUND, 32, 30000)
        time.sleep(1)
        self.control("-z")
        before = sum(self.lookups())
        send(port, path, CALLGRIND_ROUND, 32, 30000)
        time.sleep(1)
        n = sum(self.lookups()) - before
        for name in os.listdir(self.out):
            os.unlink(os.path.join(self.out, name))
        self.control("-d")
        self.wait(lambda: any(os.path.getsize(os.path.join(self.out, name))
                              for name in os.listdir(self.out)), 60)
        time.sleep(1)
        files = [os.path.join(self.out, name) for name in os.listdir(self.out)]
        out = subprocess.run(("callgrind_annotate", "--inclusive=yes",
                              "--threshold=100", *files), check=True,
                             capture_output=True, text=True).stdout

        def count(pattern):
            m = re.search(r"^\s*([\d,]+)\s.*" + pattern, out, re.M)
            return int(m[1].replace(",", "")) / n if m else float("nan")
        return count("PROGRAM TOTALS"), count(r":%s\b" % symbol)


def instruction_flows():
    return ["priority=10,udp,udp_dst=53,actions=2",
            "priority=10,tcp,tcp_dst=80,actions=2",
            "priority=1,actions=2"]


def instructions():
    plain = {
        "udp": frames_file("udp", (
            traffic.ethernet_ip_udp(bytes((10, 0, 1, i % 8)), 1024 + i, 53,
                                    bytes(100)) for i in range(1024))),
        "tcp": frames_file("tcp", (
            traffic.ethernet_ip_udp(bytes((10, 0, 1, i % 8)), 1024 + i, 80,
                                    bytes(100), 6) for i in range(1024))),
        "sal": frames_file("sal", traffic.syns(traffic.services(8), 1024)),
    }
    figures = {}
    for side, prefix in (("pristine", PRISTINE), ("patched", PATCHED)):
        switch = CallgrindSwitch(prefix)
        try:
            switch.add_bridge("br", "s0", "s1")
            flows = instruction_flows()
            for kind in ("udp", "tcp", "sal"):
                if kind == "sal" and side == "patched":
                    flows = flows + traffic.tile_flows(traffic.services(8))
                if kind == "sal" and side == "pristine":
                    # The same packets, forwarded without a look into them.
                    flows = flows + ["priority=10,udp,udp_dst=6090,"
                                     "actions=set_field:02:00:00:00:00:07->"
                                     "eth_dst,set_field:10.9.9.9->ip_dst,2"]
                switch.set_flows("br", flows)
                figures[side, kind] = switch.instructions(
                    "s0", plain[kind], "miniflow_extract")
        finally:
            switch.close()
    for kind in ("udp", "tcp"):
        report("switch.plain_" + kind,
               figures["pristine", kind][0] / figures["patched", kind][0],
               "ratio")
    for kind in ("udp", "tcp", "sal"):
        for side in ("pristine", "patched"):
            total, extract = figures[side, kind]
            report("switch.instructions.%s.%s" % (kind, side), total,
                   "instructions/packet")
            report("switch.extract.%s.%s" % (kind, side), extract,
                   "instructions/packet")


def throughput():
    """Plain traffic through the patched and the pristine switch, in turns."""
    paths = {
        "udp": frames_file("udp", (
            traffic.ethernet_ip_udp(bytes((10, 0, 1, i % 8)), 1024 + i, 53,
                                    bytes(100)) for i in range(32768))),
        "tcp": frames_file("tcp", (
            traffic.ethernet_ip_udp(bytes((10, 0, 1, i % 8)), 1024 + i, 80,
                                    bytes(100), 6) for i in range(32768))),
    }
    switches = []
    try:
        for prefix, ports in ((PRISTINE, ("s0", "s1")),
                              (PATCHED, ("t0", "t1"))):
            switch = VSwitch(prefix)
            switches.append(switch)
            switch.add_bridge("br", *ports)
            switch.set_flows("br", instruction_flows())
        for kind, path in paths.items():
            ratios = []
            for i in range(ROUNDS):
                order = (0, 1) if i % 2 else (1, 0)
                costs = {k: measure(switches[k], ("s0", "t0")[k], path)[0]
                         for k in order}
                ratios.append(costs[0] / costs[1])
            report_ratios("switch.plain_%s.throughput" % kind, ratios)
    finally:
        for switch in switches:
            switch.close()


def memory():
    n = 20000
    all_services = traffic.services(n)
    switch = two_bridges()
    try:
        before = switch.rss()
        flows = traffic.tile_flows(all_services, 0)
        switch.set_flows("sal", flows)
        time.sleep(1)
        report("switch.memory.rule", (switch.rss() - before) / len(flows),
               "bytes")
        before, n_before = switch.rss(), switch.n_megaflows()
        send("s0", frames_file("each", (
            traffic.syn(service, 0xc000, i + 1)
            for i, (service, _) in enumerate(all_services))), n, 64, 5000)
        time.sleep(1)
        report("switch.memory.megaflow", (switch.rss() - before)
               / (switch.n_megaflows() - n_before), "bytes")
    finally:
        switch.close()


def main():
    if "resolve" in PARTS:
        for name, n in (("1", 1), ("1k", 1000), ("100k", 100000)):
            resolve(name, n)
    if "pick" in PARTS:
        pick()
    if "upcalls" in PARTS:
        upcalls()
    if "instructions" in PARTS:
        instructions()
        throughput()
    if "memory" in PARTS:
        memory()
    os.makedirs(os.path.dirname(JSON) or ".", exist_ok=True)
    with open(JSON, "w") as f:
        json.dump(results, f, indent=1)


main()
