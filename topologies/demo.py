# SPDX-License-Identifier: Apache-2.0
"""What `make demo` shows: the main job, step by step, with figures."""

import os
import signal
import re
import textwrap
import time

from topologies import numbers, quickstart, steps
from topologies.quickstart import SERVICE, URL, WEIGHTS
from topologies.report import Progress, note, title
from topologies.wait import TooLate

REQUESTS = 400
REFUSED, UNKNOWN_HOST = 7, 6  # curl's exit codes.


def run(report, keep=False):
    net = None
    try:
        net = _start(report)
        _registrations(report, net)
        _ask(report, net)
        _explain(report, net)
        _link_failure(report, net)
        if keep:
            _prompt(net)
        _stop(report, net)
    except (TooLate, RuntimeError, OSError) as error:
        report.check(False, "the demonstration goes on", str(error))
        if net:
            net.show_logs()
        return 1
    return 0


def _start(report):
    title("1. Open vSwitch with SAL fields, controller, agents: built")
    seconds = os.environ.get("DEMO_BUILD_SECONDS")
    report.check(True, "everything is built and up to date",
                 f"{seconds} s" if seconds else "")

    title("2. Three switches in a triangle, a client, three servers")
    note(textwrap.dedent(quickstart.__doc__.split("\n\n")[1]))
    start = time.monotonic()
    net = quickstart.build("demo")
    report.check(True, "switches and hosts are up",
                 f"{len(net.switches)} switches, {len(net.hosts)} hosts, "
                 f"{time.monotonic() - start:.1f} s; {net.ovs.version()}")
    start = time.monotonic()
    try:
        quickstart.start(net)
    except (TooLate, RuntimeError, OSError):
        net.show_logs()
        raise
    report.check(True, "controller and agents are up, every rule confirmed",
                 f"{time.monotonic() - start:.1f} s")
    return net


def _registrations(report, net):
    title(f"3. nginx serves {SERVICE} on each server, its agent registers it")
    note(open(f"{net.get('web3').run_dir}/agent.yaml",
              encoding="utf-8").read())
    weights = net.weights(SERVICE)
    report.check(weights == WEIGHTS, f"{SERVICE} is registered",
                 ", ".join(f"{name} weight {weight}"
                           for name, weight in sorted(weights.items())))


def _ask(report, net):
    title(f"4. The client runs curl {URL} {REQUESTS} times")
    progress = Progress("requests", REQUESTS)
    result = steps.ask_many(net, REQUESTS, progress=progress.update)
    progress.done()
    for name, answers in result["answers"].items():
        note(f"{name}  weight {WEIGHTS[name]}  {answers:4d}  "
             + "#" * (answers // 5))
    report.check(not result["failed"] and result["count"] == REQUESTS,
                 "every request is answered",
                 f"{result['count'] - len(result['failed'])} of {REQUESTS} "
                 f"in {result['seconds']:.1f} s"
                 + _first_error(result["failed"]))
    report.check(result["chance"] > steps.SIGNIFICANCE,
                 "servers answer as their weights say, 1 : 1 : 2",
                 f"chi-square {result['chi']:.2f}, p = {result['chance']:.3f}"
                 f" (fails below {steps.SIGNIFICANCE})")


def _explain(report, net):
    title("   The service rules of the client's switch, s1")
    rules = net.ovs.flows("s1", numbers.SERVICE)
    note(rules)
    report.check("sal_service=0x" in rules,
                 "the rules match the service ID",
                 f"{rules.count('sal_service=')} rules")

    title("   One SYN from the client, as s1 treats it (ofproto/trace)")
    before, after = steps.capture_resolution(net, "web3")
    s1, s3 = net.get("s1"), net.get("s3")
    _, _, client_port = net.get("h1").switch_port
    first = steps.trace(net, s1, client_port, before)
    note(first)
    title("   and as s3 receives and forwards it")
    second = steps.trace(net, s3, s3.port_to(s1), after)
    note(second)
    here, there = _tables(first), _tables(second)
    out = net.get("web3").switch_port[2]
    report.check({numbers.CLASSIFY, numbers.SERVICE} <= set(here)
                 and {numbers.CLASSIFY, numbers.FORWARD} <= set(there)
                 and f"output:{out}" in second,
                 "the SYN goes through classify, service, forward",
                 f"tables {_path(here)} of s1, {_path(there)} "
                 f"of s3, port {out} to web3")


def _tables(trace):
    """Numbers of the tables that a trace goes through."""
    return [int(number) for number in
            re.findall(r"^ *([0-9]+)\. ", trace, re.MULTILINE)]


def _path(tables):
    return " -> ".join(map(str, tables))


def _link_failure(report, net):
    title("5. The link of web3 goes down under load, and returns")
    failure = steps.LinkFailure(net, "web3")
    failure.warm_up()
    withdrawn, uncached, effective = failure.down()
    report.check(True, "web3 is withdrawn from every switch",
                 f"rules gone after {withdrawn:.0f} ms, cached flows after "
                 f"{uncached:.0f} ms, for certain after {effective:.0f} ms")
    count, failed = failure.go_on(300)
    report.check(not failed, "no request started after that fails",
                 f"{count - len(failed)} of {count}" + _first_error(failed))
    note(f"of those before, {len(failure.load.failed()) - len(failed)} failed")

    result, took = steps.at_once(lambda: steps.ask_lonely(net))
    report.check(result["status"] == REFUSED and took < steps.AT_ONCE_MS,
                 f"{quickstart.LONELY}, served by web3 alone, is refused",
                 f"curl: {result['status']}, {took:.0f} ms")
    result, took = steps.at_once(lambda: steps.ask_unknown_name(net))
    report.check(result["status"] == UNKNOWN_HOST
                 and took < steps.AT_ONCE_MS,
                 "a name that nobody defined does not exist",
                 f"curl: {result['status']}, {took:.0f} ms")

    installed, served = failure.up()
    report.check(True, "web3 serves again when the link is back",
                 f"in the switches after {installed:.0f} ms, "
                 f"first answer after {served:.0f} ms")
    failure.load.stop()
    report.check(not failure.load.failed(failure.effective),
                 "no request failed while it came back",
                 f"{len(failure.load.results)} requests in all")


def _stop(report, net):
    title("6. Everything stops")
    start = time.monotonic()
    wrong = net.down()
    left = net.leftovers()
    report.check(not wrong and not left,
                 "agents, controller and switches leave nothing",
                 "; ".join(wrong + left) if wrong + left else
                 f"no sal0, pin, filter, route, process or interface, "
                 f"{time.monotonic() - start:.1f} s")


def _first_error(failed):
    return (f"; first: curl {failed[0]['status']} {failed[0]['error']}"
            if failed else "")


def _prompt(net):
    from mininet.cli import CLI
    from mininet.log import setLogLevel
    from topologies.daemon import BUILD, RUN
    title("The network goes on running.  Try, at Mininet's prompt:")
    note(f"""\
h1 curl {URL}
h1 dig +short {SERVICE}.{quickstart.SUFFIX} @127.0.0.55     (if you have dig)
h1 {BUILD}/bin/salctl --socket {RUN}/h1/sald.sock show
sh {BUILD}/bin/salctl --socket {RUN}/controller.sock controller show events
sh ovs-ofctl -O OpenFlow15 dump-flows s1 table=10
sh ovs-appctl dpctl/dump-flows
sh ip link set s3-eth3 down
exit                                  stops and removes everything""")
    setLogLevel("output")
    # At the prompt, Ctrl-C ends a command; Mininet would take the others for
    # it as well.
    before = [(number, signal.signal(number, handler)) for number, handler in (
        (signal.SIGINT, _once()),
        (signal.SIGTERM, _leave), (signal.SIGHUP, _leave))]
    CLI(net)
    for number, handler in before:
        signal.signal(number, handler)
    setLogLevel("critical")


def _once():
    """A handler that takes the copies of one Ctrl-C (from the terminal, and
    from each parent that hands it on) for one."""
    last = 0.0

    def interrupt(_number, _frame):
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > 0.3:
            raise KeyboardInterrupt
    return interrupt


def _leave(_number, _frame):
    raise SystemExit(130)
