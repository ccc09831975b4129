#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sald as systemd runs it, with its four capabilities and nothing else:

        10.0.0.1            10.0.0.2           10.0.0.254
        fd0a::1             fd0a::2
        client              server             salient-controller
        sald                sald                    |
           |                   |                    |
           +------ br0, a plain Linux bridge -------+

There is no switch: the resolver's address is the server's.  A third host,
10.0.0.3, has no agent, and bad intentions.
"""
import json
import os
import random
import re
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from netlab import Lab, wait_for  # noqa: E402

CAPABILITIES = ("bpf", "net_admin", "perfmon", "net_bind_service")
CAPABILITY_BITS = {"net_bind_service": 10, "net_admin": 12, "perfmon": 38,
                   "bpf": 39}
SERVICE = "web.shop.acme"
NAME = f"{SERVICE}.sal"
SEED = int(os.environ.get("SEED", "20120425"))

steps = 0


def step(name):
    global steps
    steps += 1
    print(f"-- {name}", flush=True)


def block(number):
    return struct.pack("<Q", number) * 1024


class Agent:
    """A host's sald, its configuration and what it tells systemd."""

    def __init__(self, lab, host):
        self.lab, self.host = lab, host
        self.dir = f"{lab.dir}/{host.name}"
        os.makedirs(f"{self.dir}/state")
        self.socket = f"{self.dir}/sald.sock"
        self.config = f"{self.dir}/agent.yaml"
        self.log = f"{self.dir}/sald.log"
        self.process = None
        self.services = []
        self.extra = ""
        self.max_flows = 4096
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f"{self.dir}/notify")
        self.notify.settimeout(0.1)
        self.told, self.closed = [], False
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def write_config(self):
        with open(self.config, "w", encoding="ascii") as file:
            file.write(f"""name: {self.host.name}
controller: tcp:10.0.0.254:6654
uplinks: [eth0]
state_dir: {self.dir}/state
control_socket: {self.socket}
pin_path: {self.host.pins}
max_flows: {self.max_flows}
stop_timeout: 500ms
dns: {{listen: "127.0.0.55:53"}}
{self.extra}
services: {json.dumps(self.services)}
""")

    def start(self, wait=True):
        self.write_config()
        only = ",".join(["-all", *(f"+{c}" for c in CAPABILITIES)])
        env = {**os.environ, "NOTIFY_SOCKET": f"{self.dir}/notify",
               "WATCHDOG_USEC": "600000"}
        env.pop("WATCHDOG_PID", None)
        self.told.clear()
        with open(self.log, "a", encoding="utf8") as log:
            self.process = self.host.popen(
                "setpriv", f"--bounding-set={only}", "--inh-caps=-all",
                "--no-new-privs", f"{self.lab.build}/bin/sald", "--config",
                self.config, stderr=log, env=env)
        if wait:
            self.wait_notified("READY=1")

    def listen(self):
        """As systemd does: who is not listened to would wait."""
        while not self.closed:
            try:
                said = self.notify.recv(4096).decode().split("\n")
                self.told.extend(said)
            except TimeoutError:
                pass
        self.notify.close()

    def close(self):
        self.stop()
        self.closed = True
        self.listener.join()

    def wait_notified(self, what):
        wait_for(lambda: what in self.told, what)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process:
            self.process.terminate()
            status = self.process.wait(20)
            self.process = None
            return status
        return None

    def salctl(self, *args, check=True):
        return self.host.run(f"{self.lab.build}/bin/salctl", "--socket",
                             self.socket, *args, check=check)

    def ask(self, *args):
        return json.loads(self.salctl("--json", *args))

    def capabilities(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as s:
            return {k: int(v, 16) for k, v in re.findall(
                r"^(Cap\w+):\s*([0-9a-f]+)$", s.read(), re.M)}

    def log_text(self):
        with open(self.log, encoding="utf8") as log:
            return log.read()

    def dig(self, *args):
        out = self.host.run("dig", "@127.0.0.55", "+time=5", "+tries=1", *args)
        status = re.search(r"status: (\w+)", out)
        answer = re.search(r";; ANSWER SECTION:\n(.*?)\n\n", out, re.S)
        return (status.group(1) if status else None,
                [re.sub(r"\s+", " ", line) for line in
                 answer.group(1).splitlines()] if answer else [])


class Stream(threading.Thread):
    """A TCP connection that carries words until it is told to end."""

    def __init__(self, client, server, address, port):
        super().__init__(daemon=True)
        listener = server.listen(9000, "::")
        self.sender = client.connect(address, port)
        self.receiver, self.peer = listener.accept()
        listener.close()
        self.sender.settimeout(30)
        self.receiver.settimeout(30)
        self.ended, self.error, self.blocks = False, None, 0
        self.source = threading.Thread(target=self.send, daemon=True)
        self.source.start()
        self.start()

    def send(self):
        i = 0
        try:
            while not self.ended:
                self.sender.sendall(block(i))
                i += 1
                time.sleep(0.0005)
            self.sender.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.error = error

    def run(self):
        data = b""
        try:
            while True:
                got = self.receiver.recv(65536)
                if not got:
                    return
                data += got
                while len(data) >= 8192:
                    if data[:8192] != block(self.blocks):
                        raise AssertionError(f"block {self.blocks} is wrong")
                    self.blocks += 1
                    data = data[8192:]
        except (OSError, AssertionError) as error:
            self.error = error

    def end(self):
        self.ended = True
        self.source.join(30)
        self.join(30)
        self.sender.close()
        self.receiver.close()
        assert not self.error, self.error


class Questions(threading.Thread):
    """A UDP flow: each question is to be answered."""

    def __init__(self, client, server, address):
        super().__init__(daemon=True)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.server = server.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.server.bind(("::", 9953))
        self.client = client.socket(family, socket.SOCK_DGRAM)
        self.client.connect((address, 53))
        self.client.settimeout(10)  # Late is not lost.
        self.asked, self.lost, self.ended = 0, 0, False
        self.echo = threading.Thread(target=self.answer, daemon=True)
        self.echo.start()
        self.start()

    def answer(self):
        self.server.settimeout(0.2)
        while not self.ended:
            try:
                self.server.sendto(*self.server.recvfrom(100))
            except TimeoutError:
                pass

    def run(self):
        while not self.ended:
            self.asked += 1
            want = b"%d" % self.asked
            self.client.send(want)
            try:
                while self.client.recv(100) != want:
                    pass
            except OSError:
                self.lost += 1
            time.sleep(0.005)

    def end(self):
        self.ended = True
        self.join(15)
        self.echo.join(5)
        self.client.close()
        self.server.close()


def start_controller(lab):
    lab.bridge.run("ip", "addr", "add", "10.0.0.254/24", "dev", "br0")
    config = f"{lab.dir}/controller.yaml"
    with open(config, "w", encoding="ascii") as file:
        file.write(f"""openflow: {{listen: ["tcp:127.0.0.1:6653"]}}
api: {{listen: ["tcp:10.0.0.254:6654"]}}
control: {lab.dir}/controller.sock
resolver: 10.0.0.2
resolver_v6: "fd0a::2"
hold_time: 1s
""")
    with open(f"{lab.dir}/controller.log", "w", encoding="ascii") as log:
        return lab.bridge.popen(f"{lab.build}/bin/salient-controller",
                                "--config", config, stderr=log)


def only_these_capabilities(client, server):
    step("sald has four capabilities, and says so when it is ready")
    want = sum(1 << CAPABILITY_BITS[c] for c in CAPABILITIES)
    for agent in client, server:
        sets = agent.capabilities()
        assert sets["CapEff"] == sets["CapPrm"] == sets["CapBnd"] == want, sets
        agent.wait_notified("WATCHDOG=1")  # The loop turns.


def names(client):
    step("dig: A, AAAA, SRV, PTR, by UDP, TCP and EDNS; NODATA, NXDOMAIN")
    status, answer = wait_for(
        lambda: (lambda a: a if a[1] else None)(client.dig(NAME, "A")),
        "the name resolves", 20)
    assert status == "NOERROR", status
    v4 = answer[0].split()[-1]
    _, answer = client.dig(NAME, "AAAA")
    v6 = answer[0].split()[-1]
    for options in ["+tcp"], ["+noedns"], ["+edns=0", "+bufsize=4096"], \
            ["+dnssec"], ["+ignore", "+bufsize=512"]:
        assert client.dig(NAME, "A", *options) == (
            "NOERROR", [f"{NAME}. 5 IN A {v4}"]), options
        assert client.dig(f"_http._tcp.{NAME}", "SRV", *options) == (
            "NOERROR", [f"_http._tcp.{NAME}. 5 IN SRV 0 0 80 {NAME}."])
        for address in v4, v6:
            status, answer = client.dig("-x", address, *options)
            assert status == "NOERROR" and answer[0].endswith(
                f" IN PTR {NAME}."), (address, status, answer)
    identity = client.ask("status")["identity_address"]
    _, answer = client.dig("-x", identity)
    host = answer[0].split()[-1]
    assert client.dig(host, "A")[1][0].split()[-1] == identity
    _, answer = client.dig(f"_tcp.{NAME}", "SRV")
    assert sorted(line.split()[-2] for line in answer) == ["80", "90"], answer
    for name, kind, want in ((NAME, "TXT", "NOERROR"),
                             ("shop.acme.sal", "A", "NOERROR"),
                             ("nope.acme.sal", "A", "NXDOMAIN"),
                             (f"_ssh._tcp.{NAME}", "SRV", "NXDOMAIN"),
                             (f"_http._tcp.{NAME}", "A", "NOERROR"),
                             ("example.com", "A", "REFUSED")):
        assert client.dig(name, kind) == (want, []), (name, kind)
    return v4, v6


def flows_command(client, streams):
    step("salctl: flows, filters, top, peer, rotate-key")
    flows = client.ask("flows", "state=bound", "proto=tcp", "role=client")
    assert len(flows) == len(streams), flows
    assert int(client.salctl("flows", "--count", "port=90")) == len(streams)
    assert len(client.ask("flows", "--limit", "1")) == 1
    assert "more; filter them" in client.salctl("flows", "--limit", "1")
    top = client.ask("top", "1")
    assert top[0]["bits_per_second"] > 0, top
    local, remote = (":".join(map(str, end[:2])) for end in (
        streams[0].sender.getsockname(), streams[0].sender.getpeername()))
    peer = client.salctl("peer", local, remote)
    assert re.search(r"^identity \S+ locator \S+ role client state bound "
                     r"service 0x\S+ endpoint [0-9a-f]{32}$", peer), peer
    before = client.ask("show", "counters")["agent"]["keys_rotated"]
    client.salctl("rotate-key")
    after = client.ask("show", "counters")["agent"]["keys_rotated"]
    assert after == before + 1


def killed_again_and_again(agents, streams, questions, rng, rounds):
    step(f"kill -9 of either sald, {rounds} times at any moment (SEED={SEED})")
    lost = questions.lost
    for _ in range(rounds):
        agent = rng.choice(agents)
        agent.kill()
        if rng.random() < 0.5:
            time.sleep(rng.random() * 0.1)
        agent.start(wait=rng.random() < 0.7)
        time.sleep(rng.random() * 0.15)
    for agent in agents:
        wait_for(lambda a=agent: "controller" in a.salctl(
            "status", check=False), "sald answers")
    blocks = [s.blocks for s in streams]
    wait_for(lambda: all(s.blocks > b + 10 for s, b in zip(streams, blocks)),
             "streams go on")
    assert all(s.error is None for s in streams)
    assert questions.lost == lost, f"{questions.lost - lost} datagrams lost"
    print(f"   {questions.asked} datagrams answered, {sum(blocks) // 128} MiB "
          f"verified, nothing lost")


def reload(server, client, v4):
    step("SIGHUP: services and limits change; a mistake changes nothing")
    server.services.append({"name": "new.shop.acme", "port": 80,
                            "target": "9000"})
    server.extra = "limits: {flows_per_client: 1}"
    server.write_config()
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: client.dig("new.shop.acme.sal", "A")[1], "the new name")
    wait_for(lambda: server.ask("status")["datapath"][
        "max_flows_per_client"] == 1, "the limit")
    listener = server.host.listen(8080, "::")
    first = client.host.connect(v4, 80)
    accepted, _ = listener.accept()
    wait_for(lambda: server.ask("flows", "state=bound", "port=8080"), "bound")
    try:
        client.host.connect(v4, 80)
        raise AssertionError("more flows than the limit")
    except ConnectionRefusedError:
        pass
    assert server.ask("show", "counters")["datapath"]["in_client_limit"] >= 1
    first.close()
    accepted.close()
    listener.close()

    server.services = [{"name": "UPPER", "port": 80}]
    server.write_config()
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "not reloaded" in server.log_text(), "the complaint")
    assert client.dig("new.shop.acme.sal", "A")[1]
    server.services = SERVER_SERVICES[:]
    server.extra = ""
    server.write_config()
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: client.dig("new.shop.acme.sal", "A")[0] == "NXDOMAIN",
             "the name goes")


def another_layout(client, server, v4):
    step("an upgrade that changes the tables' layout ends flows, and says so")
    listener = server.host.listen(8080, "::")
    s = client.host.connect(v4, 80)
    accepted, _ = listener.accept()
    client.kill()
    client.host.dpctl("layout", "1")
    client.start()
    log = client.log_text()
    assert "has the layout of another version" in log
    assert re.search("replacing the data plane in .*: its flows end", log)
    try:
        for _ in range(100):
            s.send(b"anybody?")
            time.sleep(0.02)
        raise AssertionError("the connection goes on without its flow")
    except ConnectionResetError:
        pass
    s.close()
    wait_for(lambda: connects(client, v4), "new connections", 10)
    accepted.close()
    listener.close()


def prefer_ipv6(agent, value):
    agent.extra = f"prefer_ipv6: {value}"
    before = agent.log_text().count("reloaded")
    agent.write_config()
    agent.process.send_signal(signal.SIGHUP)
    wait_for(lambda: agent.log_text().count("reloaded") > before, "reload")


def the_other_end_is_told(client, server, v4, outer):
    step("a host that lost its flows proves itself, and the peer's ones end: "
         + ("IPv6" if ":" in outer else "IPv4"))
    before = client.ask("show", "counters")["agent"]["lost_flows_closed"]
    listener = server.host.listen(8080, "::")
    s = client.host.connect(v4, 80)
    s.settimeout(5)
    accepted, _ = listener.accept()
    assert [f["peer_locator"] for f in client.ask("flows", "port=80",
                                                  "state=bound")] == [outer]
    server.kill()
    server.host.dpctl("layout", "1")
    server.start()
    wait_for(lambda: server.ask("status")["controller"]["state"] == "up",
             "the controller", 20)
    try:
        for _ in range(500):
            s.send(b"anybody?")
            time.sleep(0.02)
        raise AssertionError("the connection goes on without its flow: "
                             f"{client.ask('show', 'counters')} "
                             f"{server.ask('show', 'counters')}")
    except ConnectionResetError:
        pass
    mine = client.ask("show", "counters")["agent"]
    theirs = server.ask("show", "counters")["agent"]
    assert mine["lost_flows_closed"] > before, mine
    assert theirs["lost_flows_proved"] >= 1, theirs
    s.close()
    accepted.close()
    wait_for(lambda: connects(client, v4), "new connections", 10)
    listener.close()


def forge(forger, client, v4, source, endpoint):
    """How many of three SYNs are answered, which then are bound."""
    prefix = client.ask("resolve", SERVICE)["prefix"]
    script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(
        __file__))), "integration/forger.py")
    return int(forger.run(
        sys.executable, script, "eth0", "10.0.0.3", "10.0.0.2",
        prefix.split("/")[0][2:], v4, source, endpoint, 3, 50000, "bind"))


def a_forger_has_seconds(forger, client, server, v4):
    """Nobody knows who is at 10.0.0.3, so whoever claims to be the client from
    there must have its key."""
    step("who cannot prove that he is the client loses his connections")
    ear = forger.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.bind(("", 6090))  # No ICMP errors.
    listener = server.host.listen(8080, "::")
    own = client.host.connect(v4, 80)
    accepted, _ = listener.accept()
    me = client.ask("status")
    mine, key = me["identity_address"], me["endpoint_id"]

    def counters(kind):
        return server.ask("show", "counters")[kind]

    def forged():
        return [flow for flow in server.ask("show", "flows")
                if flow["peer_locator"] == "10.0.0.3"]

    other = ".".join(mine.split(".")[:3] + [str(int(mine.split(".")[3]) ^ 1)])
    assert forge(forger, client, v4, other, key) == 0, "another's address"
    assert counters("datapath")["in_identity"] >= 3
    # The answer about the endpoint is known; it claims its own address now.
    assert forge(forger, client, v4, mine, key) == 3
    wait_for(lambda: len(forged()) == 3, "three forged flows", 5)
    wait_for(lambda: not forged(), "their end", 25)
    assert counters("agent")["claims_unproved"] >= 1, counters("agent")
    assert forge(forger, client, v4, mine, key) == 0, "refused for a while"
    # The client itself is not concerned.
    own.sendall(b"still me")
    assert accepted.recv(100) == b"still me"
    wait_for(lambda: connects(client, v4), "new connections", 10)
    for s in own, accepted, listener, ear:
        s.close()


def connects(client, v4):
    try:
        client.host.connect(v4, 80, timeout=1).close()
        return True
    except OSError:
        return False


KV = "kv.shop.acme:7100"

# Two datagrams to the service, of which the first is too large for anything.
LIBSAL_DATAGRAMS = """
import ctypes, socket, sys
sal = ctypes.CDLL(sys.argv[1])
service = ctypes.create_string_buffer(64)
assert sal.sal_id_from_name(b"web.shop.acme", service) == 0
fd = sal.sal_datagram_open_family(service, socket.AF_INET6, 53)
assert fd >= 0, fd
most = sal.sal_datagram_max(fd)
assert 1200 < most < 1500, most
assert sal.sal_datagram_send(fd, bytes(9000), 9000) == -90
assert sal.sal_datagram_send(fd, b"?", 1) == 0
answer = ctypes.create_string_buffer(100)
assert sal.sal_datagram_receive(fd, answer, 100, 10000, None) == 1
peer = ctypes.create_string_buffer(1000)
assert sal.sal_get_peer(fd, peer) == 0
print(peer.value.decode())
"""


def libsal(client, server):
    step("libsal over IPv4 and IPv6: a sharded store, datagrams, peers")
    shardkv = f"{client.lab.build}/bin/shardkv"
    outs = [f"{server.dir}/shard{i}" for i in range(2)]
    serving = []
    for i in range(2):
        with open(outs[i], "w", encoding="ascii") as out:
            serving.append(server.host.popen(
                shardkv, "serve", KV, f"{i}/1", stdout=out,
                env={**os.environ, "SALIENT_SOCKET": server.socket}))
    echo = server.host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    echo.bind(("::", 9953))

    def ask(*args):
        return client.host.run(shardkv, *args,
                               env={"SALIENT_SOCKET": client.socket}).strip()
    try:
        for out in outs:
            wait_for(lambda o=out: "serving" in open(o).read(), "shards", 20)
        for number, option in enumerate((["-4"], ["-6"], [])):
            for key in "alice", "bob", "carol", "dave":
                value = f"{key}{number}"
                assert ask(*option, "set", KV, key, value) == "ok"
                assert ask(*option, "get", KV, key) == value
        assert client.ask("resolve", SERVICE)["address_v6"].startswith("fd")
        told = "".join(open(out).read() for out in outs)
        identity = client.ask("status")
        for name in "identity_address", "identity_address_v6":
            assert f"{identity[name]} at 10.0.0.1: get" in told, told
        answering = threading.Thread(target=lambda: echo.sendto(
            *echo.recvfrom(100)), daemon=True)
        answering.start()
        peer = client.host.run(
            "/usr/bin/python3", "-c", LIBSAL_DATAGRAMS,
            f"{client.lab.build}/lib/libsal.so",
            env={"SALIENT_SOCKET": client.socket}).strip()
        assert peer == client.ask("resolve", SERVICE)["address_v6"], peer
        answering.join(10)
    finally:
        for process in serving:
            process.terminate()
            process.wait()
        echo.close()


SERVER_SERVICES = [
    {"name": SERVICE, "port": 80, "target": "8080"},
    {"name": SERVICE, "port": 90, "target": "9000"},
    {"name": SERVICE, "port": 53, "protocol": "udp", "target": "9953"},
]


def stopped(agents):
    step("SIGTERM: STOPPING=1, and nothing is left")
    for agent in agents:
        assert agent.stop() == 0
        agent.wait_notified("STOPPING=1")
        assert "sal0" not in agent.host.run("ip", "link")
        assert not os.path.exists(agent.host.pins)
        for name in os.listdir(f"{agent.dir}/state"):
            assert not name.endswith(".tmp"), name


def run(lab):
    rng = random.Random(SEED)
    client, server = (Agent(lab, host) for host in lab.hosts[:2])
    server.services = SERVER_SERVICES[:]
    streams, questions = [], None
    try:
        for agent in server, client:
            agent.start()
        only_these_capabilities(client, server)
        v4, v6 = names(client)
        step("TCP over IPv4 and IPv6 and UDP between the two")
        for address in v4, v6:
            streams.append(Stream(client.host, server.host, address, 90))
        questions = Questions(client.host, server.host, v4)
        wait_for(lambda: questions.asked > 20
                 and all(s.blocks > 20 for s in streams), "traffic")
        flows_command(client, streams)
        killed_again_and_again([client, server], streams, questions, rng, 20)
        for stream in streams:
            stream.end()
        questions.end()
        assert questions.asked > 100
        libsal(client, server)
        reload(server, client, v4)
        another_layout(client, server, v4)
        the_other_end_is_told(client, server, v4, "10.0.0.2")
        prefer_ipv6(client, "true")
        the_other_end_is_told(client, server, v4, "fd0a::2")
        prefer_ipv6(client, "false")
        a_forger_has_seconds(lab.hosts[2], client, server, v4)
        stopped([client, server])
    except BaseException:
        for agent in client, server:
            print(f"{agent.host.name}:\n{agent.log_text()[-3000:]}")
        lab.show_counters()  # As long as the data planes are there.
        raise
    finally:
        for agent in client, server:
            agent.close()


def main():
    with Lab(sys.argv[1]) as lab:
        lab.host("client", "10.0.0.1", locator6="fd0a::1")
        lab.host("server", "10.0.0.2", locator6="fd0a::2")
        lab.host("forger", "10.0.0.3")
        controller = start_controller(lab)
        try:
            run(lab)
        finally:
            controller.terminate()
            controller.wait()
    print(f"daemon: {steps} passed, 0 failed")


if __name__ == "__main__":
    main()
