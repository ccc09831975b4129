# SPDX-License-Identifier: Apache-2.0
"""Breaks a running network piece by piece and compares what its hosts reach
with the oracle (topologies/reachability.py), broken and mended.

          h1 (serves h1, all)     what is broken    who must reach whom
           |                      s1-s2             [h1] [h2 h3]
          s1 -x- s2 --- s3        h2's uplink       [h1 h3] [h2]
                 |      |         s2                [h1] [h2] [h3]
                h2     h3 (h3, all)

After each change: wait until the controller's topology is what the oracle
says and all switches have confirmed; from then on not one answer may be
missing and not one may come that must not."""

import os
import random
import statistics
import time

from topologies import probes, reachability, topo
from topologies.reachability import HEALTHY
from topologies.salient_net import OPENFLOW_PORT
from topologies.stream import Stream
from topologies.wait import TooLate, until

SEED = int(os.environ.get("SEED", "20120425"))
CONVERGENCE = 60   # Seconds.  The machine may be loaded; it is printed.
RATE = 1000        # Packets a second that must survive a restart.
MANY_CALLS = 100   # More than these at a time are sampled while broken.


def dpid(switch):
    """As the controller prints it; Mininet makes it from the name."""
    return f"{int(switch[1:]):016x}"


class Callers:
    """Calls of all services from all hosts, one after the other."""

    def __init__(self, net):
        self._questions = [
            (net.get(host), address, reachability.answers(
                net.graph, HEALTHY, host, topo.servers_of(net.graph)[service]))
            for (host, service), address in net.addresses.items()]
        self.n, self.failed = 0, []

    def more(self, count):
        for i in range(count):
            question = self._questions[(self.n + i) % len(self._questions)]
            self.failed += [call for call in probes.call_all([question])
                            if not call.right]
        self.n += count


class Checker:
    """Checks of one network; each method reports one line."""

    def __init__(self, net, report):
        self.net, self.report, self.graph = net, report, net.graph
        self.random = random.Random(SEED)
        self.servers = topo.servers_of(self.graph)
        self.pings = self.calls = self.refused = self.unserved = 0
        self.took, self.note = [], ""

    # What is reported.

    def healthy(self):
        self._report("all pairs, every service from every host",
                     lambda: self._check(HEALTHY, everything=True))

    def break_everything(self, sample=None):
        for what, failures in (
                ("each link", reachability.single_links(self.graph)),
                ("each uplink", reachability.single_uplinks(self.graph)),
                ("each switch", reachability.single_switches(self.graph)),
                ("each host", reachability.single_moves(self.graph))):
            chosen = failures
            if sample is not None and len(failures) > sample:
                chosen = self.random.sample(failures, sample)
                what += f" of {sample} of {len(failures)}"
            if chosen:
                self._fail_and_mend(
                    f"{what} {'moves' if chosen[0].moves else 'fails'} and "
                    "returns", chosen)
        parted = reachability.partition(self.graph)
        if parted:
            self._fail_and_mend(f"{parted.name} and healing", [parted])
        self._report("the plan equals a recompute", self._recompute)

    def _report(self, what, function):
        self.pings = self.calls = self.refused = self.unserved = 0
        self.took, self.note = [], ""
        wrong = function()
        figure = (f"{self.pings} pings, {self.calls} calls as expected"
                  if self.pings or self.calls else "")
        figure += self.note
        if self.unserved:
            figure += (f", {self.refused} of {self.unserved} hopeless ones "
                       "refused")
        if self.took:
            figure += (f"; confirmed after {statistics.median(self.took):.2f}"
                       f" s, at most {max(self.took):.2f} s")
        self.report.check(not wrong, f"{self.graph.name}: {what}",
                          wrong or figure)

    def _fail_and_mend(self, what, failures):
        self._report(f"{what}", lambda: "; ".join(filter(None, (
            self._one(failure) for failure in failures))))

    def _one(self, failure):
        """What is wrong with the network under this failure, or after it."""
        wrong = []
        for change, state in ((self.break_it, failure), (self.mend, HEALTHY)):
            start = time.monotonic()
            change(failure)
            try:
                self.wait_confirmed(state)
            except TooLate as late:
                wrong.append(f"{change.__name__}: {late}")
            else:
                self.took.append(time.monotonic() - start)
            problem = self._check(state)
            if problem:
                wrong.append(f"{change.__name__}: {problem}")
        return f"{failure.name}: {', '.join(wrong)} (SEED={SEED})" if wrong \
            else ""

    def restart(self):
        """kill -9 of the controller under traffic, three times: not one packet
        is lost, and no connection fails."""
        self._report("the controller is killed and returns, under traffic",
                     self._restart)

    def _restart(self):
        streams = [Stream(self.net.get(one), self.net.get(other), RATE)
                   for one, other in reachability.far_pair(self.graph)]
        callers = Callers(self.net)
        for _ in range(3):
            self.net.salient_controller.kill()
            before = self.net.ovs.flows_of_all(self.graph.switches)
            callers.more(20)
            self.net.start_controller()
            callers.more(20)
            self.net.wait_in_sync(60)
            callers.more(20)
            if self.net.ovs.flows_of_all(self.graph.switches) != before:
                return "rules differ"
        counts = [stream.stop() for stream in streams]
        sent, lost = (sum(n) for n in zip(*counts)) if counts else (0, 0)
        self.note = (f"{sent} packets, {lost} lost, {callers.n} connections, "
                     f"{len(callers.failed)} failed")
        return self.note if lost or callers.failed else ""

    # Breaking and mending.

    def break_it(self, failure):
        self._set_links(failure, "down")
        for switch in failure.switches:
            self.net.ovs.vsctl("del-controller", switch)

        for host, switch in failure.moves:
            self._move(host, self.graph.uplinks[host], switch, 900)

    def _move(self, host, old, new, number):
        """Pulls the host's cable out of one switch and plugs it into another,
        or into another port of the same: 'number' (None: any)."""
        interface = self.net.get(host).switch_port[1]
        self.net.ovs.vsctl("del-port", old, interface)
        request = ["--", "set", "interface", interface,
                   f"ofport_request={number}"] if number else []
        self.net.ovs.vsctl("add-port", new, interface, *request)

    def mend(self, failure):
        for host, switch in failure.moves:
            self._move(host, switch, self.graph.uplinks[host], None)
        # A switch that lost its power comes back empty.
        for switch in failure.switches:
            for what in ("del-flows", "del-groups", "del-meters"):
                self.net.ovs.ofctl(what, switch)
        self._set_links(failure, "up")
        for switch in failure.switches:
            self.net.ovs.vsctl("set-controller", switch,
                               f"tcp:127.0.0.1:{OPENFLOW_PORT}")

    def _set_links(self, failure, state):
        """One end of a link; all ends of a switch's, as if it were gone."""
        for index in failure.links:
            self.net.set_link(self.net.graph_links[index].intf1.name, state)
        for host in failure.uplinks:
            self.net.set_link(self.net.get(host).switch_port[1], state)
        for switch in failure.switches:
            for interface in self.net.get(switch).intfList():
                if interface.name != "lo":
                    self.net.set_link(interface.name, state)

    # What the controller knows.

    def wait_confirmed(self, failure):
        until(lambda: not self._difference(failure),
              "the controller knows and all is confirmed", CONVERGENCE, 0.05)
        # Confirmed is not yet effective: cached flows follow with the next
        # pass of the revalidators.
        self.net.ovs.appctl("revalidator/wait")

    def _difference(self, failure):
        """Between the controller's world and the oracle's, in words."""
        live = {dpid(switch) for switch in self.graph.switches
                if switch not in failure.switches}
        seen = self.net.ask_controller("show", "topology")
        if seen is None:
            return "no answer"
        links = sorted(
            (switch["dpid"], port["link"]["dpid"])
            for switch in seen["switches"] for port in switch["ports"]
            if "link" in port and {switch["dpid"],
                                   port["link"]["dpid"]} <= live)
        wanted = []
        for index in reachability.live_links(self.graph, failure):
            one, other = map(dpid, self.graph.links[index])
            wanted += [(one, other), (other, one)]
        if links != sorted(wanted):
            return f"{len(links)} directed links instead of {len(wanted)}"
        places = {host["locator"]: host["dpid"] for host in seen["hosts"]}
        homes = reachability.places(self.graph, failure)
        for host in reachability.attached(self.graph, failure):
            for locator in self.net.get(host).IP(), self.net.get(host).ipv6:
                if locator and places.get(locator) != dpid(homes[host]):
                    return f"{host} is not attached by {locator}"
        for host in failure.uplinks:
            if self.net.get(host).IP() in places:
                return f"{host} is still attached"
        status = self.net.ask_controller("show", "status")
        if status is None or (status["switches_in_sync"] != len(live)
                              or status["pending_puts"]
                              or status["pending_events"]):
            return "switches are not in sync"
        return ""

    def _recompute(self):
        answer = self.net.ask_controller("recompute", "--check")
        status = self.net.ask_controller("show", "status")
        if answer is None:
            return "it does not"
        return (f"{status['refused_rules']} rules were refused"
                if status["refused_rules"] else "")

    # What the hosts reach.

    def _check(self, failure, everything=False):
        """'' if it is what the oracle says, or how not."""
        expected = reachability.pings(self.graph, failure)
        wrong = []
        for pings in self.net.pings:
            answered = pings.ask(expected)
            self.pings += len(self.graph.hosts) * (len(self.graph.hosts) - 1)
            wrong += [f"{sorted(pairs)[:4]} {how} ({len(pairs)} pairs)"
                      for pairs, how in (
                          (expected - answered, "do not reach each other"),
                          (answered - expected, "reach each other")) if pairs]
        questions = [
            (self.net.get(host), address, reachability.answers(
                self.graph, failure, host, self.servers[service]))
            for (host, service), address in self.net.addresses.items()]
        if len(questions) > MANY_CALLS and not everything:
            questions = self.random.sample(questions, MANY_CALLS)
        calls = probes.call_all(questions)
        self.calls += len(calls)
        hopeless = [call for call in calls if not call.expected]
        self.unserved += len(hopeless)
        self.refused += len([call for call in hopeless
                             if call.error == os.strerror(111)])
        bad = [call for call in calls if not call.right]
        if bad:
            wrong.append(
                f"{len(bad)} calls, first: {bad[0].host.name} expected "
                f"{sorted(bad[0].expected) or 'nobody'}, got "
                f"{bad[0].answer.strip() or bad[0].error}")
        return ", ".join(wrong)
