# SPDX-License-Identifier: Apache-2.0
"""Packets lost when a link fails, in Mininet with real switches:

      h1 - s1 --X-- s2 - h2      h1 sends h2 RATE numbered datagrams a second;
             \\    /             the link between their switches goes down,
               s3                everything settles, the link returns; TIMES.

Once as it is, once without fast failover: then the controller has to write
the way around.

    failover_loss.py JSON-FILE"""

import json
import os
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import sandbox, shapes, topo
from topologies.stream import Stream
from topologies.wait import until

RATE, TIMES = 1000, 10


def fail_once(net, stream):
    """Packets lost while the link goes down, and while it returns."""
    interface = net.graph_links[0].intf1.name
    lost = []
    for state, links in (("down", 2), ("up", 3)):
        since = stream.sent
        net.set_link(interface, state)
        until(lambda: (net.ask_controller("show", "status") or {}).get(
            "links") == links and net.in_sync(), "it settles", 30)
        lost.append(len(stream.lost(since)))
    return lost


def measure(fast_failover):
    net = topo.build(shapes.ring(size=3), "bench-failover", fast_failover)
    topo.start(net)
    stream = Stream(net.get("h1"), net.get("h2"), RATE)
    lost = [fail_once(net, stream) for _ in range(TIMES)]
    stream.stop()
    wrong = topo.stop(net)
    if wrong:
        print("; ".join(wrong), file=sys.stderr)
    return [[down for down, _ in lost], [up for _, up in lost]]


def run(path, fast_failover):
    """In a sandbox."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(measure(fast_failover), file)
    return 0


def main(path):
    values = {}
    for fast_failover, suffix in ((True, ""), (False, ".off")):
        part = f"{path}.part"
        if sandbox.run(lambda: run(part, fast_failover)):
            return 1
        with open(part, encoding="utf-8") as file:
            down, up = json.load(file)
        os.unlink(part)
        name = "controller.failover_packets_lost"
        values[name + suffix] = statistics.median(down)
        values[f"{name}_max{suffix}"] = max(down)
        values[f"{name}_on_return{suffix}"] = statistics.median(up)
    for name, value in values.items():
        print(f"bench {name} {value:g} packets", flush=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(values, file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
