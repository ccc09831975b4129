# SPDX-License-Identifier: Apache-2.0
"""Asks a DNS server one question, without a library's retries and searches.

    dns_query.py SERVER NAME [TYPE]

prints the response code, then the IPv4 addresses of the answer."""

import socket
import struct
import sys


def skip_name(packet, at):
    while packet[at]:
        if packet[at] >= 0xc0:
            return at + 2
        at += 1 + packet[at]
    return at + 1


def query(server, name, kind=1):
    question = b"".join(bytes([len(label)]) + label.encode()
                        for label in name.rstrip(".").split(".")) + b"\0"
    request = (struct.pack(">HHHHHH", 0x5341, 0x0100, 1, 0, 0, 0) + question
               + struct.pack(">HH", kind, 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(request, (server, 53))
        packet = sock.recv(4096)
    ident, flags, questions, answers = struct.unpack(">HHHH", packet[:8])
    if ident != 0x5341 or not flags & 0x8000:
        raise SystemExit("not an answer to our question")
    at = 12
    for _ in range(questions):
        at = skip_name(packet, at) + 4
    addresses = []
    for _ in range(answers):
        at = skip_name(packet, at)
        rtype, _, _, length = struct.unpack(">HHIH", packet[at:at + 10])
        at += 10
        if rtype == 1:
            addresses.append(socket.inet_ntoa(packet[at:at + length]))
        at += length
    return flags & 0xf, addresses


if __name__ == "__main__":
    code, found = query(sys.argv[1], sys.argv[2],
                        int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    print(code, *found)
