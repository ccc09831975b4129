# SPDX-License-Identifier: Apache-2.0
"""Sessions with switches: TLS, roles, and switches that are not what they
should be.

             A    B           two controllers (B from the step on roles)
           /   \\/   \\
    h1 -- s1 ------ s2 -- w2   of the private Open vSwitch; s2 by TLS

Each step needs what the ones before it left.  ONLY=name runs up to the step
of that name."""

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
from tests.controller.steps import expect, run_suite

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
HELLO, OPENFLOW_ERROR = 0, 1
ROLE_REQUEST, ROLE_REPLY, BUNDLE_CONTROL, BUNDLE_ADD = 24, 25, 33, 34
GROUP_MOD, OUT_OF_GROUPS = 15, (6, 3)
COMMIT_REQUEST = 4


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


def log_has(net, words):
    with open(net.daemon.log, encoding="utf-8") as log:
        return words in log.read()


def writes(switch):
    return sum(switch.get(key, 0)
               for key in ("adds", "modifies", "deletes", "rounds"))


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
    one, two = net.switch(1), net.switch(2)
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
    until(lambda: net.switch(1)["role"] == "slave", "A has heard of it")
    net.wait_status(switches_standby=1)
    # A new connection asks with its old generation, and is refused.
    net.ovs.vsctl("del-controller", "s1")
    net.wait_status(switches_connected=1)
    controllers(net, "s1", f"tcp:127.0.0.1:{OPENFLOW_PORT}",
                f"tcp:127.0.0.1:{OTHER_PORT}")
    until(lambda: net.switch(1).get("put") == "standby", "A yields")
    expect(net.switch(1)["role"] == "slave" and log_has(net, "OFPRRFC_STALE"),
           f"{net.switch(1)}")
    until(lambda: net.switch(2).get("role") == "master", "but not of s2")
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
    until(lambda: net.switch(0x52).get("in_sync"), "who repeats is in sync")
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
    until(lambda: net.switch(0x54).get("in_sync"), "it is up")
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
    until(lambda: net.switch(0x53).get("in_sync"), "it is up")
    deaf.deaf = True
    before, start = net.memory_kib(), time.monotonic()
    threading.Thread(target=deaf.talk, daemon=True).start()
    most = before
    for i in range(40):  # Something to be told, too.
        net.w2.ask(f"register s{i % 8}.shop.acme 80 1",
                   "registered|unchanged|error")
        most = max(most, net.memory_kib())
    expect(deaf.closed.wait(20), "it is still connected")
    took = time.monotonic() - start
    most = max(most, net.memory_kib())
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
    def flows():
        return net.ovs.ofctl("-O", version, "--no-names", "dump-flows", "s1",
                             "table=20").splitlines()
    until(lambda: any("nw_dst=10.0.0.2" in flow and "output:" in flow
                      for flow in flows()), "a route names its port")
    net.wait_in_sync(2, links=1, refused_rules=0)
    expect(any("no room for groups" in str(event) for event
               in net.ask("show", "events", "20")), "nobody was told")
    groups = net.ovs.ofctl("-O", version, "dump-groups", "s1")
    expect("group_id" not in groups and not any(
        "group:" in flow for flow in flows()), f"{groups} {flows()}")
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


def sighup_changes_what_it_can(net):
    before = net.flows("s1")
    meters = lambda: net.ovs.ofctl("dump-meters", "s1")
    expect("rate=77" not in meters(), "already")
    said = net.reload(CONFIG.replace("role: master", "role: equal")
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
    said = net.reload(CONFIG.replace("127.0.0.1:9634", "127.0.0.1:9600")
                  + "sal_port: 7000\nidentity_pool: 10.128.0.0/9\n")
    for key in ("metrics", "sal_port", "identity_pool"):
        expect(key in said, f"{key}: {said}")
    said = net.reload(CONFIG)
    net.wait_in_sync(2, links=1, hosts_attached=1, role="master",
                     hold_left_ms=0)
    expect(net.flows("s1") == before, f"{net.flows('s1') ^ before}")
    return "rules, meters, roles, timers; and back"


def a_renewed_certificate_is_taken(net):
    sh("openssl", "x509", "-req", "-in", f"{KEYS}/a.csr", "-CA",
       f"{KEYS}/ca.pem", "-CAkey", f"{KEYS}/ca.key", "-days", "3",
       "-set_serial", "4711", "-out", f"{KEYS}/a.pem")
    net.reload(CONFIG)
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{TLS_PORT}",
         "-cert", f"{KEYS}/switch.pem", "-key", f"{KEYS}/switch.key"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=10).stdout
    serial = subprocess.run(["openssl", "x509", "-noout", "-serial"],
                            input=shown, capture_output=True, text=True,
                            check=False).stdout
    expect(int(serial.split("=")[1], 16) == 4711, serial)
    expect(net.switch(2)["connected"], "s2 was disconnected")
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
