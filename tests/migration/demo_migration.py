# SPDX-License-Identifier: Apache-2.0
"""What `make demo-migration` shows: a download, a session and a call go on
while their hosts change interfaces and addresses."""

import os
import sys
import textwrap
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path[:0] = [ROOT, f"{ROOT}/tests"]

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.report import Report, note, title
from topologies.wait import TooLate, until

DOWNLOAD_MIB, MIB_PER_S = 4096, 8


class Display:
    """One line that says how far everybody is; a line each step where the
    output is no terminal."""

    def __init__(self, run):
        self._run = run

    def line(self):
        words, redis, http2, voice = self._run.clients
        return (f"download {words.progress:5d} MiB verified | redis "
                f"{redis.progress:6d} increments | HTTP/2 "
                f"{http2.progress:5.0f} MiB | call: "
                f"{time.monotonic() - self._run.began:3.0f} s")

    def show(self):
        if sys.stdout.isatty():
            print(f"\r      {self.line()}", end="", flush=True)

    def done(self):
        if sys.stdout.isatty():
            print("\r\033[K", end="")
        note(self.line())

    def watch(self, condition, what, timeout=40):
        """until(), with the line kept up to date."""
        def looked():
            self.show()
            return condition()
        until(looked, what, timeout, interval=0.1)


def where(run):
    """Between which locators the download runs, as both ends see it."""
    for host in run.lab.hosts:
        for flow in host.flows():
            if 7000 in (flow["inner"]["remote_port"],
                        flow["inner"]["local_port"]):
                yield (f"{host.name}: from {flow['own_locator']} to "
                       f"{flow['peer_locator']}")


def step(report, run, what, explanation, change, condition):
    """Something happens to a host; everybody must go on."""
    display = Display(run)
    title(f"   {what}")
    note(textwrap.fill(explanation, 90))
    moment = time.monotonic()
    before = [client.progress for client in run.clients]
    change()
    display.watch(condition, what)
    display.watch(lambda: all(
        client.progress > was or client.name == "voice"
        for client, was in zip(run.clients, before)), "everybody goes on")
    # A gap is told when it ends; the call's next datagram is due.
    display.watch(lambda: time.monotonic() > moment + 2.0, "2 s have passed")
    display.done()
    gaps = ", ".join(f"{client.name} {client.longest_gap(moment):.0f} ms"
                     for client in run.clients)
    report.check(all(client.running() for client in run.clients),
                 "every connection goes on", f"longest pauses: {gaps}")
    for line in where(run):
        note(line)


def story(report, run):
    client, server = run.client, run.server

    def at(host, i):
        address = f"10.0.{i}.{1 if host is client else 2}"
        other = server if host is client else client
        return lambda: (all(flow["own_locator"] == address
                            for flow in host.flows())
                        and all(flow["peer_locator"] == address
                                for flow in other.flows()))

    step(report, run, "salctl migrate interface h1-eth0 --to h1-eth1",
         "Both uplinks of h1 work.  Its agent tells web1's agent RSYN from "
         "10.0.1.1, gets a challenge there, answers it; only then does the "
         "old path fall silent.  Nothing is lost.",
         lambda: client.migrate(0, 1), at(client, 1))
    step(report, run, "ip link set h1-eth1 down",
         "h1 loses the interface that it uses.  The kernel tells its agent, "
         "which announces 10.0.0.1; TCP is woken, so that it does not wait "
         "for its timer.",
         lambda: client.set_uplink(1, "down"), at(client, 0))

    def renumber():
        client.remove_address(0, "10.0.0.1")
        client.add_address(0, "10.0.0.101")
    step(report, run, "h1's only address 10.0.0.1 becomes 10.0.0.101",
         "For a moment h1 has no address at all.", renumber,
         lambda: all(flow["peer_locator"] == "10.0.0.101"
                     for flow in server.flows())
         and all(flow["own_locator"] == "10.0.0.101"
                 for flow in client.flows()))

    def both():
        client.set_uplink(0, "down")
        server.set_uplink(0, "down")
    client.set_uplink(1, "up")
    run.lab.wait_uplinks()
    step(report, run, "h1-eth0 and web1-eth0 go down at the same moment",
         "Neither agent knows where the other one is now.  Each sends its "
         "RSYN to the other's endpoint service ID as well: the switches know "
         "where that is attached.", both,
         lambda: at(client, 1)() and at(server, 1)())

    def crash():
        server.set_uplink(0, "up")
        run.lab.wait_uplinks()
        server.set_uplink(1, "down")
        server.agent.kill()
        server.start_agent()
    step(report, run, "web1 changes over, and its agent dies in the middle of "
         "it (kill -9)",
         "The data plane is in the kernel and goes on.  The next agent reads "
         "the flows from the pinned maps, sees that their interface is down, "
         "and finishes the move.", crash, at(server, 0))


def finish(report, run):
    title("3. The checksums")
    words, redis, http2, voice = run.clients
    alive = words.running()
    words.kill()
    for client in redis, http2, voice:
        client.stop()
    wrong = [problem for problem in (client.finish() for client in
                                     (redis, http2, voice)) if problem]
    # It ends at the first wrong word, and was running until just now.
    report.check(alive, "the download: every word was compared, none was "
                 "wrong", f"{words.progress} MiB")
    report.check(not wrong and http2.result["sha256"]
                 == http2.result["expected"], "HTTP/2: what came has the "
                 "SHA-256 of what was served", "; ".join(wrong))
    if not wrong:
        note(f"{http2.result['sha256']}  as received, "
             f"{http2.result['received_mib']} MiB")
        note(f"{http2.result['expected']}  as served")
        note(f"redis: {redis.figures()}")
        note(f"call: {voice.figures()}")


def demo(report):
    from migration import lab as lab_module
    from migration.scenarios import Run
    lab = None
    try:
        title("1. Three switches, a client and a server with two uplinks each")
        note(textwrap.dedent(lab_module.__doc__.split("\n\n")[1]))
        start = time.monotonic()
        lab = lab_module.Lab("demo-migration")
        lab.start()
        report.check(True, "switches, controller, agents, servers are up",
                     f"{time.monotonic() - start:.1f} s")
        title("2. h1 downloads, increments a counter in redis, reads an "
              "HTTP/2 stream, and calls web1")
        run = Run(lab, DOWNLOAD_MIB, MIB_PER_S)
        report.check(True, "four connections, each opened once, by unmodified "
                     "clients")
        for line in where(run):
            note(line)
        story(report, run)
        finish(report, run)
        title("4. What h1's agent told of it (salctl events)")
        note(lab.client.must_salctl("events"))
        wrong = lab.down() + lab.leftovers()
        lab = None
        report.check(not wrong, "everything stops and leaves nothing",
                     "; ".join(wrong))
    except (TooLate, RuntimeError, OSError) as error:
        report.check(False, "the demonstration goes on", str(error))
        if lab:
            lab.show_logs()
        return 1
    return 0


def main():
    report = Report()
    before = sandbox.snapshot()
    status = sandbox.run(lambda: demo(report))
    left = sandbox.leftovers(before)
    if status == 130:
        print("interrupted")
        return status
    report.check(not left, "nothing is left on the machine", ", ".join(left))
    passed, failed, _ = report.counts()
    failed += bool(status and not failed)
    print(f"\n{'PASS' if not failed else 'FAIL'}: {passed} passed, "
          f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
