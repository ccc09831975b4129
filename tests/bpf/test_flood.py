#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Floods, with flows that were there before:

        10.0.0.1       10.0.0.2       10.0.0.3           10.0.0.4
        client         server         attacker           newcomer
        100.64.0.1     100.64.0.2     raw frames,        100.64.0.4
           |              |           spoofed sources       |
           |              |              |                  |
           +--------------+--------------+------------------+
                   br0, a plain Linux bridge

Each kind of flood runs for SECONDS at RATE packets per second while a TCP
connection carries words that are all verified and a UDP flow asks and is
answered.  A flood of SYNs is followed by one of ordinary UDP at the rate that
was reached: what existing flows get then is what they should get when the flood
is of SYNs.  Ratios are printed; that flows survive, that data is right, that
tables and memory are bounded, that each refusal has its reason and that others
can connect meanwhile is asserted.

    test_flood.py BUILD [SECONDS [RATE]]
"""
import json
import os
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from netlab import Lab, wait_for  # noqa: E402
from test_namespaces import CLIENT_RULES, SERVER_RULES, WEB, block  # noqa: E402

HALF_FLOWS_MAX = 16384 + 256  # Each CPU has some free ones in hand.
QUESTION_INTERVAL = 0.02


class Stream(threading.Thread):
    """A TCP connection that carries words for as long as it is let."""

    def __init__(self, client, server):
        super().__init__(daemon=True)
        listener = server.listen(9000)
        self.sender = client.connect(WEB, 90)
        self.receiver, _ = listener.accept()
        listener.close()
        for s in self.sender, self.receiver:
            s.settimeout(30)
        self.blocks = 0
        self.error = None
        self.ended = False
        self.source = threading.Thread(target=self.send, daemon=True)
        self.source.start()
        self.start()

    def send(self):
        i = 0
        while not self.ended:
            self.sender.sendall(block(i))
            i += 1
        self.sender.shutdown(socket.SHUT_WR)

    def run(self):
        buffer = bytearray(65536)
        try:
            while True:
                view, got = memoryview(buffer), 0
                while got < 65536:
                    n = self.receiver.recv_into(view[got:])
                    if not n:
                        return
                    got += n
                if buffer != block(self.blocks):
                    raise AssertionError(f"block {self.blocks} is wrong")
                self.blocks += 1
        except (OSError, AssertionError) as error:
            self.error = error

    def end(self):
        self.ended = True
        self.source.join(30)
        self.join(30)
        assert not self.error, self.error
        assert not self.is_alive(), "the stream hangs"
        self.sender.close()
        self.receiver.close()


class Questions(threading.Thread):
    """A UDP flow: questions, and how many were answered."""

    def __init__(self, client, server):
        super().__init__(daemon=True)
        self.server = server.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("0.0.0.0", 9953))
        self.client = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.connect((WEB, 53))
        self.client.settimeout(1)
        self.asked = self.answered = 0
        self.ended = False
        self.echo = threading.Thread(target=self.answer, daemon=True)
        self.echo.start()
        self.start()

    def answer(self):
        self.server.settimeout(0.2)
        while not self.ended:
            try:
                question, peer = self.server.recvfrom(100)
            except TimeoutError:
                continue
            if question.isdigit():  # Not of the flood.
                self.server.sendto(question, peer)

    def run(self):
        while not self.ended:
            self.asked += 1
            want = b"%d" % self.asked
            self.client.send(want)
            try:
                while self.client.recv(100) != want:
                    pass
                self.answered += 1
            except OSError:
                pass
            time.sleep(QUESTION_INTERVAL)

    def end(self):
        self.ended = True
        self.join(5)
        self.echo.join(5)
        self.client.close()
        self.server.close()


def mac_of(host):
    link, = json.loads(host.run("ip", "-j", "link", "show", "eth0"))
    return link["address"]


class Flooding:
    """An attack, and what the flows that were there got meanwhile."""

    def __init__(self, lab, stream, questions, seconds, rate):
        self.tool = f"{lab.build}/tests/flood"
        self.client, self.server, self.attacker, _ = lab.hosts
        self.stream, self.questions = stream, questions
        self.seconds, self.rate = seconds, rate

    def run(self, kind, *extra, target=None, during=None, rate=None):
        target = target or self.server
        rate = rate or self.rate
        blocks, asked = self.stream.blocks, self.questions.asked
        answered = self.questions.answered
        before = target.dump("counters")
        started = time.monotonic()
        attack = self.attacker.popen(
            self.tool, kind, "eth0", mac_of(target), target.locator,
            str(rate), str(self.seconds), *extra,
            stdout=subprocess.PIPE, text=True)
        if during:
            during()
        sent = int(attack.communicate(timeout=self.seconds + 30)[0])
        took = time.monotonic() - started
        after = target.dump("counters")
        result = {
            "sent": sent,
            "rate": int(sent / took),
            "gbit": (self.stream.blocks - blocks) * 65536 * 8e-9 / took,
            "asked": self.questions.asked - asked,
            "answered": self.questions.answered - answered,
            "counted": {k: after[k] - before[k] for k in after
                        if after[k] != before[k]}}
        print(f"   {kind:8} {sent / took:9.0f} packets/s; TCP "
              f"{result['gbit']:6.3f} Gbit/s, UDP {result['answered']} of "
              f"{result['asked']}", flush=True)
        assert sent > 0 and result["gbit"] > 0
        assert result["answered"] > 0.9 * result["asked"] - 2, result
        return result


def refused_as(result, *reasons):
    """Nearly all of what was sent was refused, for one of these reasons."""
    counted = sum(result["counted"].get(reason, 0) for reason in reasons)
    assert counted > 0.9 * result["sent"], result


def memory(host):
    """What the maps of 'host' take, in MiB."""
    total = 0
    for name in os.listdir(host.pins):
        shown = subprocess.run(
            ["bpftool", "-j", "map", "show", "pinned", f"{host.pins}/{name}"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            check=False)
        if not shown.returncode:
            total += int(json.loads(shown.stdout)["bytes_memlock"])
    return total / 2**20


def new_connections(clients, server, seconds, results):
    """Whoever wants to connect gets in as well: a SYN sent again is let in."""
    listener = server.listen(8080)
    end = time.monotonic() + seconds
    for client in clients:
        for _ in range(5):
            started = time.monotonic()
            client.connect(WEB, 80, timeout=20).close()
            results.append(time.monotonic() - started)
            if time.monotonic() > end:
                break
    listener.close()


def run(lab, seconds, rate):
    client, server, _, newcomer = lab.hosts
    client.start("100.64.0.1", "resolver", server.locator, *CLIENT_RULES)
    newcomer.start("100.64.0.4", "resolver", server.locator, *CLIENT_RULES)
    server.start("100.64.0.2", "resolver", client.locator, *SERVER_RULES)
    for host in lab.hosts:
        host.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        host.run("sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=0")
    # What is answered to who does not exist goes nowhere, without asking.
    for host in client, server:
        host.run("ip", "route", "add", "10.0.0.0/8", "via", "10.0.0.3")
    before = memory(server)
    stream, questions = Stream(client, server), Questions(client, server)
    flood = Flooding(lab, stream, questions, seconds, rate)
    wait_for(lambda: questions.answered > 20, "answers")
    ids = {f["id"] for host in (client, server) for f in host.flows()}

    print("-- existing flows under a flood of", rate, "packets/s")
    listener = server.listen(8080)
    for kind in "syn", "udp-syn":
        forged = flood.run(kind, "web.shop.acme")
        refused_as(forged, "in_syn", "in_syn_flood")
        status = server.dump("status")
        assert status["half_flows"] <= HALF_FLOWS_MAX, status
        plain = flood.run("udp", rate=forged["rate"])
        print(f"   ratio to ordinary UDP at that rate: "
              f"{forged['gbit'] / plain['gbit']:.3f}")
    listener.close()
    status = server.dump("status")
    assert status["half_flows"] <= HALF_FLOWS_MAX, status
    assert status["flows"] == len(server.flows()) + len(
        server.flows(protocol=17)), status

    print("-- off path: guessed flow IDs and nonces, replays")
    refused_as(flood.run("data"), "in_unknown_flow")
    # Of what is not half open: the daemon's, which asks for a MAC.
    refused_as(flood.run("reset"), "in_passed")
    refused_as(flood.run("syn-ack", "web.shop.acme", target=client),
               "in_unknown_flow")
    flow = next(f for f in server.flows() if f["id"] in ids)
    replay = bytes(42) + bytes.fromhex(
        "10040106" + flow["peer_id"][2:] + flow["id"][2:] + "00040000") + \
        bytes.fromhex("4500002800004000400600000a0000010a000002") + bytes(12) \
        + bytes.fromhex("5010000000000000")
    refused_as(flood.run("replay", "web.shop.acme", replay.hex()),
               "in_wrong_peer")

    print("-- new connections during a flood of SYNs")
    results = []
    flood.run("syn", "web.shop.acme", during=lambda: new_connections(
        [client, newcomer], server, seconds, results))
    print(f"   {len(results)} connections made, in "
          + ", ".join(f"{took:.3f}" for took in results) + " s")
    after = memory(server)
    print(f"   maps of the server: {before:.1f} MiB before, {after:.1f} after")
    assert after < before + 2, "the maps have grown"

    assert ids <= {f["id"] for host in (client, server)
                   for f in host.flows()}, "a flow is gone"
    stream.end()
    questions.end()
    for host in client, server:
        wait_for(lambda h=host: not h.flows(), "flows end")


def main():
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    rate = int(sys.argv[3]) if len(sys.argv) > 3 else 50000
    with Lab(sys.argv[1]) as lab:
        lab.host("client", "10.0.0.1")
        lab.host("server", "10.0.0.2")
        lab.host("attacker", "10.0.0.3")
        lab.host("newcomer", "10.0.0.4")
        run(lab, seconds, rate)
    print("9 floods survived\n1 passed, 0 failed, 0 skipped")


if __name__ == "__main__":
    main()
