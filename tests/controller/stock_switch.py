# SPDX-License-Identifier: Apache-2.0
"""A switch of another make: OpenFlow 1.3, no SAL fields, no bundles.  Answers
what it is asked and remembers the flow_mods it is sent."""

import socket
import struct
import threading

HEADER = struct.Struct(">BBHI")
VERSION = 4
(HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY,
 PACKET_OUT, FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST,
 BARRIER_REPLY, METER_MOD) = (0, 1, 2, 3, 5, 6, 13, 14, 18, 19, 20, 21, 29)
METER_CONFIG = 10
ADD_METER, DELETE_METER = 0, 2
DESC, FLOW, GROUP_FEATURES, METER_FEATURES, TABLE_FEATURES, PORT_DESC = (
    0, 1, 8, 11, 12, 13)


def _oxm_ids():
    """OXM headers of in_port, eth_type, ipv4_dst: what it matches."""
    return b"".join(struct.pack(">I", 0x8000 << 16 | field << 9 | length)
                    for field, length in ((0, 4), (5, 2), (12, 4)))


def _property(kind, body=b""):
    length = 4 + len(body)
    return struct.pack(">HH", kind, length) + body + bytes(-length % 8)


def _table(number):
    instructions = struct.pack(">HHHHHH", 1, 4, 3, 4, 4, 4)
    actions = struct.pack(">HH", 0, 4)
    properties = b"".join([
        _property(0, instructions), _property(2, bytes([number + 1])),
        _property(4, actions), _property(6, actions), _property(8, _oxm_ids()),
        _property(10, _oxm_ids()), _property(12), _property(14)])
    return struct.pack(">HB5x32sQQII", 64 + len(properties), number,
                       b"table", 0, 0, 0, 1000) + properties


class StockSwitch:
    """Connects at once; stop() ends it.  'meters' is how many it says to have,
    'room' for how many of them there is."""

    def __init__(self, port, dpid, ports=2, meters=0, room=None):
        self.dpid, self.n_ports, self.flow_mods = dpid, ports, []
        self.meter_mods = self.bundles = 0
        self.max_meters, self.meters = meters, set()
        self.room = meters if room is None else room
        self.mute = False
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.closed = threading.Event()
        self.send(HELLO, 1, struct.pack(">HHI", 1, 8, 1 << 4 | 1 << 1))
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, kind, xid, body=b""):
        self.sock.sendall(HEADER.pack(VERSION, kind, 8 + len(body), xid)
                          + body)

    def stop(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def _receive(self, n):
        data = b""
        while len(data) < n:
            piece = self.sock.recv(n - len(data))
            if not piece:
                raise OSError("closed")
            data += piece
        return data

    def _run(self):
        try:
            while True:
                _, kind, length, xid = HEADER.unpack(self._receive(8))
                self._answer(kind, xid, self._receive(length - 8))
        except OSError:
            self.closed.set()

    def _answer(self, kind, xid, body):
        if self.mute:
            return
        if kind == ECHO_REQUEST:
            self.send(ECHO_REPLY, xid, body)
        elif kind == FEATURES_REQUEST:
            self.send(FEATURES_REPLY, xid, struct.pack(
                ">QIBB2xII", self.dpid, 0, 4, 0, 0, 0))
        elif kind == BARRIER_REQUEST:
            self.send(BARRIER_REPLY, xid)
        elif kind == FLOW_MOD:
            self.flow_mods.append(body)
        elif kind == METER_MOD:
            self._change_meter(xid, body)
        elif kind == MULTIPART_REQUEST:
            self._multipart(struct.unpack(">H", body[:2])[0], xid, body)
        elif kind not in (HELLO, ERROR, PACKET_OUT):
            self.bundles += 1
            self._refuse(xid, kind)

    def _change_meter(self, xid, body):
        command, _, meter = struct.unpack(">HHI", body[:8])
        self.meter_mods += 1
        if command == ADD_METER and len(self.meters) >= self.room:
            # OFPET_METER_MOD_FAILED, OFPMMFC_OUT_OF_METERS.
            self.send(ERROR, xid, struct.pack(">HH", 12, 10)
                      + HEADER.pack(VERSION, METER_MOD, 8 + len(body), xid)
                      + body)
        elif command == DELETE_METER:
            self.meters.discard(meter)
        else:
            self.meters.add(meter)

    def _multipart(self, what, xid, body):
        reply = {
            DESC: struct.pack(">256s256s256s32s256s", b"Other", b"Make",
                              b"1.0", b"", b""),
            FLOW: b"",
            METER_FEATURES: struct.pack(">III2B2x", self.max_meters, 2, 13, 1,
                                        0),
            METER_CONFIG: b"",
            TABLE_FEATURES: b"".join(map(_table, range(3))),
            PORT_DESC: b"".join(self._port(n + 1)
                                for n in range(self.n_ports)),
        }.get(what)
        if reply is None:
            self._refuse(xid, MULTIPART_REQUEST)
        else:
            self.send(MULTIPART_REPLY, xid, struct.pack(">HH4x", what, 0)
                      + reply)

    def _refuse(self, xid, kind):
        """OFPET_BAD_REQUEST, OFPBRC_BAD_TYPE."""
        self.send(ERROR, xid, struct.pack(">HH", 1, 1)
                  + HEADER.pack(VERSION, kind, 8, xid))

    @staticmethod
    def _port(number):
        return struct.pack(">I4x6s2x16sIIIIIIII", number,
                           bytes([2, 0, 0, 0, 9, number]),
                           f"eth{number}".encode(), 0, 4, 0, 0, 0, 0, 0, 0)
