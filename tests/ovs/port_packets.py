# SPDX-License-Identifier: Apache-2.0
"""What check_ports.py sends, what must come out where, and the megaflows that
this makes.

Packets that must come out changed are not changed here but made anew, with all
checksums computed from scratch."""

import struct

SERVICE = bytes.fromhex("00112233445566778899aabbccddeeff") + bytes(range(16))
OTHER_SERVICE = b"\xfe" * 32

RESOLVER4, RESOLVER6 = "0afffffe", "fd" + "00" * 14 + "fe"
HOST4, HOST6 = "0a000002", "fd" + "00" * 14 + "02"
PICKED4, PICKED6 = "0a000009", "fd" + "00" * 14 + "09"
CLIENT4, CLIENT6 = "0a000001", "fd" + "00" * 14 + "01"

SYN, DATA = 0x11, 0x01

FLOWS = """
table=0,priority=9,udp,ip_dst=10.255.255.254,udp_dst=6090,sal_type=0x10/0x10,\
actions=move:udp_src[0..2]->reg0[0..2],goto_table:10
table=0,priority=9,udp6,ipv6_dst=fd00::fe,udp_dst=6090,sal_type=0x10/0x10,\
actions=move:udp_src[0..2]->reg0[0..2],goto_table:10
table=0,priority=1,actions=goto_table:20
table=10,priority=128,udp,udp_src=0x0/0x1,udp_dst=6090,sal_type=0x10/0x10,\
sal_service=0x%(id)s/128,actions=set_field:02:00:00:00:00:09->eth_dst,\
set_field:10.0.0.9->ip_dst,output:2
table=10,priority=128,udp,udp_src=0x1/0x1,udp_dst=6090,sal_type=0x10/0x10,\
sal_service=0x%(id)s/128,actions=output:3
table=10,priority=64,udp6,udp_dst=6090,sal_type=0x10/0x10,\
sal_service=0x%(short)s/64,actions=set_field:02:00:00:00:00:09->eth_dst,\
set_field:fd00::9->ipv6_dst,output:2
table=10,priority=1,actions=drop
table=20,priority=9,arp,actions=output:2,output:3
table=20,priority=8,udp,udp_dst=6090,sal_type=1,sal_flags=2/0xf,\
actions=output:2
table=20,priority=1,actions=output:3
""" % {"id": (SERVICE[:16] + bytes(16)).hex(),
       "short": (SERVICE[:8] + bytes(24)).hex()}


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def sal(type_, service=SERVICE, flags=0x10, header_len=None):
    size = 64 if type_ & 0x10 else 16
    words = size // 4 if header_len is None else header_len
    header = struct.pack("!BBBBIIBBH", 0x10, words, type_, 6, 0x01020304,
                         0x05060708, flags, 4, 0)
    if size > 16:
        header += bytes(16) + service
    return header + b"inner packet"


def transport(src, dst, payload, port=6090, src_port=0xc002, summed=True,
              protocol=17):
    """UDP, or something like TCP."""
    if protocol == 17:
        header = struct.pack("!HHHH", src_port, port, 8 + len(payload), 0)
        at = 6
    else:
        header = struct.pack("!HHIIBBHHH", src_port, port, 1, 2, 0x50, 0x10,
                             512, 0, 0)
        at = 16
    segment = header + payload
    if summed:
        pseudo = src + dst + struct.pack("!II", len(segment), protocol)
        value = checksum(pseudo + segment) or 0xffff
        segment = segment[:at] + struct.pack("!H", value) + segment[at + 2:]
    return segment


def ethernet(mac, vlan, type_, payload):
    tag = struct.pack("!HH", 0x8100, 100) if vlan else b""
    return (bytes.fromhex("0200000000%02x020000000001" % mac) + tag
            + struct.pack("!H", type_) + payload)


def ipv4(payload, dst=HOST4, mac=2, vlan=False, fragment=0, options=b"",
         **more):
    """An Ethernet frame with IPv4 and UDP (or TCP) in it."""
    src, dst = bytes.fromhex(CLIENT4), bytes.fromhex(dst)
    body = transport(src, dst, payload, **more)
    words = 5 + len(options) // 4
    header = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(body),
                         1, fragment, 64, more.get("protocol", 17), 0)
    header += src + dst + options
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return ethernet(mac, vlan, 0x0800, header + body)


def ipv6(payload, dst=HOST6, mac=2, vlan=False, extension=b"", **more):
    """'extension' has the UDP protocol number as its own next header."""
    src, dst = bytes.fromhex(CLIENT6), bytes.fromhex(dst)
    body = transport(src, dst, payload, **more)
    next_header = 17
    if extension:
        next_header, extension = extension[0], extension[1:]
    header = struct.pack("!IHBB", 6 << 28, len(extension) + len(body),
                         next_header, 64)
    return ethernet(mac, vlan, 0x86dd, header + src + dst + extension + body)


# IPv6 extension headers, after their own protocol number.
DESTINATION_OPTIONS = bytes((60, 17, 0, 1, 4, 0, 0, 0, 0))
FIRST_FRAGMENT = bytes((44, 17, 0, 0, 1, 0, 0, 0, 7))
LATER_FRAGMENT = bytes((44, 17, 0, 0, 9, 0, 0, 0, 7))

# A host asks for another: the last packet of a round goes everywhere.
LAST = ethernet(2, False, 0x0806, bytes.fromhex(
    "0001080006040001" "020000000001" "0a000001" "000000000000" "0a000002")
    + bytes(18))


def cases():
    """(frame, port that it must leave by or None, what must leave)"""
    for vlan in (False, True):
        for summed in (False, True):
            for make, resolver, picked in ((ipv4, RESOLVER4, PICKED4),
                                           (ipv6, RESOLVER6, PICKED6)):
                yield (make(sal(SYN), resolver, 2, vlan, summed=summed), "p2",
                       make(sal(SYN), picked, 9, vlan, summed=summed))
        for make, resolver in ((ipv4, RESOLVER4), (ipv6, RESOLVER6)):
            frame = make(sal(DATA), vlan=vlan)
            yield frame, "p3", frame
            # Malformed.  An extractor that forgets SAL takes a SYN for this.
            frame = make(sal(SYN, header_len=15), resolver, vlan=vlan)
            yield frame, "p3", frame
        # The other tile, another path class, a service that nobody has.
        frame = ipv4(sal(SYN), RESOLVER4, vlan=vlan, src_port=0xc003)
        yield frame, "p3", frame
        frame = ipv4(sal(DATA, flags=2), vlan=vlan)
        yield frame, "p2", frame
        yield ipv4(sal(SYN, OTHER_SERVICE), RESOLVER4, vlan=vlan), None, b""
    # IP options and extension headers.
    options = bytes.fromhex("94040000")
    yield (ipv4(sal(SYN), RESOLVER4, options=options), "p2",
           ipv4(sal(SYN), PICKED4, 9, options=options))
    yield (ipv6(sal(SYN), RESOLVER6, extension=DESTINATION_OPTIONS), "p2",
           ipv6(sal(SYN), PICKED6, 9, extension=DESTINATION_OPTIONS))
    # What is no SAL: fragments, another port, another protocol.
    for frame in (ipv4(sal(SYN), RESOLVER4, fragment=0x2000),
                  ipv4(sal(SYN), RESOLVER4, fragment=0x0001),
                  ipv6(sal(SYN), RESOLVER6, extension=FIRST_FRAGMENT),
                  ipv6(sal(SYN), RESOLVER6, extension=LATER_FRAGMENT),
                  ipv4(sal(SYN), RESOLVER4, port=6091),
                  ipv4(sal(SYN), RESOLVER4, protocol=6)):
        yield frame, "p3", frame


def frames():
    return [frame for frame, _, _ in cases()]


def expected_output():
    output = {"p2": [], "p3": []}
    for _, port, frame in cases():
        if port:
            output[port].append(frame)
    return output


def megaflow(body, actions, vlan=False, matches_mac=False):
    """As ovs-dpctl prints it.  'body' begins with the Ethernet type."""
    if vlan:
        body = "eth_type(0x8100),vlan(vid=100),encap(%s)" % body
    mac = "eth(dst=02:00:00:00:00:02)," if matches_mac else ""
    return "in_port(p1),%s%s, actions:%s" % (mac, body, actions)


def expected_megaflows():
    """What a megaflow matches is no more than what decides, and what is
    rewritten.  All SYNs look at the same bits of the source port."""
    to4 = "eth_type(0x0800),ipv4(dst=10.255.255.254,"
    to6 = "eth_type(0x86dd),ipv6(dst=fd00::fe,"
    syn = ("proto=17,frag=no),udp(src=%%d/0x7,dst=6090),"
           "sal(type=0x11/0x10,service=0x%s/%%d)" % SERVICE.hex())
    nobody = syn.replace(SERVICE.hex(), OTHER_SERVICE.hex())
    data = ("eth_type(0x0800),ipv4(dst=10.0.0.2/255.128.0.0,proto=17,frag=no),"
            "udp(dst=6090),sal(type=0x1,flags=%s/0xf)")
    malformed = "proto=17,frag=no),udp(dst=6090),sal(%s)"
    pick = "set(eth(dst=02:00:00:00:00:09)),set(%s),p2"
    for vlan in (False, True):
        yield megaflow(to4 + syn % (0xc002, 128), pick % "ipv4(dst=10.0.0.9)",
                       vlan, True)
        yield megaflow(to6 + syn % (0xc002, 64), pick % "ipv6(dst=fd00::9)",
                       vlan, True)
        yield megaflow(to4 + syn % (0xc003, 128), "p3", vlan)
        yield megaflow(to4 + nobody % (0xc002, 4), "drop", vlan)
        yield megaflow(to4 + malformed % "type=0,flags=0/0xf", "p3", vlan)
        yield megaflow(to6 + malformed % "type=0/0x10", "p3", vlan)
        yield megaflow(data % "0x10", "p3", vlan)
        yield megaflow(data % "0x2", "p2", vlan)
        # No rule for IPv6 asks for the type of what is not to the resolver.
        yield megaflow("eth_type(0x86dd),ipv6(dst=fd00::2,proto=17,frag=no)",
                       "p3", vlan)
    for body in ("proto=17,frag=no),udp(dst=6091)",
                 "proto=17,frag=first),udp(dst=6090/0xf000)",
                 "proto=17,frag=later)",
                 "proto=6,frag=no)"):
        yield megaflow(to4 + body, "p3")
    yield megaflow(to6 + "proto=17,frag=first),udp(dst=6090/0xf000)", "p3")
    yield megaflow(to6 + "proto=44,frag=later)", "p3")
    yield megaflow("eth_type(0x0806)", "p2,p3")
