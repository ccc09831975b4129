# SPDX-License-Identifier: Apache-2.0
"""Sessions with switches: TLS, roles, and switches that are not what they
should be.

             A    B           two controllers (B from the step on roles)
           /   \\/   \\
    h1 -- s1 ------ s2 -- w2   of the private Open vSwitch; s2 by TLS

Each step needs what the ones before it left.  ONLY=name runs up to the step
of that name."""

import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import sandbox
from topologies.daemon import BUILD, RUN, Daemon, sh, write
from topologies.wait import until
from tests.controller import control
from tests.controller.network import CONTROL, OPENFLOW_PORT, Network
from tests.controller.proxy import Answer, Proxy
from tests.controller.stock_switch import StockSwitch
from tests.controller.steps import run_suite

TLS_PORT, OTHER_PORT, PROXY_PORT, METRICS_PORT = 6655, 6656, 6657, 9634
KEYS = f"{RUN}/keys"
B_CONTROL, B_API = f"{RUN}/b.sock", f"unix:{RUN}/b-api.sock"
SERVICE = "web.shop.acme"
CONFIG = f"""\
openflow:
  listen: ["tcp:127.0.0.1:{OPENFLOW_PORT}", "tls:127.0.0.1:{TLS_PORT}"]
  tls: {{certificate: {KEYS}/a.pem, private_key: {KEYS}/a.key,
         ca: {KEYS}/ca.pem}}
  role: master
  confirm_timeout: 2s
  echo_interval: 2s
  echo_timeout: 2s
  forget_switch: 2s
api:
  listen: ["unix:{RUN}/api.sock"]
control: {CONTROL}
link_probe_interval: 1s
link_timeout: 4s
host_probe_interval: 200ms
host_timeout: 100s
hold_time: 6s
metrics: 127.0.0.1:{METRICS_PORT}
"""
HELLO, OPENFLOW_ERROR, PORT_MOD, BARRIER_REQUEST, BARRIER_REPLY = (
    0, 1, 16, 20, 21)
ROLE_REQUEST, ROLE_REPLY, BUNDLE_CONTROL, BUNDLE_ADD = 24, 25, 33, 34
GROUP_MOD, OUT_OF_GROUPS = 15, (6, 3)
COMMIT_REQUEST = 4


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def make_keys():
    """Two authorities; the second one's 'thief' must not get in."""
    os.makedirs(KEYS, mode=0o700)
    for ca, names in (("ca", ("a", "switch")), ("other", ("thief",))):
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
           "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
           f"/CN={ca}", "-keyout", f"{KEYS}/{ca}.key", "-out",
           f"{KEYS}/{ca}.pem")
        for name in names:
            sh("openssl", "req", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
               "-keyout", f"{KEYS}/{name}.key", "-out", f"{KEYS}/{name}.csr")
            sh("openssl", "x509", "-req", "-in", f"{KEYS}/{name}.csr", "-CA",
               f"{KEYS}/{ca}.pem", "-CAkey", f"{KEYS}/{ca}.key", "-days", "2",
               "-CAcreateserial", "-out", f"{KEYS}/{name}.pem")


def set_ssl(net, name, ca="ca"):
    net.ovs.vsctl("set-ssl", f"{KEYS}/{name}.key", f"{KEYS}/{name}.pem",
                  f"{KEYS}/{ca}.pem")


def controllers(net, switch, *addresses):
    net.ovs.vsctl("set-controller", switch, *addresses)
    for uuid in net.ovs.vsctl("get", "bridge", switch,
                              "controller").strip("[]\n").split(", "):
        net.ovs.vsctl("set", "controller", uuid, "max_backoff=1000")


def switch_of(answer, dpid):
    for switch in answer or []:
        if switch["dpid"] == f"{dpid:016x}":
            return switch
    return {}


def seen(net, dpid):
    return switch_of(net.ask("show", "switches"), dpid)


def log_has(net, words):
    with open(net.daemon.log, encoding="utf-8") as log:
        return words in log.read()


def writes(switch):
    return sum(switch.get(key, 0)
               for key in ("adds", "modifies", "deletes", "rounds"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line for line in status
                        if line.startswith("VmRSS")).split()[1])


# TLS.


def switches_connect_by_tls(net):
    make_keys()
    net.add_switch(1)
    net.add_switch(2)
    set_ssl(net, "switch")
    controllers(net, "s2", f"ssl:127.0.0.1:{TLS_PORT}")
    net.add_link("s1", "s2")
    net.add_host("h1", "s1", "10.0.0.1")
    net.add_host("w2", "s2", "10.0.0.2")
    net.start_controller()
    net.wait_in_sync(2, links=1)
    one, two = seen(net, 1), seen(net, 2)
    expect(one["peer"].startswith("tcp:") and two["peer"].startswith("tls:"),
           f"{one['peer']}, {two['peer']}")
    expect(two["openflow"] == "1.5" and two["role"] == "master", f"{two}")
    net.w2 = net.add_agent("w2", "10.0.0.2")
    net.w2.hear("attachment attached=1")
    heard = net.w2.ask(f"register {SERVICE} 80 1 wait",
                       r"registered confirmed=1 us=(\d+)|error")
    expect(heard[1], heard.string)
    expect(any("10.0.0.2" in flow for flow in net.flows("s2", 10)),
           "confirmed, but not there")
    return f"s1 by TCP, s2 by TLS; registered after {heard[1]} us"


def a_strangers_certificate_is_refused(net):
    net.ovs.vsctl("del-controller", "s2")
    set_ssl(net, "thief")
    controllers(net, "s2", f"ssl:127.0.0.1:{TLS_PORT}")
    until(lambda: log_has(net, "certificate is refused"), "it is refused")
    net.wait_status(switches_connected=1)
    refused = net.ask("show", "status")["switches_refused_by_tls"]
    expect(refused > 0, "it is not counted")
    set_ssl(net, "switch")
    net.wait_in_sync(2, links=1)
    # And one without any: plain TCP to the TLS port, TLS to the plain one.
    controllers(net, "s2", f"tcp:127.0.0.1:{TLS_PORT}")
    net.wait_status(switches_connected=1)
    controllers(net, "s2", f"ssl:127.0.0.1:{OPENFLOW_PORT}")
    until(lambda: log_has(net, "does not speak OpenFlow"), "it is told apart")
    controllers(net, "s2", f"ssl:127.0.0.1:{TLS_PORT}")
    net.wait_in_sync(2, links=1)
    return ""


def other_protocols_are_closed_at_once(net):
    took = []
    for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-x\r\n",
                  b"\x16\x03\x01\x02\x00\x01", b"\x04\x0a\x00\x08\0\0\0\1"):
        with socket.create_connection(("127.0.0.1", OPENFLOW_PORT)) as sock:
            sock.settimeout(5)
            start = time.monotonic()
            sock.sendall(words)
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
            took.append((time.monotonic() - start) * 1e3)
    expect(max(took) < 3000, f"{took}")
    return f"after at most {max(took):.0f} ms"


# Roles.


def start_other(net, role):
    config = CONFIG.replace(str(TLS_PORT), str(TLS_PORT + 100)).replace(
        str(OPENFLOW_PORT), str(OTHER_PORT)).replace(
        str(METRICS_PORT), str(METRICS_PORT + 1)).replace(
        "role: master", f"role: {role}").replace(
        f"unix:{RUN}/api.sock", B_API).replace(CONTROL, B_CONTROL)
    net.other = Daemon("other", [
        f"{BUILD}/bin/salient-controller", "--config",
        write(f"{RUN}/b.yaml", config), "-v", "dbg"], net.log_dir)
    until(lambda: control.call(B_CONTROL, "show", "status"), "B answers")


def wait_other(**wanted):
    last = {}
    def look():
        last.update(control.call(B_CONTROL, "show", "status") or {})
        return all(last.get(k) == v for k, v in wanted.items())
    try:
        until(look, f"B's status {wanted}", 20)
    except Exception as error:
        raise AssertionError(f"{error}; it is {last}") from error


def roles(path):
    return [s.get("role") for s in control.call(path, "show", "switches")]


def a_slave_writes_nothing(net):
    before = {s: net.flows(s) for s in ("s1", "s2")}
    start_other(net, "slave")
    controllers(net, "s1", f"tcp:127.0.0.1:{OPENFLOW_PORT}",
                f"tcp:127.0.0.1:{OTHER_PORT}")
    controllers(net, "s2", f"ssl:127.0.0.1:{TLS_PORT}",
                f"tcp:127.0.0.1:{OTHER_PORT}")
    wait_other(switches_connected=2, switches_standby=2)
    net.wait_in_sync(2, links=1, hosts_attached=1)
    net.w2.ask("register two.shop.acme 80 1 wait", "registered confirmed=1")
    net.w2.ask("unregister two.shop.acme 80 wait", "unregistered confirmed=1")
    for switch in control.call(B_CONTROL, "show", "switches"):
        expect(switch["role"] == "slave" and switch["put"] == "standby"
               and not writes(switch) and not switch["packet_outs"],
               f"{switch}")
    expect({s: net.flows(s) for s in before} == before, "flows differ")
    expect(roles(CONTROL) == ["master"] * 2, f"{roles(CONTROL)}")
    return ""


def the_slave_takes_over(net):
    """A dies; B is told to be master, hears of hosts and links again, and
    has nothing to write."""
    before = {s: net.flows(s) for s in ("s1", "s2")}
    net.daemon.kill()
    net.w2.stop()
    start = time.monotonic()
    control.call(B_CONTROL, "role", "master")
    net.w2 = net.add_agent("w2", "10.0.0.2", B_API)
    net.w2.hear("welcome")
    net.w2.ask(f"register {SERVICE} 80 1 wait", "registered confirmed=1")
    wait_other(switches_in_sync=2, links=1, hosts_attached=1, hold_left_ms=0,
               pending_puts=0)
    took = time.monotonic() - start
    for switch in control.call(B_CONTROL, "show", "switches"):
        expect(switch["role"] == "master" and not writes(switch), f"{switch}")
    expect({s: net.flows(s) for s in before} == before, "flows differ")
    return f"in {took:.1f} s, no rule written"


def the_first_returns_and_the_other_stands_by(net):
    net.start_controller()
    net.wait_status(switches_connected=2, switches_standby=0)
    wait_other(switches_standby=2)
    expect(roles(CONTROL) == ["master"] * 2, f"{roles(CONTROL)}")
    expect(roles(B_CONTROL) == ["slave"] * 2, f"{roles(B_CONTROL)}")
    net.w2.stop()
    net.w2 = net.add_agent("w2", "10.0.0.2")
    net.w2.hear("attachment attached=1")
    net.w2.ask(f"register {SERVICE} 80 1 wait", "registered confirmed=1")
    net.wait_in_sync(2, links=1, hosts_attached=1, hold_left_ms=0)
    return ""


def ask_role(switch, generation):
    """Somebody whose clock is fast becomes master of 'switch'."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{RUN}/ovs/{switch}.mgmt")
        sock.sendall(struct.pack(">BBHI", 6, 0, 8, 1)
                     + struct.pack(">BBHIIIQ", 6, ROLE_REQUEST, 24, 2, 2, 0,
                                   generation))
        sock.settimeout(5)
        data = b""
        while True:
            data += sock.recv(4096)
            while len(data) >= 8:
                kind, length = struct.unpack(">xBH", data[:4])
                if kind in (ROLE_REPLY, OPENFLOW_ERROR):
                    return kind
                data = data[length:]


def a_stale_generation_yields(net):
    future = int(time.time() * 1000) + 3600 * 1000
    expect(ask_role("s1", future) == ROLE_REPLY, "the switch refuses")
    until(lambda: seen(net, 1)["role"] == "slave", "A has heard of it")
    net.wait_status(switches_standby=1)
    # A new connection asks with its old generation, and is refused.
    net.ovs.vsctl("del-controller", "s1")
    net.wait_status(switches_connected=1)
    controllers(net, "s1", f"tcp:127.0.0.1:{OPENFLOW_PORT}",
                f"tcp:127.0.0.1:{OTHER_PORT}")
    until(lambda: seen(net, 1).get("put") == "standby", "A yields")
    expect(seen(net, 1)["role"] == "slave" and log_has(net, "OFPRRFC_STALE"),
           f"{seen(net, 1)}")
    until(lambda: seen(net, 2).get("role") == "master", "but not of s2")
    net.ask("role", "master")
    net.wait_in_sync(2, links=1, hosts_attached=1, hold_left_ms=0,
                     switches_standby=0)
    # A restart insists, whatever the clock says.
    net.daemon.kill()
    net.start_controller()
    net.wait_in_sync(2, links=1, hosts_attached=1, hold_left_ms=0,
                     switches_standby=0)
    expect(roles(CONTROL) == ["master"] * 2, f"{roles(CONTROL)}")
    status = net.other.stop()
    expect(status == 0, f"B's exit status is {status}")
    controllers(net, "s1", f"tcp:127.0.0.1:{OPENFLOW_PORT}")
    controllers(net, "s2", f"ssl:127.0.0.1:{TLS_PORT}")
    net.wait_in_sync(2, links=1, hosts_attached=1, hold_left_ms=0)
    return "and is above it once told so"


# Switches that are not what they should be.


class Liar(StockSwitch):
    """Confirms nothing, or with wrong xids, or everything thrice."""

    def __init__(self, how, dpid, **more):
        self.how = how
        super().__init__(OPENFLOW_PORT, dpid, **more)

    def send(self, kind, xid, body=b""):
        if kind == 21:  # BARRIER_REPLY
            if self.how == "confirms nothing" and self.flow_mods:
                return
            if self.how == "wrong xids" and self.flow_mods:
                xid += 1
        times = 3 if self.how == "repeats" and kind != 0 else 1
        for _ in range(times):
            super().send(kind, xid, body)


def liars_are_found_out(net):
    said = []
    for how in ("confirms nothing", "wrong xids"):
        start = time.monotonic()
        liar = Liar(how, 0x51)
        expect(liar.closed.wait(10), f"{how}: still connected")
        said.append(f"{how}: closed after {time.monotonic() - start:.1f} s")
        expect(log_has(net, "confirms nothing any more"), how)
    liar = Liar("repeats", 0x52)
    until(lambda: seen(net, 0x52).get("in_sync"), "who repeats is in sync")
    liar.stop()
    net.wait_status(switches_known=2, timeout=15)
    net.wait_in_sync(2, links=1)
    return ", ".join(said) + ", repeats: in sync"


def nonsense_within_a_session_ends_it(net):
    """A switch that was in sync sends messages whose header is right and whose
    body is not: packet-ins, port states, answers to nothing."""
    seed = int(os.environ.get("SEED", "20120425"))
    rng = random.Random(seed)
    before = {s: net.flows(s) for s in ("s1", "s2")}
    liar = Liar("talks nonsense", 0x54)
    until(lambda: seen(net, 0x54).get("in_sync"), "it is up")
    sent = 0
    try:
        while not liar.closed.is_set() and sent < 5000:
            # Errors, echos, features, packet-ins, removed flows, port states,
            # multipart, barriers, roles, bundles, what does not exist.
            kind = rng.choice((1, 3, 6, 10, 11, 12, 19, 21, 25, 33, 34, 99))
            liar.send(kind, rng.randrange(1 << 16),
                      rng.randbytes(rng.randrange(0, 200)))
            sent += 1
    except OSError:
        pass
    expect(liar.closed.wait(10), f"SEED={seed}: still there after {sent}")
    expect(log_has(net, "too many malformed messages"), f"SEED={seed}")
    net.wait_status(switches_known=2, timeout=15)
    net.wait_in_sync(2, links=1)
    expect({s: net.flows(s) for s in before} == before,
           f"SEED={seed}: other switches have changed")
    expect(net.ask("recompute", "--check")["equal"], f"SEED={seed}: a full "
           "recompute differs")
    return f"after {sent} messages"


class Deaf(StockSwitch):
    """Reads what it must to come up, then nothing, but goes on talking: echo
    requests, each of which wants an answer of 60 KiB."""

    def __init__(self, dpid):
        self.deaf, self.talked = False, 0
        super().__init__(OPENFLOW_PORT, dpid)

    def _receive(self, n):
        while self.deaf:
            time.sleep(0.01)
            if self.closed.is_set():
                raise OSError("closed")
        return super()._receive(n)

    def talk(self):
        try:
            while True:
                self.send(2, 7, bytes(60000))
                self.talked += 60000
        except OSError:
            self.closed.set()


def a_switch_that_does_not_read_costs_no_memory(net):
    deaf = Deaf(0x53)
    until(lambda: seen(net, 0x53).get("in_sync"), "it is up")
    deaf.deaf = True
    before, start = memory_kib(net.daemon.process.pid), time.monotonic()
    threading.Thread(target=deaf.talk, daemon=True).start()
    most = before
    for i in range(40):  # Something to be told, too.
        net.w2.ask(f"register s{i % 8}.shop.acme 80 1",
                   "registered|unchanged|error")
        most = max(most, memory_kib(net.daemon.process.pid))
    expect(deaf.closed.wait(20), "it is still connected")
    took = time.monotonic() - start
    most = max(most, memory_kib(net.daemon.process.pid))
    expect(most - before < 16 * 1024, f"{before} -> {most} KiB")
    for i in range(8):
        net.w2.ask(f"unregister s{i}.shop.acme 80", "unregistered")
    net.wait_status(switches_known=2, timeout=15)
    net.wait_in_sync(2, links=1)
    return (f"closed after {took:.1f} s, {deaf.talked >> 20} MiB of questions,"
            f" {most - before} KiB more at most")


def a_bundle_that_is_cut_is_repeated(net):
    """The connection breaks between a bundle's rules and its commit, five
    times, or nothing gets through from there on, twice."""
    state = {"armed": "", "stalled": False, "stalls": 0}

    def cut(kind, message):
        if kind == HELLO:
            state["stalled"] = False
        if (state["armed"] and kind == BUNDLE_CONTROL
                and struct.unpack(">H", message[12:14])[0] == COMMIT_REQUEST):
            state["stalled"] = state["armed"] == "stall"
            state["stalls"] += state["stalled"]
            state["armed"] = ""
            if not state["stalled"]:
                return None
        return b"" if state["stalled"] else message
    before = len(net.flows("s1", 10))
    proxy = Proxy(PROXY_PORT, OPENFLOW_PORT, cut)
    controllers(net, "s1", f"tcp:127.0.0.1:{PROXY_PORT}")
    net.wait_in_sync(2, links=1)
    for i in range(7):
        state["armed"] = "cut" if i < 5 else "stall"
        net.w2.ask(f"register cut{i}.shop.acme 80 1 wait",
                   "registered confirmed=1")
        net.wait_in_sync(2, links=1)
    expect(proxy.cuts == 5 and state["stalls"] == 2,
           f"{proxy.cuts} cuts, {state['stalls']} stalls")
    expect(len(net.flows("s1", 10)) == len(net.flows("s2", 10)) == before + 7,
           f"{len(net.flows('s1', 10))} flows")
    for i in range(7):
        net.w2.ask(f"unregister cut{i}.shop.acme 80 wait",
                   "unregistered confirmed=1")
    controllers(net, "s1", f"tcp:127.0.0.1:{OPENFLOW_PORT}")
    proxy.stop()
    net.wait_in_sync(2, links=1)
    expect(net.ask("recompute", "--check"), "a full recompute differs")
    return f"{proxy.cuts} times, and after {state['stalls']} stalls"


def no_room_for_groups(net, version):
    """s1 takes no group: its rules send to ports, nobody is cut off."""
    def refuse(kind, message):
        inner = message[16:] if kind == BUNDLE_ADD else message
        if inner[1] != GROUP_MOD:
            return message
        return Answer(struct.pack(">BBH4s", message[0], OPENFLOW_ERROR,
                                  12 + min(len(inner), 64), inner[4:8])
                      + struct.pack(">HH", *OUT_OF_GROUPS) + inner[:64])
    net.ovs.vsctl("del-controller", "s1")
    net.wait_status(switches_known=1)
    net.ovs.ofctl("del-groups", "s1")  # And the flows that send to them.
    proxy = Proxy(PROXY_PORT, OPENFLOW_PORT, refuse)
    net.ovs.vsctl("set", "bridge", "s1", f"protocols={version}")
    controllers(net, "s1", f"tcp:127.0.0.1:{PROXY_PORT}")
    until(lambda: any("no room for groups" in str(event) for event
                      in net.ask("show", "events", "20")), "it is said")
    net.wait_in_sync(2, links=1, refused_rules=0)
    groups = net.ovs.ofctl("-O", version, "dump-groups", "s1")
    flows = net.ovs.ofctl("-O", version, "--no-names", "dump-flows", "s1",
                          "table=20").splitlines()
    expect("group_id" not in groups and not any(
        "group:" in flow for flow in flows), f"{groups} {flows}")
    expect(any("nw_dst=10.0.0.2" in flow and "output:" in flow
               for flow in flows), f"{flows}")
    expect(net.ask("recompute", "--check"), "a full recompute differs")
    # Once it has been forgotten, it may have room.
    net.ovs.vsctl("del-controller", "s1")
    proxy.stop()
    net.wait_status(switches_known=1)
    net.ovs.vsctl("set", "bridge", "s1", "protocols=OpenFlow15")
    controllers(net, "s1", f"tcp:127.0.0.1:{OPENFLOW_PORT}")
    until(lambda: "group_id" in net.ovs.ofctl("dump-groups", "s1"),
          "groups are back")
    net.wait_in_sync(2, links=1, refused_rules=0)


def a_switch_without_room_for_groups_names_ports(net):
    """One by one, and in bundles."""
    for version in "OpenFlow13", "OpenFlow15":
        no_room_for_groups(net, version)


def a_host_cannot_take_anothers_address(net):
    """Its agent is genuine; its locator is w2's."""
    net.add_host("thief", "s1", "10.0.0.7")
    net.inside("thief", "ip", "address", "flush", "dev", "eth0")
    net.inside("thief", "ip", "address", "add", "10.0.0.2/16", "dev", "eth0")
    net.inside("thief", "ip", "route", "add", "default", "dev", "eth0")
    before = net.flows("s2", 20) | net.flows("s1", 20)
    thief = net.add_agent("thief", "10.0.0.2")
    thief.hear("welcome")
    until(lambda: net.ask("show", "status")["discovery"]
          ["host_probes_refused"] > 0, "it is refused")
    expect(net.flows("s2", 20) | net.flows("s1", 20) == before,
           "rules have changed")
    host = next(h for h in net.ask("show", "topology")["hosts"]
                if h["locator"] == "10.0.0.2")
    expect(host["dpid"].endswith("2"), f"{host}")
    thief.stop()
    return ""


def link_probes_of_hosts_make_no_link(net):
    """Forged ones, and those that the host itself was sent."""
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                            socket.htons(3))  # ETH_P_ALL
    capture.bind(("h1", 0))  # The switch's end: outgoing frames.
    capture.settimeout(5)
    while True:
        frame, where = capture.recvfrom(2048)
        if where[2] == socket.PACKET_OUTGOING and frame[12:14] == b"\x88\xcc":
            break
    write(f"{RUN}/send.py", "import socket, sys\n"
          "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
          "s.bind(('eth0', 0))\n"
          "for i in range(50):\n"
          "    f = bytearray.fromhex(sys.argv[1])\n"
          "    if i % 2: f[20 + i] ^= 1\n"
          "    s.send(f)\n")
    net.inside("h1", sys.executable, f"{RUN}/send.py", frame.hex())
    until(lambda: net.ask("show", "status")["discovery"]
          ["link_probes_forged"] > 0, "the forged ones are counted")
    net.wait_in_sync(2, links=1)
    return ""


FLOOD = """
import os, signal, socket, struct, sys
def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def sal(kind, service):
    header = struct.pack(">BBBBIIBBHIIQ32s", 0x10, 16, kind, 6, 1, 0, 0, 59, 0,
                         0, 0, 1, service)
    return header[:14] + struct.pack(">H", checksum(header)) + header[16:]
def ipv4(payload):
    udp = struct.pack(">HHHH", 6090, 6090, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64,
                       17, 0, source, bytes([10, 255, 255, 254]))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + udp
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mac, source = s.getsockname()[4], socket.inet_aton(sys.argv[1])
ethernet = bytes.fromhex("0253414c0001") + mac
frames = [ethernet + b"\\x08\\x00" + ipv4(sal(0x15, bytes(32))),
          ethernet + b"\\x08\\x00" + ipv4(sal(0x11, os.urandom(32))),
          bytes.fromhex("0180c200000e") + mac + b"\\x88\\xcc" + bytes(60),
          b"\\xff" * 6 + mac + b"\\x08\\x06" + struct.pack(
              ">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, source, bytes(6),
              bytes([10, 0, 0, 99]))]
n = 0
def end(*_):
    print(n, flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
while True:
    for frame in frames:
        s.send(frame)
    n += 3
"""


def add_agent_at(net, name, switch, number):
    net.add_host(name, switch, f"10.0.0.{number}")
    agent = net.add_agent(name, f"10.0.0.{number}")
    agent.hear("attachment attached=1")
    return agent


def a_flooding_host_harms_nobody_else(net):
    """PROBEs, link probes, SYNs to services that nobody serves and ARP, as fast
    as it can, for longer than links and hosts are remembered without a probe.
    Links, attached hosts, registrations and who attaches, there or elsewhere,
    do not notice: each port has limits of its own."""
    probes = 20

    def heard_of():
        return net.ask("show", "status")["discovery"]
    # With limits that even a slow machine's flood exceeds a hundred times.
    reload(net, lambda c: c.replace("host_timeout: 100s", "host_timeout: 7s")
           + "limits: {host_probe_pps: 60, link_probe_pps: 40,"
             " service_miss_pps: 200}\n")
    noisy = add_agent_at(net, "noisy", "s1", 9)
    near = add_agent_at(net, "near", "s1", 10)
    net.wait_in_sync(2, links=1, hosts_attached=3)
    expect(seen(net, 1)["metered"] == "port", f"{seen(net, 1)}")
    write(f"{RUN}/flood.py", FLOOD)
    pid = net.daemon.process.pid
    before, start, known = cpu_seconds(pid), time.monotonic(), heard_of()
    flood = subprocess.Popen(
        ["nsenter", "--net=/run/netns/noisy", sys.executable,
         f"{RUN}/flood.py", "10.0.0.9"],
        stdout=subprocess.PIPE, text=True)
    flood.stdout.readline()
    slowest = 0
    try:
        for i in range(5):
            for agent in net.w2, near:
                heard = agent.ask(f"register quiet{i}.shop.acme 80 1 wait",
                                  r"registered confirmed=1 us=(\d+)|error")
                expect(heard[1], heard.string)
                slowest = max(slowest, int(heard[1]))
        # Nobody serves it: still the neighbour is told so.
        near.ask("syn nobody.shop.acme 51000", r"packet type=0x4 ")
        fresh = [add_agent_at(net, "fresh", "s2", 11),
                 add_agent_at(net, "new", "s1", 12)]
        seen_before = heard_of()["host_probes_seen"]
        for _ in range(probes):
            near.say("probe")
            time.sleep(0.1)
        until(lambda: heard_of()["host_probes_seen"] - seen_before
              >= probes * 3 // 4, "the neighbour's PROBEs get through", 5)
        got = heard_of()["host_probes_seen"] - seen_before
        begun = time.monotonic()
        while time.monotonic() - begun < 10:
            for agent in (near, net.w2, noisy, *fresh):
                agent.say("probe")
            status = net.ask("show", "status")
            expect(status["links"] == 1 and status["hosts_attached"] >= 4,
                   f"after {time.monotonic() - start:.1f} s: {status}")
            time.sleep(1)
        for agent in (near, net.w2, *fresh):
            agent.forget()
            expect(not any("attached=0" in line for line in agent.lines),
                   f"{agent.name} was forgotten")
    finally:
        took = time.monotonic() - start
        flood.terminate()
        sent = int(flood.communicate()[0])
    cpu = cpu_seconds(pid) - before
    expect(cpu < 0.7 * took, f"{cpu:.2f} s of CPU in {took:.1f} s")
    came = sum(heard_of()[key] - known[key]
               for key in ("unrecognised", "resets_sent", "resets_limited",
                           "link_probes_forged"))
    expect(came > 300, f"only {came} packets of the flood came here")
    for agent in net.w2, near:
        for i in range(5):
            agent.ask(f"unregister quiet{i}.shop.acme 80 wait",
                      "unregistered confirmed=1")
    for name, agent in (("noisy", noisy), ("near", near), ("fresh", fresh[0]),
                        ("new", fresh[1])):
        sh("ip", "link", "set", name, "down")
        agent.stop()
    reload(net, lambda c: c)
    net.w2.say("probe")
    net.wait_in_sync(2, links=1, hosts_attached=1, timeout=20)
    return (f"{sent / took / 1000:.0f},000 packets a second, {came} came "
            f"here; registered in {slowest / 1000:.0f} ms at most, {got} of "
            f"{probes} PROBEs, {100 * cpu / took:.0f} % of a CPU")


def meters_that_do_not_fit_are_shared(net):
    """A switch that has too few for each port, one that has fewer than it says,
    one that refuses all."""
    for dpid, more, metered, n in (
            (0x61, {"meters": 11}, "switch", 4),
            (0x62, {"meters": 12}, "port", 4 + 2 * 2),
            (0x63, {"meters": 100, "room": 6}, "switch", 4),
            (0x64, {"meters": 100, "room": 0}, "nothing", 0)):
        switch = StockSwitch(OPENFLOW_PORT, dpid, **more)
        until(lambda d=dpid, m=metered: seen(net, d).get("in_sync")
              and seen(net, d)["metered"] == m, f"{dpid:x} is in sync")
        expect(len(switch.meters) == n, f"{dpid:x}: {switch.meters}")
        expect(not seen(net, dpid)["refused"], f"{seen(net, dpid)}")
        switch.stop()
    net.wait_status(switches_known=2, timeout=15)
    net.wait_in_sync(2, links=1)
    return ""


class Flapper:
    """Sends OpenFlow to a switch, to set its ports down and up: nothing else is
    as fast."""

    def __init__(self, net, switch, ports):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(f"{RUN}/ovs/{switch}.mgmt")
        self.sock.sendall(struct.pack(">BBHI", 6, 0, 8, 1))
        self.ports = [(net.port(port), bytes.fromhex(
            net.ovs.vsctl("get", "interface", port, "mac_in_use")
            .strip().strip('"').replace(":", ""))) for port in ports]

    def set(self, down):
        self.sock.sendall(b"".join(
            struct.pack(">BBHI", 6, PORT_MOD, 32, 2)
            + struct.pack(">I4x6s2xII", number, mac, down, 1)
            for number, mac in self.ports))

    def run(self, seconds, times_a_second):
        """Returns how many times it was, a second."""
        start, n = time.monotonic(), 0
        half = 0.5 / times_a_second
        while time.monotonic() - start < seconds:
            for down in (1, 0):
                self.set(down)
                n += 1
                time.sleep(max(0, n * half - (time.monotonic() - start)))
        self._wait()
        return n / 2 / (time.monotonic() - start)

    def _wait(self):
        """Until the switch has done what it was told."""
        self.sock.sendall(struct.pack(">BBHI", 6, BARRIER_REQUEST, 8, 9))
        self.sock.settimeout(30)
        data = b""
        while True:
            while len(data) < 8 or len(data) < struct.unpack(
                    ">xxH", data[:4])[0]:
                data += self.sock.recv(65536)
            kind, length = struct.unpack(">xBH", data[:4])
            if kind == BARRIER_REPLY:
                return
            data = data[length:]

    def end(self):
        self.sock.close()


def ports_flap(net):
    """A host's port and a link, down and up more than a hundred times a second
    for three seconds: the controller hears of each time, answers others, holds
    the ports down, and takes them as up when they are stable.  The rules of
    other hosts do not change meanwhile."""
    other = add_agent_at(net, "calm", "s1", 13)
    net.wait_in_sync(2, links=1, hosts_attached=2)
    flapper = Flapper(net, "s2", ("w2", "s2-l1"))
    pid = net.daemon.process.pid
    before, known = cpu_seconds(pid), {n: seen(net, n) for n in (1, 2)}
    memory = memory_kib(pid)
    slowest, done = 0, threading.Event()

    def ask():
        nonlocal slowest
        while not done.is_set():
            start = time.monotonic()
            net.ask("show", "status")
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.02)
    asking = threading.Thread(target=ask)
    asking.start()
    start, runs, rate = time.monotonic(), 0, 0
    try:
        while rate < 100 and runs < 3:  # A busy machine may be too slow once.
            rate = flapper.run(3, 125)
            runs += 1
    finally:
        done.set()
        asking.join()
        flapper.end()
    took = time.monotonic() - start
    status, now = net.ask("show", "status"), {n: seen(net, n) for n in (1, 2)}
    expect(status["ports_held"] >= 2, f"{status}")
    told = (now[2]["messages_received"] - known[2]["messages_received"]) / took
    expect(rate >= 100, f"only {rate:.0f} times a second")
    expect(told >= 2 * 2 * 100 / runs, f"only {told:.0f} messages a second")
    cpu = cpu_seconds(pid) - before
    expect(cpu < 0.5 * took, f"{cpu:.2f} s of CPU in {took:.1f} s")
    expect(slowest < 1, f"an answer took {slowest:.2f} s")
    # Not three hundred times: each time that it was not held, and the end.
    wrote = sum(now[n]["rounds"] - known[n]["rounds"] for n in (1, 2))
    expect(wrote < 100, f"{wrote} rounds")
    expect(memory_kib(pid) < memory + 4096, "it grows")
    start = time.monotonic()
    net.w2.say("probe")
    net.wait_in_sync(2, links=1, hosts_attached=2, ports_held=0, timeout=20)
    back = time.monotonic() - start
    expect(back < 10, f"back after {back:.1f} s")
    expect(net.ask("recompute", "--check")["equal"],
           "a full recompute differs")
    text = json.dumps(net.ask("show", "events", "500"))
    for words in ("until it is stable", "is up, and stable"):
        expect(words in text, f"no event says '{words}'")
    sh("ip", "link", "set", "calm", "down")
    other.stop()
    net.wait_in_sync(2, links=1, hosts_attached=1, timeout=20)
    return (f"{rate:.0f} times a second, {told:.0f} messages, {wrote} rounds "
            f"in all, {100 * cpu / took:.0f} % of a CPU, answers within "
            f"{slowest * 1000:.0f} ms, back after {back:.1f} s")


# Operation.


def metrics(net):
    """{name with labels: value}, of a page that is well-formed."""
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics",
                                timeout=5) as page:
        lines = page.read().decode().splitlines()
    values, types = {}, {}
    for line in lines:
        if line.startswith("# TYPE "):
            types[line.split()[2]] = line.split()[3]
        elif not line.startswith("#"):
            name, value = re.fullmatch(
                r'([a-z_]+(?:\{(?:[a-z]+="[^"]*",?)+\})?) (\S+)',
                line).groups()
            expect(name not in values, f"{name} comes twice")
            expect(re.sub(r"(_bucket|_sum|_count)?(\{.*)?$", "", name) in types
                   or name.split("{")[0] in types, f"{name} has no type")
            values[name] = float(value)
    return values


def metrics_say_what_the_dumps_say(net):
    status, values = net.ask("show", "status"), metrics(net)
    for key in ("switches_connected", "links", "hosts_attached", "services",
                "registrations", "generation", "confirmed_generation"):
        expect(values[f"salient_controller_{key}"] == status[key],
               f"{key}: {values[f'salient_controller_{key}']}, {status[key]}")
    n = values["salient_controller_change_seconds_count"]
    expect(n > 0 and n == values[
        'salient_controller_change_seconds_bucket{le="+Inf"}'], f"{n}")
    expect(values['salient_controller_connections_total{event="switch_tls"}']
           == status["switches_refused_by_tls"], "TLS refusals")
    return f"{len(values)} figures"


def reload(net, change):
    """SIGHUP with a changed configuration; what the log says of it."""
    write(f"{RUN}/controller.yaml", change(CONFIG))
    with open(net.daemon.log, encoding="utf-8") as log:
        log.seek(0, os.SEEK_END)
        net.daemon.process.send_signal(signal.SIGHUP)
        said = []
        def look():
            said.extend(log.readlines())
            return any("configuration was read again" in s for s in said)
        until(look, "it is read again")
    return next(s for s in said if "read again" in s)


def sighup_changes_what_it_can(net):
    before = net.flows("s1")
    meters = lambda: net.ovs.ofctl("dump-meters", "s1")
    expect("rate=77" not in meters(), "already")
    said = reload(net, lambda c: c.replace("role: master", "role: equal")
                  .replace("echo_timeout: 2s", "echo_timeout: 3s")
                  + "anti_spoofing: false\nlimits: {service_miss_pps: 77}\n"
                  "policy: nearest\nservices: [later.acme]\n")
    expect("restart" not in said, said)
    net.wait_in_sync(2, links=1, hosts_attached=1, role="equal")
    expect(any("actions=resubmit(,1)" in f or "goto_table:1" in f
               for f in net.flows("s1", 0)) and net.flows("s1") != before,
           "anti-spoofing is still on")
    expect("rate=77" in meters(), meters())
    expect(net.ask("recompute", "--check"), "a full recompute differs")
    said = reload(net, lambda c: c.replace("127.0.0.1:9634", "127.0.0.1:9600")
                  + "sal_port: 7000\nidentity_pool: 10.128.0.0/9\n")
    for key in ("metrics", "sal_port", "identity_pool"):
        expect(key in said, f"{key}: {said}")
    said = reload(net, lambda c: c)
    net.wait_in_sync(2, links=1, hosts_attached=1, role="master",
                     hold_left_ms=0)
    expect(net.flows("s1") == before, f"{net.flows('s1') ^ before}")
    return "rules, meters, roles, timers; and back"


def a_renewed_certificate_is_taken(net):
    sh("openssl", "x509", "-req", "-in", f"{KEYS}/a.csr", "-CA",
       f"{KEYS}/ca.pem", "-CAkey", f"{KEYS}/ca.key", "-days", "3",
       "-set_serial", "4711", "-out", f"{KEYS}/a.pem")
    reload(net, lambda c: c)
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{TLS_PORT}",
         "-cert", f"{KEYS}/switch.pem", "-key", f"{KEYS}/switch.key"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=10).stdout
    serial = subprocess.run(["openssl", "x509", "-noout", "-serial"],
                            input=shown, capture_output=True, text=True,
                            check=False).stdout
    expect(int(serial.split("=")[1], 16) == 4711, serial)
    expect(seen(net, 2)["connected"], "s2 was disconnected")
    return ""


def the_service_manager_is_told(net):
    """READY, WATCHDOG while the loop turns, RELOADING, STOPPING."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(f"{RUN}/notify")
    manager.settimeout(10)
    def hear(word):
        while word not in (said := manager.recv(4096).decode()):
            pass
        return said
    net.daemon.kill()
    os.environ.update(NOTIFY_SOCKET=f"{RUN}/notify", WATCHDOG_USEC="300000")
    try:
        net.start_controller()
    finally:
        del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
    hear("READY=1")
    for _ in range(3):
        hear("WATCHDOG=1")
    net.daemon.process.send_signal(signal.SIGHUP)
    hear("RELOADING=1")
    hear("READY=1")
    status = net.daemon.stop()
    hear("STOPPING=1")
    expect(status == 0, f"exit status {status}")
    net.start_controller()
    net.wait_in_sync(2, links=1, hosts_attached=1, hold_left_ms=0)
    return ""


STEPS = (switches_connect_by_tls, a_strangers_certificate_is_refused,
         other_protocols_are_closed_at_once, a_slave_writes_nothing,
         the_slave_takes_over, the_first_returns_and_the_other_stands_by,
         a_stale_generation_yields, liars_are_found_out,
         nonsense_within_a_session_ends_it,
         a_switch_that_does_not_read_costs_no_memory,
         a_bundle_that_is_cut_is_repeated,
         a_switch_without_room_for_groups_names_ports,
         a_host_cannot_take_anothers_address,
         link_probes_of_hosts_make_no_link,
         a_flooding_host_harms_nobody_else,
         meters_that_do_not_fit_are_shared, ports_flap,
         metrics_say_what_the_dumps_say, sighup_changes_what_it_can,
         a_renewed_certificate_is_taken, the_service_manager_is_told)


def inside():
    net = Network("check-sessions", CONFIG)
    net.other = None

    def kill_other():
        if net.other and net.other.alive():
            net.other.kill()
    return run_suite("sessions", net, STEPS, kill_other)


if __name__ == "__main__":
    sys.exit(sandbox.run(inside))
