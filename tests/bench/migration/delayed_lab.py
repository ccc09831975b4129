# SPDX-License-Identifier: Apache-2.0
"""The lab of tests/migration with long cables at the client:

    h1-eth0 ==== relay, 10 ms each way ==== s1
    h1-eth1 ==== relay, 10 ms each way ==== s2
"""

import json
import re
import subprocess
import threading

from topologies.daemon import BUILD, sh
from migration.lab import Lab, run_in


class DelayedLab(Lab):
    """start() as of a Lab; then relays are put in between."""

    relay = None

    def put_relays(self):
        """Cuts both cables of the client and joins them by a relay."""
        pairs = []
        for i in range(2):
            port = self.client.cable(i)
            switch, number = port.node, port.node.ports[port]
            near, far = f"relay{i}a", f"relay{i}b"
            sh("ip", "link", "add", near, "type", "veth", "peer", "name", far)
            for name in near, far:
                sh("ip", "link", "set", name, "up")
                sh("ethtool", "-K", name, "tx", "off")
            self.ovs.vsctl("del-port", switch.name, port.name, "--",
                           "add-port", switch.name, far, "--", "set",
                           "interface", far, f"ofport_request={number}")
            sh("ethtool", "-K", port.name, "tx", "off", "gro", "off")
            pairs += [port.name, near]
        self._pairs = pairs

    def delay(self, milliseconds):
        """(Re)starts the relay with a delay, each way."""
        self.stop_relay()
        self.relay = subprocess.Popen(
            [f"{BUILD}/tests/relay", str(int(milliseconds * 1000)),
             *self._pairs], stdout=subprocess.PIPE, text=True)
        if self.relay.stdout.readline() != "ready\n":
            raise RuntimeError("the relay does not start")

    def stop_relay(self):
        """Returns what it says: how many frames passed, how many did not."""
        if not self.relay:
            return ""
        self.relay.terminate()
        said, _ = self.relay.communicate(timeout=10)
        self.relay = None
        return said

    def ping(self, i, count=10):
        """Round trips from uplink number 'i' to the server, ms: (least,
        average)."""
        out = self.client.do("ping", "-q", "-c", str(count), "-i", "0.1",
                             "-I", self.client.uplinks[i],
                             self.server.address(0))
        least, average = re.search(r"= ([0-9.]+)/([0-9.]+)/", out).groups()
        return float(least), float(average)

    def down(self):
        self.stop_relay()
        return super().down()


class Watch:
    """tests/migration/watch.c on an interface of a host."""

    def __init__(self, host, interface, what):
        self.events = []  # [{"event_at", "first_out", "first_in", ...}]
        self._process = run_in(host, [f"{BUILD}/tests/watch", interface,
                                      what])
        self._process.stdout.readline()

        def read():
            for text in self._process.stdout:
                line = json.loads(text)
                if "event_at" in line:
                    self.events.append(dict(line, control=[]))
                elif self.events and "control_in" in line:
                    self.events[-1]["control"].append(line)
                elif self.events:
                    for key, value in line.items():
                        self.events[-1].setdefault(key, value)
        self._thread = threading.Thread(target=read, daemon=True)
        self._thread.start()

    def after(self, moment, key):
        """Milliseconds from the first event since 'moment' to the first 'key'
        after it.  (The kernel tells of an interface that goes down several
        times.)"""
        since = [event for event in self.events
                 if event["event_at"] >= moment]
        seen = next(event[key] for event in since if key in event)
        return (seen - since[0]["event_at"]) * 1e3

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._thread.join(5)
