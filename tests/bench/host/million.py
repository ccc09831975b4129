#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A daemon with a million idle flows: how long commands take, how long its
name server is silent meanwhile, how soon it is back after kill -9.

    million.py BUILD [FLOWS]
"""
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../../bpf")
from netlab import Lab  # noqa: E402
from test_daemon import Agent  # noqa: E402


class Silence(threading.Thread):
    """The longest that "salctl show leases", which is quick, takes."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.agent, self.longest, self.ended = agent, 0, False
        self.start()

    def run(self):
        while not self.ended:
            start = time.monotonic()
            self.agent.salctl("show", "leases")
            self.longest = max(self.longest, time.monotonic() - start)

    def end(self):
        self.ended = True
        self.join()
        return self.longest


def timed(function, *args):
    start = time.monotonic()
    result = function(*args)
    return time.monotonic() - start, result


def rss_mb(agent):
    with open(f"/proc/{agent.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status
                    if line.startswith("VmRSS")) / 1024


def run(lab, n):
    agent = Agent(lab, lab.hosts[0])
    agent.max_flows = n
    try:
        agent.start()
        agent.host.dpctl("fill", n)
        before = rss_mb(agent)
        silence = Silence(agent)
        for name, args in (("status", ["status"]),
                           ("flows_count", ["flows", "--count"]),
                           ("flows_filtered", ["flows", "port=12345"]),
                           ("top", ["top"])):
            took, _ = timed(agent.salctl, *args)
            print(f"bench host.million_{name} {took:.3f} s")
        print(f"bench host.million_silence {silence.end():.3f} s")
        assert int(agent.salctl("flows", "--count")) == n
        assert agent.ask("status")["datapath"]["flows"] == n
        print(f"bench host.million_rss {before:.0f} MB")
        print(f"bench host.million_rss_after_top {rss_mb(agent):.0f} MB")
        agent.kill()
        took, _ = timed(agent.start)
        print(f"bench host.million_restart {took:.3f} s")
        assert agent.ask("status")["datapath"]["flows"] == n
    finally:
        agent.close()


def main():
    lab = Lab(sys.argv[1])
    try:
        lab.host("host", "10.0.0.1")
        run(lab, int(sys.argv[2]) if len(sys.argv) > 2 else 1000000)
    finally:
        lab.close()


if __name__ == "__main__":
    main()
