# SPDX-License-Identifier: Apache-2.0
"""What happens to hosts while their connections go on: the table SCENARIOS.

Each scenario is a function of a Run; it changes addresses, interfaces, cables
or daemons, waits until the flows are where they should be, and the Run checks
at the end that no client noticed more than a pause.  They leave the network
as they found it.
"""

import dataclasses
import struct
import socket
import time

from topologies.daemon import BUILD
from topologies.probes import socket_of
from topologies.numbers import SAL_PORT
from topologies.wait import until
from migration import clients
from migration.lab import SERVICES
from migration.router import OUTSIDE, Router

RESOLVER6 = "fd53:414c::/48"
FOREIGN = 200  # Forged packets each time.


class Run:
    """Clients under way, and what was done to their hosts."""

    def __init__(self, lab, mib, rate, http2=()):
        self.lab = lab
        self.began = time.monotonic()
        self.moves = []  # Moments.
        self.clients = [clients.Words(lab, mib, rate), clients.Redis(lab),
                        clients.Http2(lab, *http2),
                        clients.Voice(lab)]
        self.words, _, _, self.voice = self.clients
        for client in self.clients:
            client.goes_on()
        # The daemons introduce themselves to each other right after binding.
        until(self.introduced, "the daemons know each other", 20)

    @property
    def client(self):
        return self.lab.client

    @property
    def server(self):
        return self.lab.server

    def introduced(self):
        for host in self.lab.hosts:
            groups = host.groups()
            if not groups or not all(group["state"] == "ESTABLISHED"
                                     for group in groups):
                return False
        return True

    def moved(self):
        """To be called right before a change: gaps count from here."""
        self.moves.append(time.monotonic())

    def wait_at(self, host, address, timeout=40):
        """Until all flows between the two hosts are bound to 'address' of
        'host', at both ends."""
        other = self.server if host is self.client else self.client

        def there():
            mine = host.flows()
            theirs = other.flows()
            return (mine and all(flow["own_locator"] == address
                                 for flow in mine)
                    and all(flow["peer_locator"] == address
                            for flow in theirs))
        until(there, f"{host.name}'s flows are at {address}", timeout)

    def all_go_on(self, timeout=60):
        for client in self.clients:
            client.goes_on(timeout)

    def finish(self):
        """What went wrong, as sentences."""
        wrong = [self.words.finish()]
        for client in self.clients[1:]:
            client.stop()
            wrong.append(client.finish())
        return list(filter(None, wrong))

    def kill(self):
        for client in self.clients:
            client.kill()

    def gaps(self):
        """{client's name: its longest gap around one of the moves, ms}."""
        return {client.name: max((client.longest_gap(
            moment, moment + 1 if i + 1 == len(self.moves)
            else min(moment + 1, self.moves[i + 1]))
            for i, moment in enumerate(self.moves)), default=0.0)
            for client in self.clients}


def interface_down(run):
    """The client's first interface goes down, and comes back."""
    run.moved()
    run.client.set_uplink(0, "down")
    run.wait_at(run.client, "10.0.1.1")
    run.all_go_on()
    run.moved()
    run.client.set_uplink(0, "up")
    run.lab.wait_uplinks()
    run.wait_at(run.client, "10.0.0.1")
    run.all_go_on()


def cable_pulled(run):
    """The server's cable is pulled: its interface loses the carrier."""
    port = run.server.cable(0).name
    run.moved()
    run.lab.set_link(port, "down")
    run.wait_at(run.server, "10.0.1.2")
    run.all_go_on()
    run.moved()
    run.lab.set_link(port, "up")
    run.lab.wait_uplinks()
    run.wait_at(run.server, "10.0.0.2")
    run.all_go_on()


def address_changed(run):
    """The only address of the client's only interface is replaced by
    another one, and then the server's."""
    for host, old, new in ((run.client, "10.0.0.1", "10.0.0.101"),
                           (run.server, "10.0.0.2", "10.0.0.102")):
        alone(run, host)
        for before, after in (old, new), (new, old):
            run.moved()
            host.remove_address(0, before)
            host.add_address(0, after)
            run.wait_at(host, after)
            run.all_go_on()
        company(run, host)


def alone(run, host):
    host.set_uplink(1, "down")
    run.all_go_on()


def company(run, host):
    host.set_uplink(1, "up")
    run.lab.wait_uplinks()


def set_subnet(host, router, number):
    """The client's address becomes 10.N.3.1, its router's 10.N.3.254."""
    router.subnet(f"10.{number}.3.254")
    host.do("ip", "address", "flush", "dev", host.uplinks[0])
    host.add_address(0, f"10.{number}.3.1", 24)
    host.do("ip", "route", "add", "default", "via", f"10.{number}.3.254",
            "dev", host.uplinks[0])


def direct(run, host, router):
    """No router any more."""
    run.moved()
    router.remove()
    host.do("ip", "address", "flush", "dev", host.uplinks[0])
    host.add_address(0, "10.0.0.1")
    run.wait_at(host, "10.0.0.1")
    run.all_go_on()
    company(run, host)


def subnet_changed(run):
    """The client gets behind a router, whose subnet is then renumbered."""
    host = run.client
    alone(run, host)
    run.moved()
    router = Router(run.lab, host)
    for number in 7, 8:
        run.moved()
        set_subnet(host, router, number)
        run.wait_at(host, f"10.{number}.3.1")
        run.all_go_on()
    direct(run, host, router)


def uneven_load(run):
    """The client may use both uplinks alike: its agent moves running flows, so
    that the two busiest are not on the same one."""
    host = run.client
    run.moved()
    host.uplink_list = ("[{name: h1-eth0, priority: 1}, "
                        "{name: h1-eth1, priority: 1}]")
    host.options = "balance_interval: 1s"
    host.reload()

    def place(service):
        _, port, _ = SERVICES[service]
        return next((flow["own_locator"] for flow in host.flows()
                     if flow["inner"]["remote_port"] == port), None)
    until(lambda: {place("words"), place("http2")}
          == {"10.0.0.1", "10.0.1.1"}, "the load is even", 20)
    run.all_go_on()
    host.uplink_list, host.options = None, ""
    host.reload()
    run.moved()
    host.migrate(1, 0)
    run.wait_at(host, "10.0.0.1")


def new_connections(run):
    """One that is served, and one that is refused at once."""
    words = run.lab.service_address["words"]
    served = run.client.attempt(f"{BUILD}/tests/words", "fetch", words,
                                "7000", "1")
    if served.returncode:
        raise RuntimeError(f"a new connection: {served.stderr}")
    refused = run.client.attempt(f"{BUILD}/tests/words", "fetch", words,
                                 "7001", "1", timeout=5)
    if "refused" not in refused.stderr:
        raise RuntimeError(f"not refused: {refused.stderr}")


def behind_nat(run):
    """The client gets behind a NAT, which then forgets what it knew, and gives
    it another port."""
    host, server = run.client, run.server
    alone(run, host)
    host.uplink_list = ("[{name: h1-eth0, behind_nat: true}, h1-eth1]")
    host.reload()
    run.moved()
    router = Router(run.lab, host)
    router.translate("192.168.1.1", 20001)
    router.subnet("192.168.1.254")
    host.do("ip", "address", "flush", "dev", host.uplinks[0])
    host.add_address(0, "192.168.1.1", 24)
    host.do("ip", "route", "add", "default", "via", "192.168.1.254", "dev",
            host.uplinks[0])

    def seen_at(port):
        return all(flow["peer_locator"] == OUTSIDE
                   and flow["peer_port"] == port for flow in server.flows())
    until(lambda: seen_at(20001), "the server answers to port 20001", 40)
    run.all_go_on()
    run.lab.wait_uplinks()
    new_connections(run)
    run.moved()
    router.translate("192.168.1.1", 20002)
    until(lambda: seen_at(20002), "the server answers to port 20002", 40)
    run.all_go_on()
    host.uplink_list = None
    host.reload()
    direct(run, host, router)


def hop(run):
    """The client's only cable is pulled and plugged in at another switch."""
    host = run.client
    alone(run, host)
    for name in "s3", "s1":
        run.moved()
        run.lab.move_port(host, 0, run.lab.switches_by_name[name])
        run.all_go_on()
    company(run, host)


def silent_path(run):
    """A switch forgets the client's first port: nothing passes any more, and
    nobody tells the host.  Later it does again."""
    host = run.client
    port = host.cable(0).name
    run.moved()
    run.lab.ovs.vsctl("del-port", port)
    run.wait_at(host, "10.0.1.1")
    run.all_go_on()
    run.moved()
    run.lab.ovs.vsctl("add-port", "s1", port)
    run.lab.wait_uplinks()
    run.wait_at(host, "10.0.0.1")
    run.all_go_on()


def both_at_once(run):
    """Both hosts lose the interface that they use at the same moment."""
    run.moved()
    # Before either could tell the other.
    for change in [host.start(["ip", "link", "set", host.uplinks[0], "down"])
                   for host in (run.client, run.server)]:
        change.wait()
    run.wait_at(run.client, "10.0.1.1")
    run.wait_at(run.server, "10.0.1.2")
    run.all_go_on()
    run.moved()
    run.server.set_uplink(0, "up")
    run.client.set_uplink(0, "up")
    run.lab.wait_uplinks()
    run.wait_at(run.client, "10.0.0.1")
    run.wait_at(run.server, "10.0.0.2")
    run.all_go_on()


def fifty_moves(run, n=50):
    """The client is told to change over, again and again, both uplinks being
    up."""
    for i in range(n):
        target = (i + 1) % 2
        run.moved()
        run.client.migrate(1 - target, target)
        run.wait_at(run.client, f"10.0.{target}.1")
    run.all_go_on()


def gentle_moves(run):
    """The same, 20 times and with so little traffic that the switches, which
    run in user space here, lose nothing: then nothing may be lost at all."""
    fifty_moves(run, 20)


def long_absence(run, seconds=30):
    """The client has no address for 30 s, and another one afterwards."""
    host = run.client
    alone(run, host)
    run.moved()
    host.remove_address(0, "10.0.0.1")
    time.sleep(seconds)  # The absence itself is what is tested.
    run.moved()
    host.add_address(0, "10.0.0.77")
    run.wait_at(host, "10.0.0.77")
    run.all_go_on()
    run.moved()
    host.remove_address(0, "10.0.0.77")
    host.add_address(0, "10.0.0.1")
    run.wait_at(host, "10.0.0.1")
    run.all_go_on()
    company(run, host)


def longer_absence(run):
    """Two minutes: as long as TCP's timer gets."""
    long_absence(run, 120)


def daemon_killed(run):
    """kill -9 of the daemon right after its interface went down, at the
    client, then at the server."""
    for host, second in ((run.client, "10.0.1.1"), (run.server, "10.0.1.2")):
        first = host.address(0)
        run.moved()
        host.set_uplink(0, "down")
        host.agent.kill()
        host.start_agent()
        run.wait_at(host, second)
        run.all_go_on()
        run.moved()
        host.set_uplink(0, "up")
        run.lab.wait_uplinks()
        run.wait_at(host, first)


def peer_daemon_killed(run):
    """kill -9 of the daemon whose peer is just moving."""
    run.moved()
    run.client.set_uplink(0, "down")
    run.server.agent.kill()
    run.server.start_agent()
    run.wait_at(run.client, "10.0.1.1")
    run.all_go_on()
    run.moved()
    run.client.set_uplink(0, "up")
    run.lab.wait_uplinks()
    run.wait_at(run.client, "10.0.0.1")


def ipv4_to_ipv6(run):
    """Both hosts get IPv6 addresses; then the client loses its IPv4 addresses,
    and later has them again and no other."""
    for number, host in enumerate(run.lab.hosts, 1):
        host.do("ip", "-6", "addr", "add", f"fd77::{number}/48", "dev",
                host.uplinks[0], "nodad")
        host.do("ip", "-6", "route", "add", RESOLVER6, "dev",
                host.uplinks[0])
    for host in run.lab.hosts:
        until(lambda: host.salctl("status")["uplinks"][0]["attached_v6"],
              f"{host.name} is attached over IPv6", 15)
    host = run.client
    alone(run, host)
    run.moved()
    host.remove_address(0, "10.0.0.1")
    run.wait_at(host, "fd77::1")
    run.all_go_on()
    host.add_address(0, "10.0.0.1")
    run.lab.wait_uplinks()
    run.moved()
    host.do("ip", "-6", "addr", "del", "fd77::1/48", "dev", host.uplinks[0])
    run.wait_at(host, "10.0.0.1")
    run.all_go_on()
    company(run, host)
    run.server.do("ip", "-6", "addr", "del", "fd77::2/48", "dev",
                  run.server.uplinks[0])


def forge_data(host, source, flow, n=FOREIGN):
    """Sends 'n' DATA packets from locator 'source' of 'host' that fit 'flow'
    (one of that host's own) but for where they come from."""
    wire = flow["wire"]
    inner = struct.pack(
        "!BBHHHBBH4s4sHHIIBBHHH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0,
        socket.inet_aton(wire["local"]), socket.inet_aton(wire["remote"]),
        wire["local_port"], wire["remote_port"], 1, 1, 0x50, 0x14, 0, 0, 0)
    sal = struct.pack("!BBBBIIBBH", 0x10, 4, 1, 6, int(flow["id"], 16),
                      int(flow["peer_id"], 16), 0, 4, 0)
    with socket_of(host, socket.SOCK_DGRAM) as forger:
        forger.setblocking(True)
        interface = next(name for i, name in enumerate(host.uplinks)
                         if host.address(i) == source)
        forger.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE,
                          interface.encode())
        forger.bind((source, 0))
        for _ in range(n):
            forger.sendto(sal + inner, (flow["peer_locator"], SAL_PORT))


def foreign_data(run):
    """DATA (with RST set) for a flow from a locator that is not the flow's is
    dropped and counted: before a move, and some time after it."""
    def count():
        counters = run.server.counters()
        return counters["in_wrong_peer"], counters["in_previous"]

    def forge(source):
        """Whether all were dropped as foreign."""
        wrong, late = count()
        flow = next(flow for flow in run.client.flows()
                    if flow["inner"]["protocol"] == 6)
        forge_data(run.client, source, flow)
        until(lambda: sum(count()) >= wrong + late + FOREIGN,
              f"{FOREIGN} forged packets from {source} are counted")
        return count()[0] >= wrong + FOREIGN

    if not forge("10.0.1.1"):
        raise RuntimeError("foreign DATA was accepted")
    run.moved()
    run.client.migrate(0, 1)
    run.wait_at(run.client, "10.0.1.1")
    # For a moment, what comes from the old place is late, not foreign.
    until(lambda: forge("10.0.0.1"), "the old locator has expired", 30,
          interval=1)
    run.all_go_on()
    run.moved()
    run.client.migrate(1, 0)
    run.wait_at(run.client, "10.0.0.1")


# Windows that are never used up: nghttpd resets a stream that has waited a
# minute for one, which an absence and TCP's timers after it may add up to.
WIDE = ("--window-bits=30", "--connection-window-bits=30")


@dataclasses.dataclass
class Scenario:
    run: object
    short: bool = False     # In "make check".
    mib: int = 192          # Of the verified download, and its pace.
    rate: int = 12
    lossless: bool = False  # Not one datagram may be lost.
    http2: tuple = ()       # Options of nghttp.

    @property
    def name(self):
        return self.run.__name__.replace("_", " ")


SCENARIOS = [
    Scenario(interface_down, short=True, mib=96),
    Scenario(cable_pulled, mib=96),
    Scenario(address_changed),
    Scenario(subnet_changed),
    Scenario(hop),
    Scenario(silent_path),
    Scenario(both_at_once, short=True, mib=96),
    Scenario(gentle_moves, short=True, mib=6, rate=1, lossless=True),
    Scenario(fifty_moves, mib=1024, rate=40),
    Scenario(long_absence, mib=256, http2=WIDE),
    Scenario(longer_absence, mib=256, http2=WIDE),
    Scenario(daemon_killed),
    Scenario(peer_daemon_killed),
    Scenario(ipv4_to_ipv6),
    Scenario(behind_nat),
    Scenario(uneven_load, mib=96),
    Scenario(foreign_data, mib=96),
]
