# SPDX-License-Identifier: Apache-2.0
"""The quickstart topology as a regression test.

          h1 (client)
           |
          s1 ---- web1
         /  \\
       s2----s3
        |     |
      web2   web3

One network for all checks, in the order of CHECKS; each check leaves it as it
found it.  `make check-quickstart` runs it in a sandbox (topologies/sandbox.py)
and writes a capture for the dissector's test."""

import hashlib
import ipaddress
import os
import random
import re
import subprocess
import sys
import time

from integration import hostile
from topologies import numbers, quickstart, steps
from topologies.capture import OFS_SAL, Capture, sal_type
from topologies.daemon import ROOT
from topologies.host import DNS_ADDRESS, WEB_PORT
from topologies.load import Download, Load
from topologies.numbers import SAL_PORT
from topologies.quickstart import LONELY, SERVICE, SUFFIX, URL, WEIGHTS
from topologies.salient_net import (API_PORT, CONTROLLER, OPENFLOW_PORT,
                                    RESOLVER)
from topologies.wait import TooLate, until

SEED = int(os.environ.get("SEED", "20120425"))
REFUSED, UNKNOWN_HOST = 7, 6  # curl's exit codes.
BRIEF_BYTES = 3 << 20
LARGE_BYTES = 32 << 20
SLOW_BYTES = 12 << 20         # At nginx's 2 MB/s: some six seconds.


class Failed(Exception):
    """A check failed; the text says how."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


def expect_no_failure(load, since=0.0):
    failed = load.failed(since)
    expect(not failed, f"{len(failed)} of {len(load.results)} requests failed"
           + (f"; first: curl {failed[0]['status']} {failed[0]['error']}"
              if failed else ""))


def more_answers(load, n=60):
    """Waits until the load has had 'n' more answers."""
    target = len(load.results) + n
    until(lambda: len(load.results) >= target, f"{n} more requests end", 30)


def dns(net, name):
    """Response code and addresses that the client's agent answers."""
    return net.get("h1").do(
        sys.executable, f"{ROOT}/tests/integration/dns_query.py", DNS_ADDRESS,
        name).strip()


def make_file(net, name, size):
    """The same pseudo-random file on every server; its SHA-256."""
    data = random.Random(SEED).randbytes(size)
    for server in WEIGHTS:
        with open(f"{net.get(server).run_dir}/www/{name}", "wb") as file:
            file.write(data)
    return hashlib.sha256(data).hexdigest()


def download(net, path, service=SERVICE):
    return Download(net.get("h1"), f"http://{service}.{SUFFIX}/{path}")


# The checks.  Each returns its figure.

def every_request_is_answered_by_weight(net):
    result = steps.ask_many(net, 200)
    expect(not result["failed"], f"{len(result['failed'])} failed: "
           f"{result['failed'][:1]}")
    expect(result["chance"] > steps.SIGNIFICANCE,
           f"{result['answers']}: p = {result['chance']:.2g}")
    return (f"{result['answers']}, chi-square {result['chi']:.2f}, "
            f"p = {result['chance']:.3f}")


def capture_for_the_dissector(net):
    _, port, _ = net.get("h1").switch_port
    with Capture([port]) as capture:
        for _ in range(5):
            steps.must_curl(net, URL)
    capture.write(f"{net.log_dir}/quickstart.pcap")
    kinds = [sal_type(frame, numbers.SAL_PORT)
             for _, _, _, frame in capture.packets]
    net.corpus = [frame[OFS_SAL:] for _, _, _, frame in capture.packets
                  if sal_type(frame, numbers.SAL_PORT)]
    for kind in (numbers.SYN, numbers.SYN_ACK, numbers.DATA):
        expect(kind in kinds, f"no SAL packet of type {kind:#x} was seen")
    return f"{len(net.corpus)} SAL packets"


def server_sees_the_identity_address(net):
    result, _ = steps.timed(net, f"{URL}client", "-4")
    address = result["body"]
    expect(address.startswith("100."), f"it sees {address}")
    return address.strip()


def ipv6_inside(net):
    """curl -6: AAAA, then IPv6 in the SAL, over the network's IPv4."""
    for _ in range(20):
        result, _ = steps.timed(net, f"{URL}client", "-6")
        expect(result["status"] == 0,
               f"curl -6: {result['status']} {result['error']}")
        address = result["body"]
        expect(address.startswith("fd53:414c:1:"), f"it sees {address}")
    result, took = steps.at_once(lambda: steps.timed(
        net, URL.replace(".sal/", ".sal:81/"), "-6"))
    expect(result["status"] == REFUSED and took < steps.AT_ONCE_MS,
           f"port 81: curl {result['status']} after {took:.0f} ms")
    return address.strip()


def names_resolve_to_one_address(net):
    answers = {dns(net, f"{SERVICE}.{SUFFIX}") for _ in range(20)}
    expect(len(answers) == 1, f"{answers}")
    code, address = answers.pop().split()
    expect(code == "0" and address.startswith("198.1"), f"{code} {address}")
    return address


def unknown_name_is_nxdomain(net):
    answer = dns(net, f"nobody.shop.acme.{SUFFIX}")
    expect(answer == "3", f"DNS answered {answer}")
    result, took = steps.at_once(lambda: steps.ask_unknown_name(net))
    expect(result["status"] == UNKNOWN_HOST and took < steps.AT_ONCE_MS,
           f"curl {result['status']} after {took:.0f} ms")
    return f"{took:.0f} ms"


def unknown_port_is_refused(net):
    took = []
    for _ in range(6):  # Whatever server it comes to.
        result, milliseconds = steps.at_once(
            lambda: steps.ask_wrong_port(net))
        took.append(milliseconds)
        expect(result["status"] == REFUSED
               and milliseconds < steps.AT_ONCE_MS,
               f"curl {result['status']} after {milliseconds:.0f} ms")
    return f"at most {max(took):.0f} ms"


def hosts_reach_each_other_without_sal(net):
    h1, web3 = net.get("h1"), net.get("web3")
    ping = h1.attempt("ping", "-c", "2", "-i", "0.2", "-W", "2", web3.IP())
    expect(ping.returncode == 0, ping.stdout)
    result = h1.curl(f"http://{web3.IP()}:{WEB_PORT}/")
    expect(result["body"] == "web3", f"curl {result}")
    return "ping, curl"


def large_answer_arrives_whole(net):
    want = make_file(net, "large", LARGE_BYTES)
    start = time.monotonic()
    got = download(net, "large").finish()
    expect(got == want, f"SHA-256 differs: {got}")
    seconds = time.monotonic() - start
    return f"{LARGE_BYTES >> 20} MB in {seconds:.1f} s, SHA-256 equal"


def link_failure_is_withdrawn(net, server="web3"):
    failure = steps.LinkFailure(net, server)
    try:
        failure.warm_up()
        _, uncached, effective = failure.down()
        count, failed = failure.go_on(100)
        expect(not failed, f"{len(failed)} of {count} failed: {failed[:1]}")
        if server == "web3":
            result, took = steps.at_once(lambda: steps.ask_lonely(net))
            expect(result["status"] == REFUSED and took < steps.AT_ONCE_MS,
                   f"{LONELY}: curl {result['status']}, {took:.0f} ms")
        _, served = failure.up()
    finally:
        net.set_link(failure.interface, "up")
        failure.load.stop()
    expect_no_failure(failure.load, failure.effective)
    return (f"no flow leads there after {uncached:.0f} ms, for certain after "
            f"{effective:.0f} ms, serves again "
            f"{served:.0f} ms after the link is back")


def local_link_failure_is_withdrawn(net):
    return link_failure_is_withdrawn(net, "web1")


def weight_changes_reach_the_switches(net):
    web1 = net.get("web1")
    load = Load(net.get("h1"), URL)
    try:
        web1.register(SERVICE, weight=0)
        until(lambda: not net.in_service_rules(web1), "web1 is drained")
        net.ovs.appctl("revalidator/wait")
        drained = time.monotonic()
        more_answers(load, 100)
        answers = load.by_body(drained)
        expect("web1" not in answers, f"{answers} after weight 0")
        web1.register(SERVICE, weight=WEIGHTS["web1"])
        until(lambda: load.by_body(drained).get("web1"), "web1 serves again")
    finally:
        load.stop()
    expect_no_failure(load)
    return f"{len(load.results)} requests, none failed"


def unregistered_service_vanishes(net):
    web2 = net.get("web2")
    name = "brief.shop.acme"
    took = r"confirmed by the switches in \d+ us"
    said = web2.register(name, weight=1)
    expect(re.search(took, said), said)
    until(lambda: steps.curl(net, name)["body"] == "web2", f"{name} serves")
    said = web2.unregister(name)
    expect(re.search(took, said), said)
    until(lambda: steps.curl(net, name)["status"] == UNKNOWN_HOST,
          f"{name} is unknown again")
    return "served, then NXDOMAIN"


def agent_stops_without_a_trace(net):
    web2 = net.get("web2")
    load = Load(net.get("h1"), URL)
    try:
        more_answers(load)
        start = time.monotonic()
        status = web2.agent.stop()
        took = time.monotonic() - start
        expect(status == 0, f"exit status {status}")
        left = web2.agent_traces()
        expect(not left, "; ".join(left))
        expect(not net.in_service_rules(web2), "switches still send to web2")
        more_answers(load)
        web2.start_agent()
        until(lambda: net.in_service_rules(web2) == net.switches,
              "web2 is back", 20)
    finally:
        load.stop()
    expect_no_failure(load)
    return f"{took * 1e3:.0f} ms, {len(load.results)} requests, none failed"


def a_stop_lets_open_connections_end(net):
    """A transfer that ends within the agent's stop_timeout is not cut."""
    want = make_file(net, "slow", BRIEF_BYTES)
    web3 = net.get("web3")
    transfer = download(net, "slow/slow", LONELY)
    try:
        transfer.wait_begun()
        start = time.monotonic()
        status = web3.agent.stop()
        took = time.monotonic() - start
        got = transfer.finish()
        left = web3.agent_traces()
    finally:
        web3.start_agent()
    net.wait_ready(SERVICE, list(WEIGHTS))
    expect(got == want, f"the transfer broke: {got}")
    expect(status == 0 and not left, f"exit status {status}, {left}")
    return f"transfer of {BRIEF_BYTES >> 20} MB intact, stopped in {took:.1f} s"


def server_agent_dies_and_returns(net):
    """kill -9 of a server's sald: neither an established transfer nor new
    requests notice."""
    want = make_file(net, "slow", SLOW_BYTES)
    victim = net.get("web3")
    transfer = download(net, "slow/slow", LONELY)  # Certain to be web3's.
    load = Load(net.get("h1"), URL)
    try:
        transfer.wait_begun()
        victim.agent.kill()
        more_answers(load, 100)
        expect(load.by_body().get("web3"), "web3 does not answer meanwhile")
        victim.start_agent()
        victim.wait_agent()
        more_answers(load)
        got = transfer.finish()
    finally:
        load.stop()
        if not victim.agent.alive():
            victim.start_agent()
    expect(got == want, f"the transfer broke: {got}")
    expect_no_failure(load)
    return (f"transfer of {SLOW_BYTES >> 20} MB intact, "
            f"{len(load.results)} requests, none failed")


def client_agent_dies_and_returns(net):
    want = make_file(net, "slow", SLOW_BYTES)
    h1 = net.get("h1")
    _, address = dns(net, f"{SERVICE}.{SUFFIX}").split()
    transfer = download(net, "slow/slow")
    try:
        transfer.wait_begun()
        h1.agent.kill()
        for _ in range(20):  # No DNS now, but the data plane is there.
            result = h1.curl(f"http://{address}/")
            expect(result["status"] == 0, f"curl {result['status']} "
                   f"{result['error']} while sald is dead")
        h1.start_agent()
        h1.wait_agent()
        got = transfer.finish()
    finally:
        if not h1.agent.alive():
            h1.start_agent()
    expect(got == want, f"the transfer broke: {got}")
    until(lambda: steps.curl(net, SERVICE)["status"] == 0, "names resolve")
    return f"transfer of {SLOW_BYTES >> 20} MB and new connections live on"


def controller_dies_and_returns(net):
    """kill -9 and restart: traffic goes on, and not one rule is written."""
    load = Load(net.get("h1"), URL)
    try:
        more_answers(load)
        killed = time.monotonic()
        net.salient_controller.kill()
        more_answers(load, 100)
        start = time.monotonic()
        net.start_controller()
        net.wait_in_sync()
        took = time.monotonic() - start
        more_answers(load, 100)
    finally:
        load.stop()
    expect_no_failure(load)
    expect(net.since_rule_change() > time.monotonic() - killed,
           "rules were written")
    expect(net.weights(SERVICE) == WEIGHTS, f"{net.weights(SERVICE)}")
    return (f"in sync after {took:.1f} s, no rule written, "
            f"{len(load.results)} requests, none failed")


def recompute_equals_incremental(net):
    answer = net.ask_controller("recompute", "--check")
    expect(answer == {"equal": True}, f"{answer}")
    return "equal"


def hostile_packets_change_nothing(net):
    """Mutated and forged SAL packets to hosts and resolver while the load
    and a transfer go on."""
    want = make_file(net, "slow", SLOW_BYTES)
    corpus = f"{net.log_dir}/corpus.hex"
    with open(corpus, "w", encoding="ascii") as file:
        file.write("\n".join(packet.hex() for packet in net.corpus))
    transfer = download(net, "slow/slow")
    load = Load(net.get("h1"), URL)
    attacker = net.get("web2")
    try:
        transfer.wait_begun()
        sent = attacker.do(sys.executable, f"{ROOT}/tests/integration/hostile.py",
                           "udp", str(SEED), "4000", corpus,
                           net.get("h1").IP(), net.get("web1").IP(),
                           net.get("web3").IP(), RESOLVER)
        more_answers(load)
        got = transfer.finish()
    finally:
        load.stop()
    expect(got == want, f"SEED={SEED}: the transfer broke: {got}")
    expect_no_failure(load)
    for daemon in net.daemons():
        expect(daemon.alive(), f"SEED={SEED}: {daemon.name} died")
    return f"{sent.strip()} packets, {len(load.results)} requests, none failed"


def a_host_can_only_be_itself(net):
    """Packets with another host's source address end at the edge switch."""
    attacker, victim = net.get("web2"), net.get("h1")
    _, port, _ = victim.switch_port

    def arrived(source):
        with Capture([port]) as capture:
            attacker.do(sys.executable,
                        f"{ROOT}/tests/integration/hostile.py", "spoof",
                        source, victim.IP(), "20")
            # What comes behind the spoofed ones says that they are through.
            attacker.do("ping", "-c", "1", "-W", "5", victim.IP())
            return sum(hostile.MARKER in frame
                       for _, _, _, frame in capture.packets)

    own, forged = arrived(attacker.IP()), arrived(net.get("web1").IP())
    expect(own == 20, f"of its own {own} of 20 arrived")
    expect(forged == 0, f"{forged} of 20 spoofed packets arrived")
    return "20 of 20 packets of its own arrive, 0 of 20 as web1"


def nobody_can_use_anothers_identity(net):
    """web2 sends SYNs to web1 from where it is; inside is its own identity
    address, then h1's.  web1 answers the first only."""
    attacker, server = net.get("web2"), net.get("web1")
    known = {host["name"]: host
             for host in net.ask_controller("show", "hosts")}
    mine, hers = known["web2"], known["h1"]
    mine_id, her_id = mine["endpoint_id"], hers["endpoint_id"]
    service = next(service for service
                   in net.ask_controller("show", "services")["services"]
                   if service["name"] == SERVICE)
    prefix = service["prefix"].split("/")[0][2:]

    def identity_v6(host):
        return net.get(host["name"]).salctl("status")["identity_address_v6"]

    def refused():
        return server.salctl("show", "counters")["datapath"]["in_identity"]

    def answered(source, endpoint, address=service["service_v4"], port=50000):
        return int(attacker.do(
            sys.executable, f"{ROOT}/tests/integration/forger.py",
            attacker.uplink, attacker.IP(), server.IP(), prefix, address,
            source, endpoint, "10", str(port)))

    # service_address_v6() of ofp-ext/service_id.h.
    service_v6 = str(ipaddress.IPv6Address(
        ipaddress.ip_address("fd53:414c:2::").packed[:6] + hashlib.blake2b(
            bytes.fromhex(prefix) + b"\0\xc0", digest_size=16).digest()[:10]))
    expect(answered(mine["identity_v4"], mine_id) == 10,
           "web2 is not answered as itself")
    expect(answered(identity_v6(mine), mine_id, service_v6) == 10,
           "web2 is not answered as itself over IPv6")
    for source, endpoint, address, port in (
            (hers["identity_v4"], mine_id, service["service_v4"], 50000),
            (hers["identity_v4"], her_id, service["service_v4"], 50000),
            (hers["identity_v4"], her_id, service["service_v4"], SAL_PORT),
            (hers["identity_v4"], "00" * 16, service["service_v4"], 50000),
            (identity_v6(hers), mine_id, service_v6, 50000),
            (identity_v6(hers), her_id, service_v6, 50000)):
        before = refused()
        heard = answered(source, endpoint, address, port)
        expect(not heard, f"{heard} of 10 SYNs as {source} were answered")
        count = refused() - before
        expect(count >= 10, f"{count} of 10 SYNs as {source} were counted")
    result, _ = steps.timed(net, URL)
    expect(result["status"] == 0, "h1 itself is not served")
    return "20 of 20 SYNs as itself answered, 0 of 60 as h1, all counted"


def garbage_to_the_controller_is_survived(net):
    load = Load(net.get("h1"), URL)
    script = f"{ROOT}/tests/integration/hostile.py"
    try:
        streams = [subprocess.Popen(
            [sys.executable, script, "tcp", str(SEED), host, str(port), kind],
            stdout=subprocess.PIPE, text=True)
            for host, port, kind in (("127.0.0.1", OPENFLOW_PORT, "openflow"),
                                     (CONTROLLER, API_PORT, "api"))]
        closed = [stream.communicate(timeout=60)[0].strip()
                  for stream in streams]
        more_answers(load)
    finally:
        load.stop()
    expect_no_failure(load)
    expect(net.salient_controller.alive(), f"SEED={SEED}: it died")
    expect(net.weights(SERVICE) == WEIGHTS, f"SEED={SEED}: it forgot")
    expect(closed == ["9 of 9", "9 of 9"], f"SEED={SEED}: closed only "
           f"OpenFlow {closed[0]}, API {closed[1]}")
    return f"closed: OpenFlow {closed[0]}, API {closed[1]}"


CHECKS = [
    every_request_is_answered_by_weight,
    capture_for_the_dissector,
    server_sees_the_identity_address,
    ipv6_inside,
    names_resolve_to_one_address,
    unknown_name_is_nxdomain,
    unknown_port_is_refused,
    hosts_reach_each_other_without_sal,
    large_answer_arrives_whole,
    link_failure_is_withdrawn,
    local_link_failure_is_withdrawn,
    weight_changes_reach_the_switches,
    unregistered_service_vanishes,
    agent_stops_without_a_trace,
    a_stop_lets_open_connections_end,
    server_agent_dies_and_returns,
    client_agent_dies_and_returns,
    controller_dies_and_returns,
    recompute_equals_incremental,
    hostile_packets_change_nothing,
    a_host_can_only_be_itself,
    nobody_can_use_anothers_identity,
    garbage_to_the_controller_is_survived,
    every_request_is_answered_by_weight,
]


def chosen():
    """CHECKS, or those whose names contain one of $ONLY's words."""
    only = os.environ.get("ONLY", "").split()
    return [check for check in CHECKS
            if not only or any(word in check.__name__ for word in only)
            or check is capture_for_the_dissector]


def run(report):
    net = None
    try:
        start = time.monotonic()
        net = quickstart.build("check-quickstart")
        quickstart.start(net)
    except (TooLate, RuntimeError, OSError) as error:
        report.check(False, "the network starts", str(error))
        for check in chosen():
            report.skip(check.__name__.replace("_", " "), "no network")
        if net:
            net.show_logs()
        return 1
    report.check(True, "the network starts",
                 f"{time.monotonic() - start:.1f} s")
    for check in chosen():
        name = check.__name__.replace("_", " ")
        start = time.monotonic()
        try:
            figure = check(net)
            report.check(True, name, f"{time.monotonic() - start:5.1f} s  "
                         + figure)
        except (Failed, TooLate, RuntimeError, OSError, ValueError,
                subprocess.SubprocessError) as error:
            report.check(False, name, f"{type(error).__name__}: {error}")
    wrong = net.down() + net.leftovers()
    report.check(not wrong, "everything stops and leaves nothing",
                 "; ".join(wrong))
    return 0
