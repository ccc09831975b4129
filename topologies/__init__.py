# SPDX-License-Identifier: Apache-2.0
"""Salient networks in Mininet, each in a sandbox of its own.

    sandbox.py     namespaces around a run: nothing of it outlives it
    report.py      PASS and FAIL lines, progress, counting, statistics
    wait.py        waiting for conditions
    ovs.py         the private Open vSwitch
    salient_net.py hosts, switches, controller, agents
    load.py        curl in a loop, every request accounted for
    capture.py     packets into memory and pcap files
    quickstart.py  the quickstart topology and its command line
    demo.py        what `make demo` shows
"""
