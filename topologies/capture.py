# SPDX-License-Identifier: Apache-2.0
"""Records packets of switch ports, into memory and pcap files."""

import select
import socket
import struct
import threading
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
UDP = 17
# Offsets of an Ethernet frame with an IPv4 header of 20 bytes and UDP.
OFS_PROTOCOL, OFS_UDP_DST, OFS_SAL = 23, 36, 42


def sal_type(frame, port):
    """Type of the SAL packet in 'frame' (IPv4, no VLAN), or None."""
    if (len(frame) < OFS_SAL + 16 or frame[12:14] != b"\x08\x00"
            or frame[14] != 0x45 or frame[OFS_PROTOCOL] != UDP
            or int.from_bytes(frame[OFS_UDP_DST:OFS_UDP_DST + 2],
                              "big") != port):
        return None
    return frame[OFS_SAL + 2]


class Capture:
    """with Capture(["s1-eth1"]) as capture: ... capture.packets

    Each packet is (time, interface, incoming, frame)."""

    def __init__(self, interfaces, limit=20000):
        self.packets = []
        self._limit = limit
        self._stop, self._stopped = socket.socketpair()
        self._sockets = []
        for interface in interfaces:
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                socket.htons(ETH_P_ALL))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            raw.bind((interface, ETH_P_ALL))
            self._sockets.append(raw)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._stop.close()
        self._thread.join()
        for raw in self._sockets:
            raw.close()
        self._stopped.close()

    def _run(self):
        while True:
            ready, _, _ = select.select([self._stopped, *self._sockets],
                                        [], [])
            if self._stopped in ready:
                return
            for raw in ready:
                try:
                    frame, address = raw.recvfrom(65536)
                except OSError:
                    continue  # The interface is down; said once.
                if len(self.packets) < self._limit:
                    self.packets.append((time.time(), address[0],
                                         address[2] != PACKET_OUTGOING,
                                         frame))

    def write(self, path):
        """A pcap file, in the order of capture."""
        with open(path, "wb") as pcap:
            pcap.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0,
                                   262144, 1))
            for when, _, _, frame in list(self.packets):
                pcap.write(struct.pack("<IIII", int(when),
                                       int(when % 1 * 1e6), len(frame),
                                       len(frame)))
                pcap.write(frame)
