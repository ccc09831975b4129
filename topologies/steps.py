# SPDX-License-Identifier: Apache-2.0
"""What the demonstration shows and the regression test checks, as functions
that do it and return figures.  None of them prints."""

import time

from topologies.capture import Capture, sal_type
from topologies.load import Load
from topologies.numbers import SAL_PORT, SYN
from topologies.quickstart import LONELY, SERVICE, SUFFIX, URL, WEIGHTS
from topologies.report import chi_square
from topologies.wait import until

# Chance that a right distribution is called wrong.
SIGNIFICANCE = 1e-6


def ask_many(net, count, jobs=4, progress=None):
    """'count' requests by curl: {"seconds", "failed": [...], "answers":
    {server: n}, "chi", "chance"}."""
    started = time.monotonic()
    load = Load(net.get("h1"), URL, jobs=jobs, count=count)
    while load.running():
        if progress:
            progress(len(load.results))
        time.sleep(0.05)
    load.finish()
    answers = {name: load.by_body().get(name, 0) for name in WEIGHTS}
    statistic, chance = (chi_square(list(answers.values()),
                                    list(WEIGHTS.values()))
                         if sum(answers.values()) else (0, 0))
    return {"seconds": time.monotonic() - started, "failed": load.failed(),
            "count": len(load.results), "answers": answers,
            "chi": statistic, "chance": chance}


def capture_resolution(net, server):
    """Watches the client's switch until a SYN is sent to 'server', which must
    be behind another switch.  Returns (SYN as the client sent it, as the
    second switch received it)."""
    client, target = net.get("h1"), net.get(server)
    _, client_port, _ = client.switch_port
    edge, _, _ = target.switch_port
    first, _, _ = client.switch_port
    between = edge.connectionsTo(first)[0][0].name
    with Capture([client_port, between]) as capture:
        def syn_on_its_way():
            client.curl(URL)
            for _, interface, _, frame in list(capture.packets):
                if (interface == between and sal_type(frame, SAL_PORT)
                        == SYN and ip_dst(frame) == target.IP()):
                    return frame
            return None
        after = until(syn_on_its_way, f"a SYN is sent to {server}", 30)

        # Flow ID and nonce say which one it was when the client sent it; the
        # other interface's packets may be handed to us first.
        def as_it_was_sent():
            for _, interface, _, frame in list(capture.packets):
                if (interface == client_port
                        and sal_type(frame, SAL_PORT) == SYN
                        and frame[46:50] == after[46:50]
                        and frame[66:74] == after[66:74]):
                    return frame
            return None
        before = until(as_it_was_sent, "the client's own SYN is captured", 5)
    return before, after


def ip_dst(frame):
    return ".".join(str(byte) for byte in frame[30:34])


def trace(net, switch, port, frame):
    """ofproto/trace of 'frame'."""
    return net.ovs.appctl("ofproto/trace", switch.name, f"in_port={port}",
                          frame.hex())


class LinkFailure:
    """A server's link goes down under load and returns."""

    def __init__(self, net, server):
        self.net, self.server = net, net.get(server)
        self.interface = self.server.switch_port[1]
        self.load = Load(net.get("h1"), URL)

    def warm_up(self):
        """Waits until the server answers its share."""
        until(lambda: self.load.by_body().get(self.server.name, 0) >= 5,
              f"{self.server.name} answers under load")


    def down(self):
        """Takes the link down and waits until that is effective everywhere.
        Returns milliseconds until the rules are withdrawn, until no cached
        flow of a datapath leads there, until a whole round of revalidation
        has passed since: from then on not even a flow that was being set up
        meanwhile can lead there."""
        start = time.monotonic()
        self.net.set_link(self.interface, "down")
        until(lambda: not self.net.in_service_rules(self.server),
              f"{self.server.name} is withdrawn")
        withdrawn = time.monotonic()
        until(lambda: f"ipv4(dst={self.server.IP()})" not in
              self.net.ovs.appctl("dpctl/dump-flows"),
              f"no cached flow leads to {self.server.name}")
        uncached = time.monotonic()
        self.net.ovs.appctl("revalidator/wait")
        self.effective = time.monotonic()
        return [(when - start) * 1e3
                for when in (withdrawn, uncached, self.effective)]

    def go_on(self, requests):
        """Waits until that many requests started after the withdrawal have
        ended; returns (how many, those that failed)."""
        def started_after():
            return [result for result in list(self.load.results)
                    if result["start"] >= self.effective]
        until(lambda: len(started_after()) >= requests,
              "the load goes on", 60)
        return len(started_after()), self.load.failed(self.effective)

    def up(self):
        """Returns milliseconds until it is in the switches again, and until
        it has answered again."""
        start = time.monotonic()
        self.net.set_link(self.interface, "up")
        until(lambda: self.net.in_service_rules(self.server),
              f"{self.server.name} is back in the switches", 20)
        installed = time.monotonic()
        until(lambda: self.load.by_body(start).get(self.server.name, 0) > 0,
              f"{self.server.name} serves again", 20)
        return (installed - start) * 1e3, (time.monotonic() - start) * 1e3


def ask_unknown_name(net):
    """A name that nobody defined: curl's result and milliseconds."""
    return timed(net, f"http://nobody.shop.acme.{SUFFIX}/")


def ask_lonely(net, options=()):
    return timed(net, f"http://{LONELY}.{SUFFIX}/", *options)


def ask_wrong_port(net):
    return timed(net, f"http://{SERVICE}.{SUFFIX}:81/")


def curl(net, name):
    """One request of the client to service 'name'."""
    return net.get("h1").curl(f"http://{name}.{SUFFIX}/")


def must_curl(net, url):
    """What the server answers; an exception if it does not."""
    result = net.get("h1").curl(url)
    if result["status"] != 0:
        raise RuntimeError(f"{url}: curl {result['status']} {result['error']}")
    return result["body"]


# TCP sends a SYN that nobody answered again after a second.
AT_ONCE_MS = 1000


def at_once(ask):
    """What ask() says, which is to fail at once: result and milliseconds.  It
    may ask three times: the machine is busy now and then, a network that lets
    us wait does so each time."""
    for _ in range(3):
        result, took = ask()
        if took < AT_ONCE_MS:
            break
    return result, took


def timed(net, url, *options):
    result = net.get("h1").curl(url, *options)
    return result, (result["end"] - result["start"]) * 1e3
