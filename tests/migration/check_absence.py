#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""check_absence.py BUILD [SECONDS]: what TCP makes of a host's absence.

Data that arrive right before a host loses its address, and whose
acknowledgements are lost with it, are acknowledged after the absence, with an
echo of a time stamp from before it.  No TCP may take that for a round trip:
its timer would be as long as the absence, and whatever is lost next would wait
for it.

Nor may anybody wait for news of a window that was full, and lost those.

    client 10.0.0.1, then .77, then .1 --- br0 --- 10.0.0.2 server

Neither controller nor SAL switches.
"""
import os
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../bpf")
from netlab import Lab, wait_for  # noqa: E402
from test_static import Agent  # noqa: E402

CLIENT = "routes: [{service: db.shop.acme, locators: [10.0.0.2]}]\n"
SERVER = "services: [{name: db.shop.acme, port: 7000}]\n"
# Round trips take less than a millisecond; and even a busy machine's are
# nothing like an absence.
SANE_MS = 2000
# Too much to be sent again as one segment; but not for TCP's first window.
SEGMENT, SOME = 1300, 10000
passed = failed = 0


def check(good, what, figure=""):
    global passed, failed
    passed += bool(good)
    failed += not good
    print(f"  {'PASS' if good else 'FAIL'}  {what:<50}  {figure}".rstrip(),
          flush=True)


class End:
    """A socket and what its TCP believes."""

    def __init__(self, host, sock):
        sock.settimeout(30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host, self.sock = host, sock

    def tcp_info(self):
        """(Retransmission timer, round trip: ms; segments on their way)."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        word = [int.from_bytes(info[i:i + 4], sys.byteorder)
                for i in range(8, 104, 4)]
        return word[0] / 1e3, word[15] / 1e3, word[4]

    def send(self, n):
        self.sock.sendall(b"x" * n)

    def fill(self):
        """Sends until the peer's window is full.  How much that was."""
        n = 0
        self.sock.settimeout(0.3)
        while True:
            try:
                n += self.sock.send(b"x" * 10000)
            except socket.timeout:
                self.sock.settimeout(30)
                return n

    def drain(self):
        """Receives what is there.  How much that was."""
        n = 0
        self.sock.setblocking(False)
        while True:
            try:
                n += len(self.sock.recv(1 << 20))
            except BlockingIOError:
                self.sock.settimeout(30)
                return n

    def receive(self, n):
        while n:
            data = self.sock.recv(n)
            assert data, "the connection has ended"
            n -= len(data)


class Connection:
    def __init__(self, client, server, address, listener):
        self.client = End(client, client.connect(address, 7000))
        self.server = End(server, listener.accept()[0])

    def round_trips(self, n=20):
        """So that both know how long they take."""
        for _ in range(n):
            for a, b in ((self.client, self.server),
                         (self.server, self.client)):
                a.send(100)
                b.receive(100)

    def close(self):
        for end in self.client, self.server:
            end.sock.close()


def mute(lab, name):
    """Nothing that host 'name' sends gets through any more."""
    lab.bridge.run("nft", f"add table netdev {name}; add chain netdev {name} "
                   f"drops {{ type filter hook ingress device {name} "
                   "priority 0; policy drop; }")


def unmute(lab, name):
    lab.bridge.run("nft", f"delete table netdev {name}")


def block(connection):
    """The client does not read: the server waits for its window.  How much is
    still to be read then."""
    connection.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                      1 << 16)
    connection.server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF,
                                      1 << 18)
    return connection.server.fill()


def lose_acknowledgements(lab, upwards, downwards, hole):
    """Leaves three connections with data that arrived and nobody says so: what
    the client sent, what the server sent, and what the server sent last, while
    the segment before it was lost."""
    mute(lab, "server")
    upwards.client.send(SOME)
    upwards.server.receive(SOME)
    hole.server.send(SEGMENT)
    mute(lab, "client")
    unmute(lab, "server")
    downwards.server.send(SOME)
    downwards.client.receive(SOME)
    hole.server.send(SOME)


def at(agent):
    """Where the peer is, to 'agent'."""
    flows = agent.json("flows")
    flows = flows["flows"] if isinstance(flows, dict) else flows or []
    return [flow["peer_locator"] for flow in flows
            if flow["state"] == "bound"]


def absence(lab, connections, agents, seconds, new):
    """The client loses its address, and has another one, or the same, later.
    How long it took from then until all went on, ms."""
    client = agents["client"].host
    blocked = connections[3]
    unread = block(blocked)
    lose_acknowledgements(lab, *connections[:3])
    old = client.address
    client.run("ip", "addr", "del", f"{old}/24", "dev", "eth0")
    unmute(lab, "client")
    unread -= blocked.client.drain()
    time.sleep(seconds)  # It is the absence that is tested.
    connections[2].client.send(100)
    client.address = new
    client.run("ip", "addr", "add", f"{new}/24", "dev", "eth0")
    start = time.monotonic()
    blocked.client.receive(unread)
    ends = [end for connection in connections
            for end in (connection.client, connection.server)]
    wait_for(lambda: not any(end.tcp_info()[2] for end in ends),
             "everything is acknowledged", 60)
    assert set(at(agents["server"])) == {new}, at(agents["server"])
    connections[2].client.receive(SEGMENT + SOME)
    connections[2].server.receive(100)
    return (time.monotonic() - start) * 1e3


def checksum_errors(host):
    """Segments that TCP has dropped for it."""
    for line in host.run("nstat", "-az", "TcpInCsumErrors").splitlines():
        if line.startswith("TcpInCsumErrors"):
            return int(line.split()[1])
    raise AssertionError("no such counter")


NAMES = ("data from the client", "data from the server",
         "data after a hole", "a window that was full")


def judge(what, connections):
    """No timer is as long as the absence."""
    for name, connection in zip(NAMES, connections):
        infos = [end.tcp_info()
                 for end in (connection.client, connection.server)]
        timer, trip = (max(info[i] for info in infos) for i in (0, 1))
        check(max(timer, trip) < SANE_MS, f"{what}: {name}",
              f"round trip {trip:.1f} ms, timer {timer:.0f} ms")


def absences(lab, agents, seconds):
    client, server = agents["client"].host, agents["server"].host
    client.address = client.locator
    listener = server.listen(7000)
    address = agents["client"].resolve("db.shop.acme")
    for new, offloads in (("10.0.0.77", "on"), ("10.0.0.77", "on"),
                          ("10.0.0.1", "off")):
        for host in client, server:
            host.run("ethtool", "-K", "eth0", "tx", offloads, "gro", offloads)
        connections = [Connection(client, server, address, listener)
                       for _ in NAMES]
        for connection in connections:
            connection.round_trips()
        wait_for(lambda: all(group["state"] == "ESTABLISHED" for peer in
                             agents["client"].json("show", "groups")
                             for group in peer["groups"]), "introduction")
        what = ("the same address" if new == client.address else
                "another address")
        if offloads == "off":
            what += ", no offloads"
        took = absence(lab, connections, agents, seconds, new)
        check(took < SANE_MS, f"{what} after {seconds:g} s: all go on",
              f"{took:.0f} ms")
        judge(what, connections)
        for connection in connections:
            connection.close()
        wait_for(lambda: not at(agents["server"]), "the flows end")
    for host in client, server:
        echoes = agents[host.name].counter("in_old_echo")
        errors = checksum_errors(host)
        check(echoes and not errors, f"checksums at the {host.name}",
              f"{echoes} changed, {errors} wrong")


def main():
    lab = Lab(sys.argv[1])
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 8
    agents = {}
    try:
        for number, name, more in (1, "client", CLIENT), (2, "server", SERVER):
            host = lab.host(name, f"10.0.0.{number}")
            agents[name] = Agent(host, f"100.64.0.{number}", more)
        absences(lab, agents, seconds)
    except BaseException:
        for agent in agents.values():
            print(agent.host.name, open(agent.log).read()[-3000:])
        raise
    finally:
        for agent in agents.values():
            agent.stop()
        lab.close()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
