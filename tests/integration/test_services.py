# SPDX-License-Identifier: Apache-2.0
"""What configuration says of a service, with real agents in real switches.

          s1 -- h1        h2: its web server dies and comes back; the agent
         /  \\\\                checks its health
    h2 s2 -- s3 h3        h3: reached over IPv6, inside and outside, by a path
                              class that avoids s2

Ends with one line that counts."""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

# pylint: disable=wrong-import-position
from topologies import sandbox, shapes
from topologies.report import Report
from topologies.wait import TooLate, until

CONTROLLER = """\
path_classes:
  - {name: clean, number: 2, kind: avoid, switches: ["0000000000000002"]}
services:
  - {name: h3.topo.acme, path_class: clean}
"""
HEALTH = """\
    health: http
    health_interval: 300ms
    priority: 4
    capacity: 9
"""
SERVER = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
Server(("", 8080), Handler).serve_forever()
"""


def serve(host, ip="4"):
    return host.start([sys.executable, "-c", SERVER, ip],
                      stderr=subprocess.DEVNULL)


def end(process):
    process.kill()
    process.wait()


def curl(host, name, *options):
    done = host.attempt("curl", "-sS", "--max-time", "5", *options,
                        f"http://{name}.sal/")
    return done.returncode, done.stdout


def health(net):
    """A server that does not answer gets no new connections."""
    name, host = "h2.topo.acme", net.get("h2")
    if net.weights(name) != {"h2": 0}:
        return f"at first: {net.weights(name)}"
    for _ in range(2):
        server = serve(host)
        until(lambda: net.weights(name) == {"h2": 1}, "it is healthy")
        status, _ = curl(net.get("h1"), name)
        if status != 0:
            return f"curl: {status}"
        end(server)
        until(lambda: net.weights(name) == {"h2": 0}, "it is not healthy")
        status, _ = curl(net.get("h1"), name)
        if status != 7:
            return f"curl of a dead server: {status}, not refused"
    shown = host.salctl("show", "services")[0]
    if (shown["health"], shown["priority"], shown["capacity"]) != ("bad", 4,
                                                                   9):
        return str(shown)
    zones = {e["name"]: e["zone"]
             for e in net.ask_controller("show", "services")["endpoints"]}
    return "" if zones["h2"] == "east" else str(zones)


def counted(net, switch, pattern):
    out = net.ovs.ofctl("--no-names", "dump-flows", switch)
    return sum(int(re.search(r"n_packets=(\d+)", line)[1])
               for line in out.splitlines() if re.search(pattern, line))


def ipv6_by_a_class(net):
    """TCP over IPv6, in IPv6, and all of it carries the class."""
    server = serve(net.get("h3"), "6")
    try:
        found = []

        def answered():
            found[:] = curl(net.get("h1"), "h3.topo.acme", "-6")
            return found[0] == 0
        until(answered, "curl -6 is answered")
        if not found[1].startswith("fd53:414c:1:"):
            return f"the server saw {found[1]}"
        of_class = r"table=20.*ipv6_dst=fd00::3,.*sal_flags=0x2/0xf"
        # The datapath's counts arrive a second later.
        until(lambda: counted(net, "s1", of_class) >= 3,
              "packets of the class are counted", 5)
    finally:
        end(server)
    return ""


def asked_first(net):
    """DELAY: the SYN is held until the controller has said where to."""
    host, name = net.get("h1"), "h3.topo.acme"

    def count(name):
        return host.salctl("show", "counters")["agent"][name]
    server = serve(net.get("h3"))
    try:
        until(lambda: curl(host, name, "-4")[0] == 0, "the server listens")
        host.must_salctl("route", "add", name, "--action", "delay")
        for _ in range(3):
            status, _ = curl(host, name, "-4")
            if status != 0:
                return f"curl: {status}"
        held = (count("held_questions"), count("held_sent"),
                count("held_refused"))
        if held != (1, 1, 0):
            return f"questions, sent, refused: {held}"
    finally:
        end(server)
        host.must_salctl("route", "del", name)
    return ""


def run(report):
    from topologies import host as hosts, topo
    hosts.AGENT_YAML += "zone: east\n"
    net = topo.build(shapes.ring(3), "check-services", ipv6=True)
    net.controller_options += CONTROLLER
    try:
        net.start_controller()
        for host in net.hosts:
            if host.name == "h2":
                plain = hosts.SERVICE_YAML
                hosts.SERVICE_YAML += HEALTH
            host.start_agent([{"name": f"{host.name}.topo.acme", "port": 80,
                               "weight": 1}])
            if host.name == "h2":
                hosts.SERVICE_YAML = plain
        net.wait_in_sync(60)
        report.check(True, "the network starts", "")
        for step in (asked_first, health, ipv6_by_a_class):
            wrong = step(net)
            report.check(not wrong, step.__name__.replace("_", " "), wrong)
    except (TooLate, RuntimeError, OSError) as error:
        report.check(False, "goes on", str(error))
        net.show_logs()
        return 1
    wrong = topo.stop(net)
    report.check(not wrong, "stops, leaves nothing", "; ".join(wrong))
    return 0


def main():
    report = Report()
    return report.finish(sandbox.run(lambda: run(report)))


if __name__ == "__main__":
    sys.exit(main())
