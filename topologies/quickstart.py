# SPDX-License-Identifier: Apache-2.0
"""The quickstart topology: one client, three servers of one service.

          h1 (client)
           |
          s1 ---- web1   weight 1
         /  \\
       s2----s3
        |     |
      web2   web3        weights 1 and 2

    quickstart.py --demo    show the main job working, step by step
    quickstart.py --keep    the same, then a prompt; leave it with Ctrl-D
    quickstart.py --test    the regression test (tests/integration/)
"""

import argparse
import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.report import Report

SERVICE = "web.shop.acme"
LONELY = "solo.shop.acme"  # Registered by web3 only.
SUFFIX = "sal"
URL = f"http://{SERVICE}.{SUFFIX}/"
WEIGHTS = {"web1": 1, "web2": 1, "web3": 2}


def services_of(name):
    """What a host registers, for its agent's YAML file."""
    if name not in WEIGHTS:
        return []
    services = [{"name": SERVICE, "port": 80, "weight": WEIGHTS[name]}]
    if name == "web3":
        services.append({"name": LONELY, "port": 80, "weight": 1})
    return services


def build(name):
    """The network, running, no daemon of ours yet.  In a sandbox."""
    from topologies.salient_net import SalientNet
    net = SalientNet(name)
    s1, s2, s3 = (net.addSwitch(switch) for switch in ("s1", "s2", "s3"))
    net.addLink(s1, s2)
    net.addLink(s2, s3)
    net.addLink(s3, s1)
    for host, switch in (("h1", s1), ("web1", s1), ("web2", s2), ("web3", s3)):
        net.addLink(net.addHost(host), switch)
    net.up_network()
    return net


def start(net):
    """nginx on the servers, the controller, an agent in each host; returns
    once every server is in the switches and the client knows the name."""
    net.start_controller()
    for host in net.hosts:
        if host.name in WEIGHTS:
            host.start_nginx()
        host.start_agent(services_of(host.name))
    net.wait_ready(SERVICE, list(WEIGHTS))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.
                                     RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--demo", action="store_true",
                      help="show the main job working")
    what.add_argument("--keep", action="store_true",
                      help="the same, then stay with Mininet's prompt")
    what.add_argument("--test", action="store_true",
                      help="the regression test")
    arguments = parser.parse_args()

    report = Report()
    before = sandbox.snapshot()

    def inside():
        if arguments.test:
            sys.path.insert(0, f"{os.path.dirname(sandbox.__file__)}/../tests")
            from integration import test_quickstart
            return test_quickstart.run(report)
        from topologies import demo
        return demo.run(report, keep=arguments.keep)

    status = sandbox.run(inside)
    left = sandbox.leftovers(before)
    report.check(not left, "nothing is left on the machine",
                 ", ".join(left) if left else "no process, interface, mount "
                 "or bpf pin")
    passed, failed, skipped = report.counts()
    if status == 130:
        print("interrupted")
        return status
    if status and not failed:
        failed = 1
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped"
          if arguments.test else
          f"\n{'PASS' if not failed else 'FAIL'}: {passed} passed, "
          f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
