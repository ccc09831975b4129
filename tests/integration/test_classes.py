# SPDX-License-Identifier: Apache-2.0
"""Path classes while links fail under their traffic, with real agents and
switches:

             s2
           /    \\            h1 talks to two services of h2, over a TCP
    h1 - s1 - s3 - s4 - h2   connection each that has to outlive it all.
           \\  |  /           "clean" avoids s2, "seen" passes s3.
             s5

The links of s1 to s3 and to s5 go down, first one by one while the controller
stands still, so that the switches are on their own; then both, so that "clean"
has no way but the default one.  What crosses which link is captured.

Ends with one line that counts."""

import os
import signal
import socket
import struct
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import numbers, sandbox, shapes
from topologies.capture import OFS_SAL, Capture, sal_type
from topologies.report import Report
from topologies.wait import TooLate, until

CLEAN, SEEN = 1, 2  # The numbers of the classes.
CONTROLLER = f"""\
path_classes:
  - {{name: clean, number: {CLEAN}, kind: avoid, switches: ["2"]}}
  - {{name: seen, number: {SEEN}, kind: waypoint, waypoint: "3"}}
services:
  - {{name: clean.topo.acme, path_class: clean}}
  - {{name: seen.topo.acme, path_class: seen}}
"""
NAMES = {CLEAN: "clean.topo.acme", SEEN: "seen.topo.acme"}
LINKS = [("s1", "s2"), ("s1", "s3"), ("s1", "s5"), ("s2", "s4"),
         ("s3", "s4"), ("s5", "s4"), ("s3", "s5")]
MARK = bytes([0x02, 0x53, 0x41, 0x4c, 0x02, SEEN])
NUMBER = struct.Struct("!Q")
PAUSE = 0.005
ROUNDS = 50         # That a step waits for.
PATIENCE = 20.0     # For them; TCP repeats after 0.2, 0.4, 0.8, ... s.


def graph():
    return shapes.Graph("classes", ["s1", "s2", "s3", "s4", "s5"], LINKS,
                        {"h1": "s1", "h2": "s4"},
                        {f"s{n}": f"s{n}" for n in range(1, 6)})


class Echo:
    """Sends back what it hears, at the services' target."""

    def __init__(self, host):
        from topologies.host import WEB_PORT
        from topologies.probes import socket_of
        self._listener = socket_of(host, socket.SOCK_STREAM)
        self._listener.setblocking(True)
        self._listener.bind(("0.0.0.0", WEB_PORT))
        self._listener.listen(8)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,),
                             daemon=True).start()

    @staticmethod
    def _serve(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            heard = connection.recv(4096)
            if not heard:
                return
            connection.sendall(heard)


class Talk:
    """One connection: numbers there and back, one after the other."""

    def __init__(self, host, address):
        from topologies.probes import SERVICE_PORT, socket_of
        self.rounds, self.error = 0, ""
        self._socket = socket_of(host, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        self._socket.connect((address, SERVICE_PORT))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._stopping:
                self._socket.sendall(NUMBER.pack(self.rounds))
                heard = b""
                while len(heard) < NUMBER.size:
                    more = self._socket.recv(NUMBER.size - len(heard))
                    if not more:
                        raise OSError("the server hung up")
                    heard += more
                if NUMBER.unpack(heard)[0] != self.rounds:
                    raise OSError("another number came back")
                self.rounds += 1
                time.sleep(PAUSE)
        except OSError as error:
            self.error = str(error)

    def stop(self):
        self._stopping = True
        self._thread.join()
        self._socket.close()
        return self.error


class Seen:
    """The data packets of a class that crossed links meanwhile."""

    def __init__(self, net):
        # {interface: (from, to)} of what comes in there.
        self._ends = {}
        for link in net.graph_links:
            one, other = link.intf1, link.intf2
            self._ends[one.name] = (other.node.name, one.node.name)
            self._ends[other.name] = (one.node.name, other.node.name)
        self._hosts = [host.switch_port[1] for host in net.hosts]
        self.capture = Capture([*self._ends, *self._hosts])

    def _frames(self, number):
        """(interface, incoming, frame)."""
        for _, interface, incoming, frame in list(self.capture.packets):
            if (sal_type(frame, numbers.SAL_PORT) == numbers.DATA
                    and frame[OFS_SAL + 12] & 0xf == number):
                yield interface, incoming, frame

    def crossed(self, number):
        # (A socket that is not bound yet hears all interfaces.)
        return {self._ends[interface]
                for interface, incoming, _ in self._frames(number)
                if incoming and interface in self._ends}

    def switches(self, number):
        return {end for ends in self.crossed(number) for end in ends}

    def is_marked(self, number):
        """Whether all that hosts got had passed the waypoint."""
        marks = [frame[6:12] == MARK
                 for interface, incoming, frame in self._frames(number)
                 if not incoming and interface in self._hosts]
        return marks and all(marks)


def go_on(net, talks):
    """Both connections make rounds; what crossed which link meanwhile."""
    seen = Seen(net)
    with seen.capture:
        before = [talk.rounds for talk in talks]
        until(lambda: any(talk.error for talk in talks) or all(
            talk.rounds >= since + ROUNDS
            for talk, since in zip(talks, before)),
            "the connections go on", PATIENCE)
        for talk in talks:
            if talk.error:
                raise TooLate(f"a connection broke: {talk.error}")
    return seen


def wrong_ways(seen, dead=(), clean_has_way=True):
    """What is not as the classes want it, as sentences."""
    wrong = []
    if clean_has_way and "s2" in seen.switches(CLEAN):
        wrong.append('"clean" met s2')
    if not clean_has_way and "s2" not in seen.switches(CLEAN):
        wrong.append('"clean" did not take the way that is left')
    if "s3" not in seen.switches(SEEN) or not seen.is_marked(SEEN):
        wrong.append('"seen" did not pass s3')
    for number, name in NAMES.items():
        if not seen.crossed(number):
            wrong.append(f"nothing of {name} was seen")
        for one, other in dead:
            if {(one, other), (other, one)} & seen.crossed(number):
                wrong.append(f"{name} crossed {one}-{other}")
    return "; ".join(wrong)


def link_of(net, one, other):
    """The interface of 'one' towards 'other'."""
    return net.get(one).connectionsTo(net.get(other))[0][0].name


def settle(net, links):
    until(lambda: (net.ask_controller("show", "status") or {}).get(
        "links") == links and net.in_sync(),
        f"{links} links are known, and the switches in sync", 30)
    net.ovs.appctl("revalidator/wait")


def fail_alone(report, net, talks, other):
    """The link s1 - 'other' fails while nobody mends anything."""
    interface = link_of(net, "s1", other)
    healthy = go_on(net, talks)
    process = net.salient_controller.process
    process.send_signal(signal.SIGSTOP)
    try:
        net.set_link(interface, "down")
        # What was under way on the old link is not counted.
        go_on(net, talks)
        alone = go_on(net, talks)
    finally:
        process.send_signal(signal.SIGCONT)
    dead = [("s1", other)]
    wrong = wrong_ways(healthy) or wrong_ways(alone, dead)
    used = [name for number, name in NAMES.items()
            if {("s1", other), (other, "s1")} & healthy.crossed(number)]
    if not used:
        wrong = wrong or "nothing went there before"
    report.check(not wrong, f"s1-{other} fails: the switches bypass it",
                 wrong or f"{', '.join(used)} went there before")
    settle(net, len(LINKS) - 1)
    wrong = wrong_ways(go_on(net, talks), dead)
    report.check(not wrong, "the controller has mended it", wrong)
    net.set_link(interface, "up")
    settle(net, len(LINKS))
    again = go_on(net, talks)
    wrong = wrong_ways(again) or (
        "the ways are others than before"
        if any(again.crossed(number) != healthy.crossed(number)
               for number in NAMES) else "")
    report.check(not wrong, "the link returns, and so do the ways", wrong)


def fail_all(report, net, talks):
    """'clean' has no way of its own any more."""
    dead = [("s1", "s3"), ("s1", "s5")]
    for one, other in dead:
        net.set_link(link_of(net, one, other), "down")
    settle(net, len(LINKS) - 2)
    wrong = wrong_ways(go_on(net, talks), dead, clean_has_way=False)
    report.check(not wrong, "no way of the class is left: the default one",
                 wrong)
    for one, other in dead:
        net.set_link(link_of(net, one, other), "up")
    settle(net, len(LINKS))
    wrong = wrong_ways(go_on(net, talks))
    report.check(not wrong, "its way returns", wrong)


def start(net):
    from topologies import probes
    net.controller_options += CONTROLLER
    net.start_controller()
    net.echo = Echo(net.get("h2"))
    net.get("h1").start_agent([])
    net.get("h2").start_agent([{"name": name, "port": 80, "weight": 1}
                               for name in NAMES.values()])
    net.wait_in_sync(60)
    settle(net, len(LINKS))
    client = net.get("h1")
    return [Talk(client, until(lambda: probes.resolve(client, f"{name}.sal"),
                               f"{name} resolves"))
            for name in NAMES.values()]


def run(report):
    from topologies import topo
    net = topo.build(graph(), "check-classes")
    try:
        talks = start(net)
        report.check(True, "two connections, a path class each", "")
        fail_alone(report, net, talks, "s3")
        fail_alone(report, net, talks, "s5")
        fail_all(report, net, talks)
        wrong = "; ".join(filter(None, (talk.stop() for talk in talks)))
        report.check(not wrong, "both connections have lived through it",
                     wrong or f"{sum(talk.rounds for talk in talks)} rounds")
    except (TooLate, RuntimeError, OSError) as error:
        report.check(False, "goes on", str(error))
        net.show_logs()
        return 1
    wrong = topo.stop(net)
    report.check(not wrong, "stops, leaves nothing", "; ".join(wrong))
    return 0


def main():
    report = Report()
    return report.finish(sandbox.run(lambda: run(report)))


if __name__ == "__main__":
    sys.exit(main())
