# SPDX-License-Identifier: Apache-2.0
"""Bad input for a running network, from a fixed seed.

Run inside a host:

    hostile.py udp SEED COUNT CORPUS ADDRESS...   mutated SAL packets
    hostile.py spoof SOURCE ADDRESS COUNT    packets with another's address
    hostile.py tcp SEED HOST PORT KIND            garbage on a stream

'udp' sends mutations of the packets in CORPUS (hex, one a line) to UDP port
6090 of each address, and a run of classic bad ones.  'tcp' makes connections
and prints how many of them the peer closed within PATIENCE."""

import random
import socket
import struct
import sys
import time

SAL_PORT = 6090
MARKER = b"spoofed"
PATIENCE = 14  # Seconds; more than any handshake's time-out.
TYPES = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x11, 0x12, 0x13, 0x14, 0x15]


def mutate(rng, packet):
    """One of: bit flips, truncation, growth, another type or length, noise."""
    packet = bytearray(packet)
    kind = rng.randrange(6)
    if kind == 0 and packet:
        for _ in range(rng.randrange(1, 9)):
            packet[rng.randrange(len(packet))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del packet[rng.randrange(len(packet) + 1):]
    elif kind == 2:
        packet += rng.randbytes(rng.randrange(1, 1200 - min(len(packet), 1100)))
    elif kind == 3 and len(packet) > 3:
        packet[2] = rng.choice(TYPES + [0, 0xff])
    elif kind == 4 and len(packet) > 3:
        packet[1] = rng.randrange(256)
    else:
        packet = bytearray(rng.randbytes(rng.randrange(0, 1400)))
        if len(packet) > 2:  # Noise with a plausible beginning.
            packet[0] = 0x10
            packet[2] = rng.choice(TYPES)
    return bytes(packet)


def udp(seed, count, corpus, *addresses):
    rng = random.Random(int(seed))
    with open(corpus, encoding="ascii") as lines:
        packets = [bytes.fromhex(line) for line in lines.read().split()]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(int(count)):
        for address in addresses:
            sender.sendto(mutate(rng, rng.choice(packets or [b""])),
                          (address, SAL_PORT))
    print(f"sent {int(count) * len(addresses)}")


def spoof(source, destination, count):
    """UDP to the SAL port of 'destination' as if 'source' had sent it."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    payload = MARKER.ljust(64, b"\0")
    for _ in range(int(count)):
        raw.sendto(struct.pack(
            ">BBHHHBBH4s4sHHHH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0,
            socket.inet_aton(source), socket.inet_aton(destination), 50000,
            SAL_PORT, 8 + len(payload), 0) + payload, (destination, 0))
    print(f"sent {count}")


def openflow(rng):
    """Garbage for an OpenFlow listener: the first bytes of connections."""
    hello = struct.pack(">BBHI", 6, 0, 8, 1)
    return [
        rng.randbytes(200),
        struct.pack(">BBHI", 6, 0, 0, 1),              # Length 0.
        struct.pack(">BBHI", 6, 0, 7, 1),              # Shorter than a header.
        struct.pack(">BBHI", 99, 0, 8, 1),             # Unknown version.
        hello + struct.pack(">BBHI", 6, 10, 12, 2) + b"\0\0\0\0",  # PACKET_IN.
        hello + struct.pack(">BBHI", 6, 6, 65535, 3) + rng.randbytes(65527),
        hello + struct.pack(">BBHI", 6, 6, 32, 3) + rng.randbytes(24),
        hello[:5],                                     # Truncated, then silence.
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ]


def api(rng):
    """Garbage for the registration API."""
    def frame(body, length=None):
        return struct.pack(">2sBBI", b"SL", 1, 0,
                           len(body) if length is None else length) + body
    return [
        rng.randbytes(200),
        frame(b"", 0),                                 # Empty body.
        frame(b"", 0xffffffff),                        # Four gigabytes.
        frame(rng.randbytes(100)),                     # No Envelope.
        struct.pack(">2sBBI", b"SL", 9, 0, 4) + b"abcd",  # Another version.
        # Register before Hello: request_id 1, empty Register.
        frame(b"\x08\x01\x72\x00"),
        # Hello with an all-zero public key (low order).
        frame(b"\x08\x01\x52\x2b\x08\x01\x12\x03bad\x22\x20" + bytes(32)),
        frame(b"\x08\x01\x52", 500)[:20],              # Truncated, then silence.
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ]


def tcp(seed, host, port, kind):
    """All at once: a handshake's time-out is waited for once."""
    rng = random.Random(int(seed))
    peers = []
    for data in {"openflow": openflow, "api": api}[kind](rng):
        peer = socket.create_connection((host, int(port)), timeout=PATIENCE)
        try:
            peer.sendall(data)
        except ConnectionError:
            pass
        peers.append(peer)
    closed = 0
    deadline = time.monotonic() + PATIENCE
    for peer in peers:
        try:
            while True:
                peer.settimeout(max(0.001, deadline - time.monotonic()))
                if not peer.recv(65536):
                    break
            closed += 1
        except ConnectionError:
            closed += 1
        except TimeoutError:
            pass
    print(f"{closed} of {len(peers)}")


if __name__ == "__main__":
    {"udp": udp, "tcp": tcp, "spoof": spoof}[sys.argv[1]](*sys.argv[2:])
