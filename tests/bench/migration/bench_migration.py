# SPDX-License-Identifier: Apache-2.0
"""Speed of migration, beside MPTCP on the same two paths:

    h1-eth0 ==== relay, 10 ms each way ==== s1 ----+
                                                   +---- s3 ---- web1-eth0
    h1-eth1 ==== relay, 10 ms each way ==== s2 ----+

bench_migration.py [PART...], parts: failover, mptcp, planned, flows, forged,
balance.
Prints "bench NAME VALUE UNIT" lines and writes build/bench/migration.json.
"""

import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [ROOT, f"{ROOT}/tests", HERE]

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.capture import OFS_SAL, Capture, sal_type
from topologies.daemon import BUILD, sh
from topologies.numbers import SAL_PORT
from topologies.report import note, title
from topologies.wait import TooLate, until
from migration import clients
from migration.lab import run_in
from delayed_lab import DelayedLab, Watch

ROUNDS = 7
DELAY_MS = 10
FLOWS = (1, 1000, 10000)
MIB_PER_S = 5
N_DOWNLOADS = 8
RSYN, RSYN_ACK = 0x13, 5
OFS_IPV4_DST = 14 + 16
CHALLENGE_LEN = 200  # Frames with a challenge are longer than a confirmation.

figures = []


def bench(name, value, unit):
    figures.append({"name": name, "value": round(value, 3), "unit": unit})
    print(f"bench {name} {value:.3f} {unit}", flush=True)


def spread(values):
    return (f"{min(values):.1f} to {max(values):.1f}, median "
            f"{statistics.median(values):.1f}, {len(values)} times")


def median(name, values, unit="ms"):
    bench(name, statistics.median(values), unit)


def at(lab, i):
    """All flows of the client leave by uplink number 'i'; the server knows."""
    address = lab.client.address(i)
    return (all(flow["own_locator"] == address
                for flow in lab.client.flows())
            and all(flow["peer_locator"] == address
                    for flow in lab.server.flows()))


def quiet(words, moment):
    """A second after 'moment', which gaps are counted in, has passed."""
    until(lambda: words.progress_at > moment + 1.2 or not words.running(),
          "the download goes on", 60)


def back(lab):
    """The client's first uplink is up, seen by the network, and in use."""
    lab.client.set_uplink(0, "up")
    lab.wait_uplinks()
    migrate(lab, 1, 0)


def migrate(lab, source, target):
    names = lab.client.uplinks
    if not at(lab, target):
        try:
            lab.client.must_salctl("migrate", "interface", names[source],
                                   "--to", names[target], "--wait")
        except RuntimeError:
            # While we looked at thousands of flows they went by themselves.
            if not at(lab, target):
                raise
    until(lambda: at(lab, target), f"the flows are at {names[target]}", 20)


def failover(lab):
    """Interface down: from the kernel's event to the first DATA that leaves by
    the other one, and what TCP and UDP make of it."""
    title("The client's interface goes down, the other path is there")
    words = clients.Words(lab, 4096, MIB_PER_S)
    voice = clients.Voice(lab)
    words.goes_on()
    watch = Watch(lab.client, lab.client.uplinks[1], "salient")
    moments = []
    for _ in range(ROUNDS):
        moments.append(time.monotonic())
        lab.client.set_uplink(0, "down")
        until(lambda: at(lab, 1), "the flows have moved", 30)
        quiet(words, moments[-1])
        back(lab)
        quiet(words, time.monotonic())
    watch.stop()
    first_out, first_in = ([watch.after(moment, key) for moment in moments]
                           for key in ("first_out", "first_in"))
    tcp = [words.longest_gap(moment, moment + 1) for moment in moments]
    udp = [voice.longest_gap(moment, moment + 1) for moment in moments]
    voice.stop()
    wrong = voice.finish()
    words.kill()
    if wrong:
        raise RuntimeError(wrong)
    note(f"first byte out, ms: {spread(first_out)}")
    note(f"first byte in, ms:  {spread(first_in)}")
    note(f"gap of TCP, ms:     {spread(tcp)}")
    note(f"gap of UDP, ms:     {spread(udp)}")
    median("migration.first_byte_ms.rtt20", first_out)
    median("migration.first_byte_in_ms.rtt20", first_in)
    median("migration.tcp_gap_ms", tcp)
    median("migration.udp_gap_ms", udp)
    bench("migration.udp_lost.failover", voice.lost / (ROUNDS * 2),
          "datagrams a move")


def first_subflow_by_first_uplink(lab):
    """A route goes when its interface goes down."""
    lab.client.do("ip", "route", "replace", lab.server.address(0), "dev",
                  lab.client.uplinks[0], "src", lab.client.address(0))


def mptcp(lab, backup):
    """The same download over kernel MPTCP, without Salient."""
    client, server = lab.client, lab.server
    for host in client, server:
        host.do("ip", "mptcp", "endpoint", "flush")
        host.do("ip", "mptcp", "limits", "set", "subflow", "2",
                "add_addr_accepted", "2")
    client.do("ip", "mptcp", "endpoint", "add", client.address(1), "dev",
              client.uplinks[1], "subflow", *(["backup"] if backup else []))
    client.attempt("ip", "rule", "add", "from", client.address(1), "table",
                   "101")
    client.do("ip", "route", "replace", "10.0.0.0/16", "dev",
              client.uplinks[1], "table", "101")
    serving = run_in(server, [f"{BUILD}/tests/words", "serve", "7200",
                              "mptcp"])
    until(lambda: ":7200 " in server.do("ss", "-tln"), "words listens")

    class Plain(clients.Words):
        def command(self, address, port, mib=1024, rate=60):
            return [f"{BUILD}/tests/words", "fetch", server.address(0),
                    "7200", str(mib), f"rate={rate}", "mptcp"]
    first_subflow_by_first_uplink(lab)
    words = Plain(lab, 4096, MIB_PER_S)
    try:
        words.goes_on()
        until(lambda: "subflows:1" in client.do("ss", "-tMni") or
              client.do("ss", "-tn", "dst", server.address(0)).count(
                  ":7200") >= 2, "MPTCP has its second subflow")
        gaps = []
        for _ in range(ROUNDS):
            moment = time.monotonic()
            client.set_uplink(0, "down")
            until(lambda: words.progress_at > moment + 1, "MPTCP goes on", 60)
            gaps.append(words.longest_gap(moment, moment + 1))
            client.set_uplink(0, "up")
            lab.wait_uplinks()
            client.do("ip", "mptcp", "endpoint", "flush")
            words.kill()
            client.do("ip", "mptcp", "endpoint", "add", client.address(1),
                      "dev", client.uplinks[1], "subflow",
                      *(["backup"] if backup else []))
            first_subflow_by_first_uplink(lab)
            words = Plain(lab, 4096, MIB_PER_S)
            words.goes_on()
        return gaps
    finally:
        words.kill()
        serving.kill()
        serving.wait()
        client.do("ip", "mptcp", "endpoint", "flush")
        client.attempt("ip", "rule", "del", "table", "101")
        client.attempt("ip", "route", "del", server.address(0))


def beside_mptcp(lab):
    title("MPTCP, kernel, on the same two paths")
    best = None
    for backup, name in ((False, "both paths in use"),
                         (True, "the second one as a backup")):
        gaps = mptcp(lab, backup)
        note(f"{name}: gap, ms: {spread(gaps)}")
        value = statistics.median(gaps)
        best = value if best is None else min(best, value)
        bench("migration.tcp_gap_ms.mptcp_backup" if backup
              else "migration.tcp_gap_ms.mptcp_both", value, "ms")
    bench("migration.tcp_gap_ms.mptcp", best, "ms")


def planned(lab):
    """Told to move, both paths being up: make before break."""
    title("The client is told to move, both paths being up")
    words = clients.Words(lab, 4096, MIB_PER_S)
    voice = clients.Voice(lab)
    words.goes_on()
    moments = []
    for i in range(2 * ROUNDS):
        moments.append(time.monotonic())
        migrate(lab, i % 2, (i + 1) % 2)
        quiet(words, moments[-1])
    tcp = [words.longest_gap(moment, moment + 1) for moment in moments]
    udp = [voice.longest_gap(moment, moment + 1) for moment in moments]
    voice.stop()
    wrong = voice.finish()
    words.kill()
    if wrong:
        raise RuntimeError(wrong)
    note(f"gap of TCP, ms: {spread(tcp)} (5 and less count as 0)")
    note(f"gap of UDP, ms: {spread(udp)} (40 and less count as 0)")
    note(voice.figures())
    median("migration.tcp_gap_ms.planned", tcp)
    bench("migration.udp_lost", voice.lost, "datagrams")


def flows(lab):
    """Many flows to one peer, moved by one event: from the kernel's event to
    the peer's confirmation, when both data planes have changed over."""
    title("Many flows move because the interface goes down; no delay")
    lab.delay(0)
    for n in FLOWS:
        many = subprocess.Popen(lab.client.inside(
            [f"{BUILD}/tests/many", "open", lab.service_address["many"],
             "7100", str(n)]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)
        try:
            line = many.stdout.readline()
            if line != f"{n} open\n":
                raise RuntimeError(f"{n} connections: {line}")
            until(lambda: sum(group["flows"] for group in
                              lab.client.groups()) >= n
                  and sum(group["flows"] for group in
                          lab.server.groups()) >= n,
                  f"the daemons know of {n} flows", 30)
            took = [move_many(lab, many, n) for _ in range(3)]
        finally:
            many.kill()
            many.wait()
        note(f"{n} flows, ms: {spread(took)}")
        median({1: "migration.flows_1_ms", 1000: "migration.flows_1k_ms",
                10000: "migration.flows_10k_ms"}[n], took)
        # A RST may get lost, and the server be left with its end.  UDP has no
        # end.
        until(lambda: not any(flow["inner"]["protocol"] == 6
                              for flow in lab.client.flows()),
              "the flows end", 60)
    lab.delay(DELAY_MS)


def move_many(lab, many, n):
    """Milliseconds."""
    watch = Watch(lab.client, lab.client.uplinks[1], "salient")
    lab.client.set_uplink(0, "down")
    until(lambda: at(lab, 1), "the flows have moved", 30)
    many.stdin.write("\n")
    many.stdin.flush()
    answer = many.stdout.readline()
    if not answer.startswith(f"{n} answered in"):
        raise RuntimeError(answer)
    watch.stop()
    confirmed = next(line["control_in"] for event in watch.events
                     for line in event["control"]
                     if line["type"] == RSYN_ACK
                     and line["len"] < CHALLENGE_LEN)
    back(lab)
    return (confirmed - watch.events[0]["event_at"]) * 1e3


def forged(lab):
    """Processor time of the daemon for an RSYN that is not what it claims."""
    title("RSYNs that lie")
    words = clients.Words(lab, 4096, MIB_PER_S)
    words.goes_on()
    port = lab.server.cable(0).name
    there = socket.inet_aton(lab.server.address(0))

    def announced():
        """RSYNs to the server; it may send some itself."""
        return [frame for _, _, _, frame in list(capture.packets)
                if sal_type(frame, SAL_PORT) == RSYN
                and frame[OFS_IPV4_DST:OFS_IPV4_DST + 4] == there]
    with Capture([port]) as capture:
        migrate(lab, 0, 1)
        migrate(lab, 1, 0)
        until(announced, "an RSYN passes")
    real = announced()[0]
    for name, frame in (("replayed", real), ("forged", spoil(real))):
        cost = cost_of(lab, port, frame)
        bench(f"migration.{name}_rsyn_us", cost, "us")
    words.goes_on()
    words.kill()


def spoil(frame):
    """Another sequence number and nonce, so that it looks new; the MAC does not
    fit.  The SAL checksum does."""
    sal = bytearray(frame[OFS_SAL:])
    sal[16:20] = (int.from_bytes(sal[16:20], "big") + 5).to_bytes(4, "big")
    sal[24:32] = os.urandom(8)
    sal[14:16] = bytes(2)
    length = sal[1] * 4
    total = sum(struct.unpack(f"!{length // 2}H", sal[:length]))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    sal[14:16] = (~total & 0xffff).to_bytes(2, "big")
    return frame[:OFS_SAL] + bytes(sal)


def cost_of(lab, port, frame, n=20000):
    """Microseconds of the server's daemon for each copy of 'frame' that it
    received."""
    def spent():
        folder = f"/proc/{lab.server.agent.process.pid}/task"
        total = 0
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1e3

    def received():
        counters = lab.server.salctl("show", "counters")["agent"]
        return counters["migration_received"]

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((port, 0))
        # What the daemon does anyway, while the download goes on.
        start, idle_from = time.monotonic(), spent()
        time.sleep(2)
        idle = (spent() - idle_from) / (time.monotonic() - start)
        start, before, seen = time.monotonic(), spent(), received()
        for i in range(n):
            raw.send(frame)
            if i % 50 == 49:
                time.sleep(0.003)  # Its socket holds some hundred.
        until(lambda last=[None]: last[0] == received()
              or last.__setitem__(0, received()), "it has caught up",
              interval=0.2)
        count = received() - seen
        cost = spent() - before - idle * (time.monotonic() - start)
    note(f"{count} of {n} reached the daemon")
    if not count:
        raise RuntimeError("none reached the daemon")
    return cost / count


def balance(lab):
    """The experiment of Serval's paper: n downloads, all by one of two uplinks
    of 40 Mbit/s; then the agent may even the load."""
    title("Downloads over two uplinks, of 40 Mbit/s each")
    lab.delay(0)
    for i in range(2):
        sh("tc", "qdisc", "add", "dev", lab.client.cable(i).name, "root",
           "tbf", "rate", "40mbit", "burst", "64kb", "latency", "50ms")
    everybody = [clients.Words(lab, 4096, 0) for _ in range(N_DOWNLOADS)]
    for client in everybody:
        client.goes_on()

    def measure(seconds=5):
        before = sum(client.progress for client in everybody)
        start = time.monotonic()
        time.sleep(seconds)
        rate = ((sum(client.progress for client in everybody) - before)
                * 8.388608 / (time.monotonic() - start))
        there = sum(flow["own_locator"] == lab.client.address(1)
                    for flow in lab.client.flows())
        note(f"{N_DOWNLOADS - there} by {lab.client.uplinks[0]}, {there} by "
             f"{lab.client.uplinks[1]}: {rate:.1f} Mbit/s together")
        return rate
    one = measure()
    lab.client.uplink_list = ("[{name: h1-eth0, priority: 1}, "
                              "{name: h1-eth1, priority: 1}]")
    lab.client.options = "balance_interval: 1s"
    lab.client.reload()
    # Downloads are not equally fast: it is the load that is evened, not their
    # number.
    until(lambda: sum(flow["own_locator"] == lab.client.address(1)
                      for flow in lab.client.flows()) >= N_DOWNLOADS // 4,
          "the load is even", 30)
    both = measure()
    wrong = [client for client in everybody if not client.running()]
    for client in everybody:
        client.kill()
    if wrong:
        raise RuntimeError(f"{len(wrong)} downloads broke")
    bench("migration.balance_mbit.one_uplink", one, "Mbit/s")
    bench("migration.balance_mbit.evened", both, "Mbit/s")


def main():
    wanted = sys.argv[1:]

    def inside():
        return run(wanted)
    status = sandbox.run(inside)
    return status


def run(wanted):
    lab = DelayedLab("bench-migration")
    # Flows go back when they are told to, and not while that is being said.
    lab.client.options = "migration: {hysteresis: 60s}"
    try:
        lab.start()
        lab.put_relays()
        lab.delay(DELAY_MS)
        lab.wait_uplinks()
        for i in range(2):
            least, average = lab.ping(i)
            note(f"ping by {lab.client.uplinks[i]}: at least {least:.1f} ms, "
                 f"{average:.1f} on average")
            if least < 2 * DELAY_MS:
                raise RuntimeError("the relay does not delay")
        bench("migration.ping_ms.rtt20", average, "ms")
        for name, part in PARTS.items():
            if not wanted or name in wanted:
                part(lab)
    except (TooLate, RuntimeError, OSError) as error:
        lab.show_logs()
        print(f"bench-migration: {error}", file=sys.stderr)
        return 1
    finally:
        os.makedirs(f"{BUILD}/bench", exist_ok=True)
        with open(f"{BUILD}/bench/migration.json", "w",
                  encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
        lab.down()
    return 0


PARTS = {"failover": failover, "mptcp": beside_mptcp, "planned": planned,
         "flows": flows, "forged": forged, "balance": balance}

if __name__ == "__main__":
    sys.exit(main())
