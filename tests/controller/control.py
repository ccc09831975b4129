# SPDX-License-Identifier: Apache-2.0
"""A client of a daemon's control socket, so that the tests of the controller
need no other program.  Speaks just enough protobuf: Envelope { request_id = 1,
Command { argv = 1, json = 2 } = 40 }, CommandReply { status = 1, output = 2,
error = 3, more = 4 } = 41."""

import json
import socket
import struct

HEADER = struct.Struct(">2sBBI")


def _varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number, data):
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _fields(data):
    """Yields (number, value) of a message."""
    position = 0

    def varint():
        nonlocal position
        value, shift = 0, 0
        while True:
            octet = data[position]
            position += 1
            value |= (octet & 0x7f) << shift
            shift += 7
            if octet < 0x80:
                return value
    while position < len(data):
        tag = varint()
        if tag & 7 == 2:
            length = varint()
            yield tag >> 3, data[position:position + length]
            position += length
        elif tag & 7 == 0:
            yield tag >> 3, varint()
        else:
            raise ValueError(f"wire type {tag & 7}")


def _receive(sock, n):
    data = b""
    while len(data) < n:
        piece = sock.recv(n - len(data))
        if not piece:
            raise ConnectionError("the daemon closed the connection")
        data += piece
    return data


def _reply(sock):
    """One CommandReply as a dictionary of its fields."""
    _, _, _, length = HEADER.unpack(_receive(sock, HEADER.size))
    envelope = dict(_fields(_receive(sock, length)))
    return dict(_fields(envelope[41]))


def call_raw(path, *argv, as_json=True, timeout=10):
    """(status, output, error)."""
    command = b"".join(_field(1, word.encode()) for word in argv)
    if as_json:
        command += _varint(2 << 3) + b"\1"
    envelope = _varint(1 << 3) + b"\1" + _field(40, command)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        sock.connect(path)
        sock.sendall(HEADER.pack(b"SL", 1, 0, len(envelope)) + envelope)
        output = b""
        while True:
            reply = _reply(sock)
            output += reply.get(2, b"")
            if not reply.get(4):
                return (reply.get(1, 0), output.decode(),
                        reply.get(3, b"").decode())


def call(path, *argv):
    """The JSON answer; None if the daemon is not there or refuses."""
    try:
        status, output, _ = call_raw(path, *argv)
    except OSError:
        return None
    return json.loads(output) if status == 0 and output else None
