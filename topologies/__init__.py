# SPDX-License-Identifier: Apache-2.0
"""Salient networks in Mininet, each in a sandbox of its own.

    sandbox.py     namespaces around a run: nothing of it outlives it
    report.py      PASS and FAIL lines, progress, counting, statistics
    wait.py        waiting for conditions
    numbers.py     the numbers of ofp-ext/, from its headers
    daemon.py      processes and paths of a run
    ovs.py         the private Open vSwitch
    host.py        a host: namespaces, agent, nginx
    salient_net.py switches, links, controller, all hosts together
    steps.py       what is shown and tested, without printing
    load.py        curl in a loop, every request accounted for
    capture.py     packets into memory and pcap files
    quickstart.py  the quickstart topology and its command line
    demo.py        what `make demo` shows
    shapes.py      graphs: line, ring, leaf-spine, fat tree, GraphML
    reachability.py  who must reach whom in a graph, whatever is broken
    probes.py      pings and calls of all hosts from one process
    topo.py        a network of any shape and its command line
"""
