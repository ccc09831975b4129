# SPDX-License-Identifier: Apache-2.0
"""Numbered UDP datagrams from one host to another, so many a second, every one
accounted for: what was lost, and for how long nothing came."""

import socket
import struct
import threading
import time

from topologies.probes import socket_of

SO_RCVBUFFORCE = 33
NUMBER = struct.Struct("!Q")
PORT = 9
BURST = 20  # Datagrams.


class Stream:
    """Runs from now on until stop()."""

    def __init__(self, sender, receiver, rate=1000, port=PORT):
        self._into = socket_of(receiver, socket.SOCK_DGRAM)
        # What waits for us because the machine is busy is not lost.
        self._into.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
        self._into.bind(("0.0.0.0", port))
        self._into.settimeout(0.2)
        self._out = socket_of(sender, socket.SOCK_DGRAM)
        self._to = (receiver.IP(), port)
        self._pause = 1 / rate
        self.sent, self._seen = 0, set()
        self._stopping = False
        self._threads = [threading.Thread(target=run, daemon=True)
                         for run in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self):
        due = time.monotonic()
        while not self._stopping:
            try:
                self._out.sendto(NUMBER.pack(self.sent), self._to)
            except OSError:
                pass  # No carrier: counted, and lost.
            self.sent += 1
            # Who waited for the CPU does not make up for it in a burst that
            # fills the queue of a switch's port.
            now = time.monotonic()
            due = max(due + self._pause, now - BURST * self._pause)
            time.sleep(max(0, due - now))

    def _receive(self):
        while True:
            try:
                self._seen.add(NUMBER.unpack(self._into.recv(64))[0])
            except socket.timeout:
                if self._stopping:
                    return
            except OSError:
                return

    def lost(self, since=0, patience=0.5):
        """Numbers from 'since' on that have not come; those under way get
        'patience' seconds."""
        end = self.sent
        time.sleep(patience)
        return [n for n in range(since, end) if n not in self._seen]

    def stop(self):
        """(sent, lost) of the whole run."""
        self._stopping = True
        for thread in self._threads:
            thread.join()
        self._into.close()
        self._out.close()
        return self.sent, self.sent - len(self._seen)
