#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of the switch.  README.md says what the figures mean.

    bench_switch.py BUILD OVS_BUILD [PART...]

BUILD/bench/switch has the programs of bench.mk, OVS_BUILD the two trees.
Parts: extract, plain, resolve, pick; all unless some are named.
"""

import fcntl
import glob
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

from report import Report
from switch import Switch

SLICE = 20000    # Packets: some milliseconds, short to what disturbs.
ROUNDS = 15      # Pairs of slices.
COUNTED = 20000  # Packets that callgrind counts.
TREES = ("pristine", "patched")


class Bench:
    def __init__(self, build, ovs_build, parts):
        self.ovs_build = ovs_build
        self.folder = build + "/bench/switch"  # programs, workloads, run files
        self.report = Report(build + "/bench/switch.json", bool(parts))

    def program(self, name):
        return os.path.join(self.folder, name)

    def workload(self, n, packets):
        """A folder with flows and packets, see workload.c."""
        folder = self.program("n%d" % n)
        os.makedirs(folder, exist_ok=True)
        subprocess.run([self.program("workload"), folder, str(n),
                        str(packets)], check=True)
        return folder

    def switch(self, tree, wrapper=(), outputs="bench"):
        prefix = self.ovs_build + ("/ovs" if tree == "patched"
                               else "/ovs-pristine/ovs")
        name = tree + ("-callgrind" if wrapper else "")
        return Switch(name, self.program("vswitchd-" + tree), prefix,
                      self.program("run-" + name), wrapper, outputs)


def pairs(first, second, packets=SLICE):
    """Runs A B A B ... and returns both lists of runs.

    'first' and 'second' are (switch, port, packet file)."""
    runs = ([], [])
    for _ in range(ROUNDS):
        for side, (switch, port, path) in zip(runs, (first, second)):
            side.append(switch.run(port, path, packets))
    return runs


def ratios(baseline, subject):
    """Packets per second of 'subject' to those of 'baseline', pair by pair."""
    return [a.cpu_ns / b.cpu_ns for a, b in zip(baseline, subject)]


def median_ns(runs):
    return statistics.median(run.cpu_ns for run in runs)


# Instructions: the same on a busy machine as on an idle one.

def callgrind(out, *options):
    return ["valgrind", "--tool=callgrind", "--quiet",
            "--collect-atstart=no", "--callgrind-out-file=" + out, *options]


def instructions(out):
    with open(out) as file:
        return int(re.search(r"^totals: (\d+)", file.read(),
                             re.MULTILINE).group(1))


def bench_extract(bench):
    """miniflow_extract(), by kind of packet."""
    folder = bench.workload(1000, 100000)
    out = bench.program("extract.callgrind")
    count = 1000
    for kind, packets in (("udp", "udp"), ("tcp", "tcp"), ("sal_syn", "syn"),
                          ("sal_data", "data")):
        cost = {}
        for tree in TREES:
            subprocess.run(
                [*callgrind(out), bench.program("extract-" + tree),
                 "%s/%s.pcap" % (folder, packets), str(count)],
                check=True, stderr=subprocess.DEVNULL)
            cost[tree] = instructions(out) / count
        put_instructions(bench, "switch.extract." + kind, cost)


def put_instructions(bench, name, cost):
    bench.report.put(name, cost["pristine"] / cost["patched"], "ratio")
    for tree in TREES:
        bench.report.put(name + "." + tree, cost[tree], "instructions/packet")


def count_instructions(bench, tree, folder, kinds):
    """The whole way through the switch: {kind: instructions a packet}."""
    out = bench.program(tree + ".callgrind")
    for old in glob.glob(out + "*"):
        os.remove(old)
    switch = bench.switch(tree, callgrind(out, "--instr-atstart=no",
                                          "--fair-sched=yes"))
    cost = {}
    dumps = 0
    try:
        switch.load(folder + "/plain.flows")
        for kind in kinds:
            path = "%s/%s.pcap" % (folder, kind)
            # All of a few flows, not as chance has it; else the default.
            switch.cache_exactly(1 if kind.endswith("few") else 100)
            for _ in range(2):  # The first time makes the megaflows.
                switch.rewind(path)
                run = switch.run("in2", path, COUNTED)
                dumps += 1
            cost[kind] = instructions("%s.%d" % (out, dumps)) / COUNTED
            if run.sent != COUNTED:
                raise RuntimeError("%s: %d of %d packets arrived"
                                   % (kind, run.sent, COUNTED))
    finally:
        switch.stop()
    return cost


# Traffic that is no SAL.

PLAIN = ("udp", "udp-few", "tcp", "tcp-few")


def bench_plain(bench):
    """UDP and TCP through the patched switch and through the pristine one:
    every packet a new flow (megaflow cache), and few flows (exact match
    cache).  The headline is the worse of the two."""
    folder = bench.workload(1000, 100000)
    cost = {tree: count_instructions(bench, tree, folder, PLAIN)
            for tree in TREES}
    for protocol in ("udp", "tcp"):
        name = "switch.plain_" + protocol
        kinds = [kind for kind in PLAIN if kind.startswith(protocol)]
        bench.report.put(name, min(cost["pristine"][kind]
                                   / cost["patched"][kind]
                                   for kind in kinds), "ratio")
        for kind in kinds:
            cache = ".exact" if kind.endswith("few") else ".megaflow"
            put_instructions(bench, name + cache,
                             {tree: cost[tree][kind] for tree in TREES})
    switches = {}
    try:
        for tree in TREES:
            switches[tree] = bench.switch(tree)
        plain_throughput(bench, switches, folder)
        plain_memory(bench, switches, folder)
    finally:
        for switch in switches.values():
            switch.stop()


def plain_throughput(bench, switches, folder):
    for switch in switches.values():
        switch.load(folder + "/plain.flows")
    for kind in PLAIN:
        path = "%s/%s.pcap" % (folder, kind)
        for switch in switches.values():
            switch.cache_exactly(1 if kind.endswith("few") else 100)
            switch.run("in2", path, 100000)
        runs = pairs(*((switches[tree], "in2", path) for tree in TREES))
        name = "switch.plain_%s.%s.throughput" % (
            kind[:3], "exact" if kind.endswith("few") else "megaflow")
        bench.report.put_samples(name, ratios(*runs), "ratio")
        for tree, side in zip(TREES, runs):
            bench.report.put("%s.%s" % (name, tree), 1e3 / median_ns(side),
                             "Mpps")


def memory_a_megaflow(switch, port, path, count):
    """Bytes that each new megaflow takes."""
    memory, flows = switch.memory(), switch.megaflows()
    switch.run(port, path, count)
    flows = switch.megaflows() - flows
    return (switch.memory() - memory) / flows


def plain_memory(bench, switches, folder):
    cost = {}
    for tree, switch in switches.items():
        switch.appctl("revalidator/purge")
        cost[tree] = memory_a_megaflow(switch, "in1",
                                       folder + "/ip-each.pcap", 1000)
    bench.report.put("switch.memory.plain_megaflow",
                     cost["pristine"] / cost["patched"], "ratio")
    for tree in TREES:
        bench.report.put("switch.memory.plain_megaflow." + tree, cost[tree],
                         "bytes")


# Resolution.

def put_caches(bench, name, switch):
    """What the caches did since switch.clear()."""
    seen = switch.statistics()
    bench.report.put(name + ".hit_rate", 1 - seen["upcalls"]
                     / (seen["packets"] * max(seen["passes"], 1)), "ratio")
    bench.report.put(name + ".upcalls", seen["upcalls"], "upcalls")
    bench.report.put(name + ".lookups", seen["lookups"], "subtables/packet")


def warm_up(bench, switch, name, folder, packets):
    """The first packets of SYNs by in1, plain traffic by in2 and routed
    traffic by in7: the cache is searched port by port, and mask by mask."""
    for side, port, path in (("", "in1", "syn"), (".plain", "in2", "ip"),
                             (".routed", "in7", "routed")):
        memory, before = switch.memory(), switch.megaflows()
        switch.clear()
        run = switch.run(port, "%s/%s.pcap" % (folder, path), packets)
        if run.sent < 0.99 * packets and not switch.has_veth:
            raise RuntimeError("%s%s: %d of %d packets arrived"
                               % (name, side, run.sent, packets))
        if switch.has_veth or side == ".routed":
            continue
        put_caches(bench, name + side + ".cold", switch)
        new = switch.megaflows() - before
        bench.report.put(name + side + ".megaflows", new, "megaflows")
        if new >= 1000:
            bench.report.put(name + side + ".memory_megaflow",
                             (switch.memory() - memory) / new, "bytes")


def compare(bench, switch, name, folder):
    """SYNs against plain IPv4, all megaflows there already."""
    syn = (switch, "in1", folder + "/syn.pcap")
    plain = (switch, "in2", folder + "/ip.pcap")
    routed = (switch, "in7", folder + "/routed.pcap")

    switch.clear()
    switch.run("in1", folder + "/syn.pcap", SLICE)
    if not switch.has_veth:
        put_caches(bench, name, switch)
    runs = pairs(plain, syn)
    bench.report.put_samples(name, ratios(*runs), "ratio")
    for side, sample in zip((".plain", ""), runs):
        bench.report.put(name + side + ".pps", 1e3 / median_ns(sample),
                         "Mpps")
    runs = pairs(routed, syn)
    bench.report.put_samples(name + ".to_routed", ratios(*runs), "ratio")


def load(switch, folder, method):
    groups = "%s/%s.groups" % (folder, method)
    switch.load("%s/%s.flows" % (folder, method),
                groups if os.path.exists(groups) else None)


def resolve_over_veth(bench, name, folder, method, packets):
    """The headline: what leaves the switch goes through AF_XDP."""
    switch = bench.switch("patched", outputs="afxdp")
    try:
        switch.use_tries()
        switch.load(folder + "/plain.flows")
        load(switch, folder, method)
        warm_up(bench, switch, name, folder, packets)
        compare(bench, switch, name, folder)
    finally:
        switch.stop()


def compare_fresh(bench, switch, name, folder, packets):
    """Other draws of the same popularity, so that the tail misses."""
    cost = {}
    for side, port, kind in (("", "in1", "syn"), (".plain", "in2", "ip")):
        switch.clear()
        run = switch.run(port, "%s/%s-fresh.pcap" % (folder, kind), packets)
        cost[side] = run.cpu_ns
        put_caches(bench, name + ".fresh" + side, switch)
    bench.report.put(name + ".fresh", cost[".plain"] / cost[""], "ratio")


SIZES = (("1", 1, 100000), ("1k", 1000, 100000), ("100k", 100000, 200000))


def count_rules(switch):
    return int(re.search(r"flow_count=(\d+)", switch.ofctl(
        "dump-aggregate", "br0", "table=10")).group(1))


def bench_resolve(bench):
    for label, n, packets in SIZES:
        name = "switch.resolve." + label
        folder = bench.workload(n, packets)
        switch = bench.switch("patched")
        try:
            switch.use_tries()
            switch.load(folder + "/plain.flows")
            memory = switch.memory()
            switch.load(folder + "/tiles.flows")
            if n > 1:
                bench.report.put(name + ".memory_rule",
                                 (switch.memory() - memory)
                                 / count_rules(switch), "bytes")
            warm_up(bench, switch, name + ".core", folder, packets)
            compare(bench, switch, name + ".core", folder)
            if n > 1:
                compare_fresh(bench, switch, name + ".core", folder, packets)
            if label == "100k":
                bench_upcalls(bench, switch, folder, n)
                bench_one_service(bench, switch, folder)
                bench_data(bench, switch, folder, packets)
        finally:
            switch.stop()
        resolve_over_veth(bench, name, folder, "tiles", packets)
        shutil.rmtree(folder)


def bench_upcalls(bench, switch, folder, n):
    """The first packet of services that nobody asked for yet, of plain
    destinations, and of services that do not exist."""
    count = n // 5
    rate = {}
    for side, port, kind in (("", "in1", "syn-each"),
                             (".plain", "in2", "ip-each"),
                             (".unknown", "in1", "syn-unknown")):
        name = "switch.upcall" + side
        path = "%s/%s.pcap" % (folder, kind)
        switch.appctl("revalidator/purge")
        before = switch.megaflows()
        switch.clear()
        run = switch.run(port, path, count)
        seen = switch.statistics()
        bench.report.put(name + ".megaflows", switch.megaflows() - before,
                         "megaflows")
        bench.report.put(name + ".upcalls", seen["upcalls"], "upcalls")
        if seen["upcalls"]:
            rate[side] = 1e9 / (run.cpu_ns * count / seen["upcalls"])
            bench.report.put(name + ".rate", rate[side], "upcalls/s")
    bench.report.put("switch.upcall", rate[""] / rate[".plain"], "ratio")


def bench_one_service(bench, switch, folder):
    """Megaflows that SYNs of one service make: the same for any number."""
    path = folder + "/syn-one.pcap"
    switch.appctl("revalidator/purge")
    count = {}
    sent = 0
    for label, upto in (("1k", 1000), ("10k", 10000), ("100k", 100000)):
        switch.run("in1", path, upto - sent)
        sent = upto
        count[label] = switch.megaflows()
        bench.report.put("switch.one_service.megaflows." + label,
                         count[label], "megaflows")
    bench.report.put("switch.one_service", count["1k"] / count["100k"],
                     "ratio")


def bench_data(bench, switch, folder, packets):
    """DATA packets of bound flows are forwarded like any others."""
    data, plain = folder + "/data.pcap", folder + "/ip.pcap"
    switch.appctl("revalidator/purge")
    flows = []
    for kind in ("data", "ip"):
        path = "%s/%s-each.pcap" % (folder, kind)
        switch.rewind(path)
        switch.run("in2", path, 20000)
        flows.append(switch.megaflows())
    bench.report.put("switch.data.megaflows", flows[0], "megaflows")
    bench.report.put("switch.data.megaflows.with_plain", flows[1],
                     "megaflows")
    for path in (data, plain):
        switch.run("in2", path, packets)
    runs = pairs((switch, "in2", plain), (switch, "in2", data))
    bench.report.put_samples("switch.data", ratios(*runs), "ratio")


def bench_pick(bench):
    """The ways of picking an instance, each against plain forwarding."""
    packets = 100000
    folder = bench.workload(1000, packets)
    for method in ("tiles", "tiles_only", "hash", "dp_hash"):
        name = "switch.pick." + method
        switch = bench.switch("patched")
        try:
            switch.use_tries()
            switch.load(folder + "/plain.flows")
            load(switch, folder, method)
            warm_up(bench, switch, name + ".core", folder, packets)
            compare(bench, switch, name + ".core", folder)
        finally:
            switch.stop()
        resolve_over_veth(bench, name, folder, method, packets)


PARTS = {"extract": bench_extract, "plain": bench_plain,
         "resolve": bench_resolve, "pick": bench_pick}


def main():
    parts = sys.argv[3:]
    bench = Bench(*map(os.path.abspath, sys.argv[1:3]), parts)
    lock = open(bench.program("lock"), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    for part in parts or PARTS:
        started = time.monotonic()
        PARTS[part](bench)
        print("# %s: %.0f s" % (part, time.monotonic() - started),
              flush=True)
    bench.report.save()


if __name__ == "__main__":
    main()
