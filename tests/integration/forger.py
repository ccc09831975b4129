# SPDX-License-Identifier: Apache-2.0
"""SYNs whose inner source is whatever one likes.  Run inside a host, as root:

    forger.py INTERFACE LOCATOR SERVER SERVICE-ID SERVICE-ADDRESS SOURCE
              ENDPOINT-ID COUNT [PORT [bind]]

Sends COUNT SAL SYNs with a TCP SYN from SOURCE (IPv4 or IPv6) to port 80 of
the service in them, from LOCATOR to SERVER, and prints how many packets for
their flows came back within PATIENCE, or as soon as all have an answer.  PORT
is the UDP source port: that of the SAL means a NAT.  "bind": those that are
answered become bound flows, by an ACK."""

import ipaddress
import os
import socket
import struct
import sys
import time

ETH_P_ALL = 3
SAL_PORT = 6090
PATIENCE = 3.0
SYN, DATA, NAT = 0x11, 0x01, 0x10
PROTOCOL = {4: 4, 6: 41}  # Inner formats.


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def tcp(source, destination, port, ack=0):
    """An IP packet: a SYN, or the ACK that answers a SYN-ACK."""
    segment = struct.pack(">HHIIHHHH", port, 80, 1001 if ack else 1000, ack,
                          0x5010 if ack else 0x5002, 64240, 0, 0)
    pseudo = (source.packed + destination.packed
              + struct.pack(">IHBB", len(segment), 0, 0, 6))
    total = checksum(pseudo + segment)
    segment = segment[:16] + struct.pack(">H", total) + segment[18:]
    if source.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(segment), 6, 64) \
            + source.packed + destination.packed + segment
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000,
                         64, 6, 0) + source.packed + destination.packed
    total = checksum(header)
    return header[:10] + struct.pack(">H", total) + header[12:] + segment


def sal_syn(flow, service, endpoint, inner, flags):
    header = struct.pack(
        ">BBBBIIBBHII8s32sBB16sH", 0x10, 21, SYN, 6, flow, 0, flags,
        PROTOCOL[inner[0] >> 4], 0, 0, 0, os.urandom(8), service, 1, 18,
        endpoint, 0)
    total = checksum(header)
    return header[:14] + struct.pack(">H", total) + header[16:] + inner


def sal_data(flow, peer, inner):
    return struct.pack(">BBBBIIBBH", 0x10, 4, DATA, 6, flow, peer, 0,
                       PROTOCOL[inner[0] >> 4], 0) + inner


def answers(ear, flows):
    """What came back for flows of ours: {flow: frame}."""
    heard = {}
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and len(heard) < len(flows):
        ear.settimeout(max(0.01, end - time.monotonic()))
        try:
            frame, address = ear.recvfrom(4096)
        except TimeoutError:
            break
        if (address[2] == 4 or len(frame) < 58  # Outgoing.
                or frame[12:14] != b"\x08\x00" or frame[23] != 17):
            continue
        flow = struct.unpack_from(">I", frame, 42 + 8)[0]
        if flow in flows:
            heard[flow] = frame
    return heard


def main():
    interface, locator, server, service, address, source, endpoint = \
        sys.argv[1:8]
    count = int(sys.argv[8])
    port = int(sys.argv[9]) if len(sys.argv) > 9 else 50000
    # Of all protocols: such sockets hear what ingress programs then drop.
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                        socket.htons(ETH_P_ALL))
    ear.bind((interface, ETH_P_ALL))
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    first = struct.unpack(">I", os.urandom(4))[0] & 0x7fffff00 | 1
    flows = range(first, first + count)

    def send(packet):
        raw.sendto(struct.pack(
            ">BBHHHBBH4s4sHHHH", 0x45, 0, 28 + len(packet), 0, 0, 64, 17, 0,
            socket.inet_aton(locator), socket.inet_aton(server), port,
            SAL_PORT, 8 + len(packet), 0) + packet, (server, 0))

    def inner(flow, ack=0):
        return tcp(ipaddress.ip_address(source), ipaddress.ip_address(address),
                   20000 + flow % 40000, ack)

    for flow in flows:
        send(sal_syn(flow, bytes.fromhex(service), bytes.fromhex(endpoint),
                     inner(flow), NAT if port == SAL_PORT else 0))
    heard = answers(ear, flows)
    for flow, frame in heard.items() if sys.argv[10:] == ["bind"] else ():
        sal = 42 + frame[43] * 4
        sequence = struct.unpack_from(">I", frame, sal + 20 + 4)[0]
        send(sal_data(flow, struct.unpack_from(">I", frame, 46)[0],
                      inner(flow, sequence + 1)))
    print(len(heard))


if __name__ == "__main__":
    main()
