# SPDX-License-Identifier: Apache-2.0
"""make-corpus.py DIR: writes seeds with SAL in them for Open vSwitch's fuzz
targets, a folder a target below DIR."""
import os
import struct
import sys

SERVICE = bytes(range(32))
SERVICE_TEXT = "0x" + SERVICE.hex()


def sal(type_, header_len=None, version=0x10, payload=b""):
    size = 64 if type_ & 0x10 else 16 if type_ == 1 else 32
    words = size // 4 if header_len is None else header_len
    header = struct.pack("!BBBBIIBBH", version, words, type_, 6, 0x01020304,
                         0x05060708, 0x82, 4, 0)
    if size > 16:
        header += bytes(16)
    if size > 32:
        header += SERVICE
    return header + payload


def udp(payload, port=6090):
    return struct.pack("!HHHH", 0xc001, port, 8 + len(payload), 0) + payload


def ipv4(payload, fragment=0):
    return (b"\x08\0" + struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0,
                                    fragment, 64, 17, 0)
            + b"\x0a\0\0\1\x0a\0\0\2" + payload)


def ipv6(payload):
    return (b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(payload), 17, 64)
            + bytes(16) + bytes(15) + b"\1" + payload)


def frames():
    mac = b"\2\0\0\0\0\2\2\0\0\0\0\1"
    for type_ in (1, 2, 4, 5, 0x11, 0x12, 0x14, 0x15):
        for ip in (ipv4, ipv6):
            yield mac + ip(udp(sal(type_, payload=b"E" * 40)))
            yield mac + b"\x81\0\0\x64" + ip(udp(sal(type_)))
    for bad in (sal(0x11, 15), sal(0x11, 17), sal(0x11, 255), sal(0x11, 0),
                sal(0), sal(0x11, version=0x20), sal(0x11)[:63], sal(1)[:15],
                b"\x10", b""):
        yield mac + ipv4(udp(bad))
    yield mac + ipv4(udp(sal(0x11)), 0x2000)
    yield mac + ipv4(udp(sal(0x11)), 0x0001)
    yield mac + ipv4(udp(sal(0x11), 6091))


MATCHES = [
    "udp,udp_dst=6090,sal_type=0x10/0x10,sal_service=%s/192" % SERVICE_TEXT,
    "udp6,udp_dst=6090,sal_type=0x11,sal_flags=2/0xf,sal_proto=6,"
    "sal_src_flow=1,sal_dst_flow=0/0xff,sal_service=%s/%s" % (
        SERVICE_TEXT, SERVICE_TEXT),
    "udp,udp_dst=6090,sal_type=1",
]
ACTIONS = [
    "drop", "move:SALOXM_SERVICE[224..255]->NXM_NX_REG0[],resubmit(,1)",
    "learn(table=1,eth_type=0x800,nw_proto=17,udp_dst=6090,sal_type=1,"
    "sal_dst_flow=sal_src_flow,load:sal_src_flow->reg2[],"
    "output:NXM_OF_IN_PORT[])",
]
KEYS = [
    "in_port(1),eth(src=00:01:02:03:04:05,dst=10:11:12:13:14:15),"
    "eth_type(0x0800),ipv4(src=35.8.2.41,dst=172.16.0.20,proto=17,tos=0,"
    "ttl=128,frag=no),udp(src=81,dst=6090),sal(type=0x11,flags=0x82,proto=6,"
    "src_flow=0x1,dst_flow=0,service=%s)" % SERVICE_TEXT,
    "in_port(1),eth(src=00:01:02:03:04:05,dst=10:11:12:13:14:15),"
    "eth_type(0x0800),ipv4(src=35.8.2.41,dst=172.16.0.20,proto=17,tos=0,"
    "ttl=128,frag=no),udp(src=81/0,dst=6090),sal(type=0x11/0x10,service=%s/64)"
    % SERVICE_TEXT,
]


def oxm(field, value, mask=b""):
    body = value + mask
    return struct.pack("!HBBI", 0xffff, field << 1 | bool(mask), 4 + len(body),
                       0x0053414c) + body


def flow_mods():
    basic = (bytes.fromhex("80000a020800") + bytes.fromhex("8000140111")
             + bytes.fromhex("8000200217ca"))
    for version in (3, 4, 5, 6):
        for sal_ in (
                oxm(1, b"\x10", b"\x10") + oxm(6, SERVICE, b"\xff" * 32),
                oxm(1, b"\x11") + oxm(2, b"\2", b"\x0f") + oxm(3, b"\6")
                + oxm(4, b"\0\0\0\1") + oxm(5, b"\0\0\0\2", b"\0\0\0\xff")
                + oxm(6, SERVICE)):
            match = struct.pack("!HH", 1, 4 + len(basic + sal_)) + basic + sal_
            match += bytes(-len(match) % 8)
            body = bytes(16) + struct.pack(
                "!BBHHHIIIHH", 0, 0, 0, 0, 100, 0xffffffff, 0xffffffff,
                0xffffffff, 0, 0) + match
            yield struct.pack("!BBHI", version, 14, 8 + len(body), 1) + body


def main():
    seeds = {
        "flow_extract_target": list(frames()),
        "miniflow_target": list(frames()),
        "odp_target": [key.encode() + b"\0" for key in KEYS],
        "ofctl_parse_target": [
            b"\0" + ("%s,actions=%s" % (match, action)).encode() + b"\0"
            for match in MATCHES for action in ACTIONS],
        "ofp_print_target": list(flow_mods()),
    }
    for target, inputs in seeds.items():
        folder = os.path.join(sys.argv[1], target)
        os.makedirs(folder, exist_ok=True)
        for i, data in enumerate(inputs):
            with open(os.path.join(folder, "sal-%02d" % i), "wb") as f:
                f.write(data)


main()
