#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Moves without a controller and without any SAL switch, and through a NAT as
Linux makes it: it gives each peer another port, lets nobody else in, and
forgets.

    client                  nat                       server
    eth0 192.168.1.2 --- 192.168.1.1, 10.0.0.9 ---+--- 10.0.0.2
    eth1 10.0.0.1 --------------------------------+
                                                 br0

eth1 is preferred.
"""
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../bpf")
from netlab import Lab, wait_for  # noqa: E402
from test_nat import OUTSIDE, PORTS, make_nat  # noqa: E402
from test_static import Agent  # noqa: E402

CLIENT = """\
uplinks: [eth1, {name: eth0, behind_nat: true}]
migration: {hysteresis: 1s}
routes: [{service: words.shop.acme, locators: [10.0.0.2]}]
"""
SERVER = """\
uplinks: [eth0]
services: [{name: words.shop.acme, port: 7000}]
"""
passed = 0


class MovingAgent(Agent):
    """Its uplinks are in what is added."""

    def write(self, more):
        super().write(more)
        with open(self.config) as file:
            text = file.read()
        with open(self.config, "w") as file:
            file.write(text.replace("uplinks: [eth0]\n", "", 1))

    def flows(self):
        flows = self.json("flows")
        return [flow for flow in flows.get("flows", []) if flow["state"] ==
                "bound"] if isinstance(flows, dict) else [
                    flow for flow in flows if flow["state"] == "bound"]


def check(what, figure=""):
    global passed
    passed += 1
    print(f"PASS  {what:<50}  {figure}".rstrip(), flush=True)


def wire(lab):
    client = lab.host("client", None)
    server = lab.host("server", "10.0.0.2")
    nat = make_nat(lab, client)
    nat.run("nft", "flush chain ip nat out; add rule ip nat out oifname "
            "outside udp sport 0-65535 masquerade to "
            f":{PORTS[0]}-{PORTS[-1]} random")
    lab.bridge.run("ip", "link", "add", "client1", "master", "br0", "up",
                   "type", "veth", "peer", "name", "eth1", "netns",
                   client.holder.pid)
    client.run("ip", "link", "set", "eth1", "up")
    client.run("ip", "addr", "add", "10.0.0.1/24", "dev", "eth1")
    return client, server, nat


def fetch(client, address, mib, *options):
    return client.popen(f"{client.lab.build}/tests/words", "fetch", address,
                        "7000", mib, *options, stdout=subprocess.PIPE,
                        text=True)


def result(download):
    out, _ = download.communicate(timeout=90)
    last = json.loads(out.splitlines()[-1])
    assert download.returncode == 0 and not last["wrong"], last
    return last


def lost_behind_nat(client, server, here, there):
    """The server's host forgets a connection through the NAT: it tells the
    client where its DATA comes from."""
    client.run("ip", "link", "set", "eth1", "down")
    listener = server.listen(7000)
    s = client.connect(here.resolve("words.shop.acme"), 7000)
    accepted, _ = listener.accept()
    wait_for(lambda: [f["peer_locator"] for f in there.flows()] == [OUTSIDE],
             "a connection through the NAT", 20)
    there.process.kill()
    there.process.wait()
    os.unlink(there.socket)
    server.dpctl("layout", "1")
    there.start()
    s.settimeout(1)

    def reset():
        try:
            s.send(bytes(400))
            return False
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
    wait_for(reset, "the client's end of the connection ends", 30)
    mine = here.json("show", "counters")["agent"]
    assert mine["lost_flows_closed"] == 1, mine
    for one in s, accepted, listener:
        one.close()
    check("a connection through the NAT that the server's host lost ends")


def moves(client, server, nat):
    here = MovingAgent(client, "100.64.0.1", CLIENT)
    there = MovingAgent(server, "100.64.0.2", SERVER)
    address = here.resolve("words.shop.acme")
    serving = server.popen(f"{server.lab.build}/tests/words", "serve", "7000")
    wait_for(lambda: ":7000" in server.run("ss", "-tln"), "the server")
    download = fetch(client, address, 150, "rate=4")

    def seen():
        """Where the server sends to."""
        flows = there.flows()
        return (flows[0]["peer_locator"], flows[0]["peer_port"]) if flows \
            else (None, None)
    try:
        wait_for(lambda: seen() == ("10.0.0.1", 0), "the direct path")
        wait_for(lambda: any(group["state"] == "ESTABLISHED" for peer in
                             here.json("show", "groups")
                             for group in peer["groups"]), "introduction")
        check("a download, host to host, without a controller")

        client.run("ip", "link", "set", "eth1", "down")
        start = time.monotonic()
        wait_for(lambda: seen()[0] == OUTSIDE, "the NAT's address", 20)
        port = seen()[1]
        assert port in PORTS, port
        check("its interface goes down: on through the NAT",
              f"port {port}, {(time.monotonic() - start) * 1e3:.0f} ms")

        result(fetch(client, address, 2))
        check("a new connection through the NAT")

        # Only the server has something to say: the silence makes the client
        # announce itself.
        wait_for(lambda: len(here.flows()) == 1, "the other flow ends")
        port = seen()[1]
        nat.run("conntrack", "-F")
        start = time.monotonic()
        wait_for(lambda: seen()[1] not in (port, None), "another port", 40)
        check("the NAT forgets: on with another port",
              f"port {seen()[1]}, {time.monotonic() - start:.1f} s")

        client.run("ip", "link", "set", "eth1", "up")
        wait_for(lambda: seen() == ("10.0.0.1", 0), "the direct path", 20)
        check("the better interface returns: back on the direct path")
        last = result(download)
        serving.kill()
        serving.wait()
        check("every word is right", f"{last['bytes'] >> 20} MiB, longest "
              f"pause {last['longest_ms']:.0f} ms")
        lost_behind_nat(client, server, here, there)
    finally:
        download.kill()
        serving.kill()
        for agent in here, there:
            agent.stop()


def main():
    lab = Lab(sys.argv[1])
    nat = None
    try:
        client, server, nat = wire(lab)
        moves(client, server, nat)
    except BaseException:
        for name in "client", "server":
            if os.path.exists(f"{lab.dir}/{name}/log"):
                print(name, open(f"{lab.dir}/{name}/log").read()[-3000:])
        raise
    finally:
        if nat:
            nat.close()
        lab.close()
    print(f"plain: {passed} passed, 0 failed")


if __name__ == "__main__":
    main()
