# SPDX-License-Identifier: Apache-2.0
"""A network of any shape, with the real controller, switches and agents:

    topo.py line|ring       [--size N] [--hosts N]
    topo.py leafspine       [--leaves N] [--spines N] [--hosts N]
    topo.py fattree         [--k N] [--hosts N]
    topo.py graphml FILE    [--hosts N] [--max-hosts N]

starts it, checks that everybody reaches everybody and every service, and ends.
Every host serves HOST.topo.acme; the first and the last serve all.topo.acme.

    --keep            then stay, with Mininet's prompt; leave it with Ctrl-D
    --test            then break it, piece by piece (tests/shapes_test/)
    --no-fast-failover  with that option of the controller off
    --show            only print the graph
    --parallel N      every link N times
    --loop            a cable from the first switch to itself
    --ipv6            hosts have IPv6 locators as well, and prefer them
"""

import argparse
import os
import signal
import sys
import time

if __name__ == "__main__":
    # Instead of this folder: numbers.py would hide Python's own.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
from topologies import sandbox, shapes
from topologies.daemon import BUILD, ROOT, RUN
from topologies.report import Report, note, title
from topologies.wait import TooLate, until

SHARED = "all.topo.acme"
SUFFIX = "sal"
EXAMPLE = f"{ROOT}/topologies/example.graphml"


def service_of(host):
    return f"{host}.topo.acme"


def servers_of(graph):
    """{service: the names of its servers}."""
    every = {service_of(host): {host} for host in graph.hosts}
    return {**every, SHARED: set(graph.hosts[:1] + graph.hosts[-1:])}


def add_link(net, one, other):
    ports = {}
    if one == other:  # Mininet would call both ends the same.
        first = net.get(one).newPort()
        ports = {"port1": first, "port2": first + 1}
    return net.addLink(one, other, **ports)


def build(graph, log_name, fast_failover=True, ipv6=False):
    """The network, running, no daemon of ours yet.  In a sandbox."""
    from topologies.salient_net import SalientNet
    net = SalientNet(log_name)
    net.graph = graph
    if not fast_failover:
        net.controller_options = "fast_failover: false\n"
    for switch in graph.switches:
        net.addSwitch(switch)
    net.graph_links = [add_link(net, *ends) for ends in graph.links]
    for host, switch in graph.uplinks.items():
        net.addLink(net.addHost(host), switch)
    net.up_network()
    for number, host in enumerate(net.hosts if ipv6 else (), 1):
        host.use_ipv6(number)
    return net


def start(net):
    """Controller, servers and agents; returns once every switch has confirmed
    every rule and every host knows every name.  net.addresses is {(host,
    service): what the name resolves to there}."""
    from topologies import probes
    from topologies.host import WEB_PORT
    net.start_controller()
    net.servers = probes.Servers(net.hosts, WEB_PORT)
    net.pings = [probes.Pings(net.hosts)]
    if all(host.ipv6 for host in net.hosts):
        net.pings.append(probes.Pings(net.hosts, ipv6=True))
    services = servers_of(net.graph)
    for host in net.hosts:
        host.start_agent([{"name": name, "port": 80, "weight": 1}
                          for name, servers in services.items()
                          if host.name in servers])
    net.wait_in_sync(60)
    status = net.ask_controller("show", "status")
    wanted = sum(map(len, services.values()))
    if status["registrations"] != wanted:
        raise RuntimeError(f"{status['registrations']} registrations instead "
                           f"of {wanted}")
    net.addresses = {
        (host.name, name): until(
            lambda: probes.resolve(host, f"{name}.{SUFFIX}"),
            f"{name}.{SUFFIX} resolves on {host.name}")
        for host in net.hosts for name in services}


def stop(net):
    """What did not leave well, as sentences."""
    if hasattr(net, "servers"):
        net.servers.stop()
    for pings in getattr(net, "pings", ()):
        pings.close()
    return net.down() + net.leftovers()


def run(report, graph, arguments):
    """In a sandbox: the whole run of one network."""
    sys.path.insert(0, f"{ROOT}/tests")
    from shapes_test import failures
    net = None
    try:
        begun = time.monotonic()
        net = build(graph, f"topo-{arguments.shape}",
                    not arguments.no_fast_failover, arguments.ipv6)
        start(net)
        report.check(True, f"{graph.name}: up, every name resolves",
                     f"{describe(graph)}, {time.monotonic() - begun:.1f} s")
        check = failures.Checker(net, report)
        check.healthy()
        if arguments.test:
            check.restart()
            check.break_everything(arguments.sample)
        if arguments.keep:
            prompt(net)
    except (TooLate, RuntimeError, OSError) as error:
        report.check(False, f"{graph.name}: goes on", str(error))
        if net:
            net.show_logs()
        return 1
    wrong = stop(net)
    report.check(not wrong, f"{graph.name}: stops, leaves nothing",
                 "; ".join(wrong))
    return 0


def describe(graph):
    return (f"{len(graph.switches)} switches, {len(graph.links)} links, "
            f"{len(graph.hosts)} hosts")


def show(graph):
    print(f"{graph.name}: {describe(graph)}")
    for switch in graph.switches:
        print(f"  {switch:5} {graph.labels[switch]:20}", *(
            host for host, at in graph.uplinks.items() if at == switch))
    for one, other in graph.links:
        print(f"  {one} - {other}")


def prompt(net):
    from mininet.cli import CLI
    from mininet.log import setLogLevel
    one, other = (net.graph.links or [("s1", "s2")])[0]
    title("The network goes on running.  Try, at Mininet's prompt:")
    note(f"""\
h1 ping -c 3 {net.hosts[-1].IP()}
h1 dig +short {SHARED}.{SUFFIX} @127.0.0.55     (if you have dig)
h1 {BUILD}/bin/salctl --socket {RUN}/h1/sald.sock show
sh {BUILD}/bin/salctl --socket {RUN}/controller.sock controller show topology
link {one} {other} down
exit                                  stops and removes everything""")
    setLogLevel("output")

    def leave(_number, _frame):
        raise SystemExit(130)
    # At the prompt, Ctrl-C ends a command; Mininet would take the others for
    # it as well.
    before = [(number, signal.signal(number, handler)) for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, leave), (signal.SIGHUP, leave))]
    CLI(net)
    for number, handler in before:
        signal.signal(number, handler)
    setLogLevel("critical")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    what = common.add_mutually_exclusive_group()
    what.add_argument("--keep", action="store_true")
    what.add_argument("--test", action="store_true")
    what.add_argument("--show", action="store_true")
    common.add_argument("--no-fast-failover", action="store_true")
    common.add_argument("--parallel", type=int, default=1, metavar="N")
    common.add_argument("--loop", action="store_true")
    common.add_argument("--ipv6", action="store_true")
    common.add_argument("--hosts", type=int, metavar="N",
                        help="at each switch that has hosts")
    common.add_argument("--sample", type=int, metavar="N",
                        help="with --test: at most N failures of each kind")
    kinds = parser.add_subparsers(dest="shape", required=True)

    def kind(name, make, *numbers, aliases=()):
        sub = kinds.add_parser(name, parents=[common], aliases=aliases)
        for number in numbers:
            sub.add_argument(f"--{number}", type=int, metavar="N")
        sub.set_defaults(make=make, options=[*numbers, "hosts"])
        return sub

    kind("line", shapes.line, "size")
    kind("ring", shapes.ring, "size")
    kind("leafspine", shapes.leaf_spine, "leaves", "spines",
         aliases=["leaf-spine"])
    kind("fattree", shapes.fat_tree, "k", aliases=["fat-tree"])
    file = kind("graphml", shapes.graphml, "max-hosts")
    file.add_argument("path", nargs="?", default=EXAMPLE, metavar="FILE")
    arguments = parser.parse_args()
    given = {option.replace("-", "_"): getattr(arguments,
                                               option.replace("-", "_"))
             for option in arguments.options}
    if arguments.shape == "graphml":
        given["path"] = arguments.path
    try:
        graph = arguments.make(**{name: value for name, value in given.items()
                                  if value is not None})
        graph = shapes.multiply(graph, arguments.parallel)
        if arguments.loop:
            graph = shapes.add_loop(graph)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return arguments, graph


def main():
    arguments, graph = parse()
    if arguments.show:
        show(graph)
        return 0
    if not graph.hosts:
        print("A network without hosts has nothing to check.",
              file=sys.stderr)
        return 1
    report = Report()
    before = sandbox.snapshot()
    status = sandbox.run(lambda: run(report, graph, arguments))
    left = sandbox.leftovers(before)
    report.check(not left, "nothing is left on the machine", ", ".join(left)
                 if left else "no process, interface, mount or bpf pin")
    return report.finish(status)


if __name__ == "__main__":
    sys.exit(main())
