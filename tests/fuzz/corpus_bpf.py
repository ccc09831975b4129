#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of fuzz_bpf.c: one packet of each kind, for the flows that
the target makes, and some conversations.

    corpus_bpf.py FOLDER
"""
import socket
import struct
import sys

EGRESS, INGRESS, XDP, SOCKET, MEND, NONLINEAR = 0, 1, 2, 3, 4, 8
NO_IDENTITY, ROUTER = 16, 32
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TYPES = {"data": 1, "ack": 2, "fin": 3, "reset": 4, "rsyn_ack": 5,
         "rsyn_done": 6, "syn": 0x11, "syn_ack": 0x12, "rsyn": 0x13,
         "datagram": 0x14, "probe": 0x15}
OWN, PEER, OTHER = "10.0.0.1", "10.0.0.2", "10.0.0.3"
ID, CLIENT, WEB, SERVED = "100.64.0.1", "100.64.0.2", "198.18.0.1", "198.18.0.3"
OWN6, PEER6 = "fd00::1", "fd00::2"
ID6, CLIENT6, WEB6, SERVED6 = "fd10::1", "fd10::2", "fd20::1", "fd20::3"
SAL_MAC, OWN_MAC = b"\2\0\0\0\0\x77", b"\0" * 6


def checksum(data, total=0):
    data += b"\0" * (len(data) % 2)
    total += sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip(source, to, proto, body, tos=0):
    if ":" in source:
        return struct.pack("!IHBB16s16s", 6 << 28 | tos << 20, len(body),
                           proto, 64, socket.inet_pton(socket.AF_INET6, source),
                           socket.inet_pton(socket.AF_INET6, to)) + body
    head = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + len(body), 0, 0x4000,
                       64, proto, 0, socket.inet_aton(source),
                       socket.inet_aton(to))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def pseudo(source, to, proto, length):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    return ~checksum(socket.inet_pton(family, source)
                     + socket.inet_pton(family, to)
                     + struct.pack("!HH", proto, length)) & 0xffff


def tcp(source, to, sport, dport, flags, payload=b"", seq=1001, ack=5001,
        tos=0):
    body = struct.pack("!HHIIBBHHH", sport, dport, seq,
                       ack if flags & ACK else 0, 0x50, flags, 64240, 0,
                       0) + payload
    check = checksum(body, pseudo(source, to, 6, len(body)))
    return ip(source, to, 6, body[:16] + struct.pack("!H", check) + body[18:],
              tos)


def udp(source, to, sport, dport, payload=b"datagram", tos=0):
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    check = checksum(body, pseudo(source, to, 17, len(body))) or 0xffff
    return ip(source, to, 17, body[:6] + struct.pack("!H", check) + body[8:],
              tos)


def ethernet(to, packet):
    proto = 0x86dd if packet[0] >> 4 == 6 else 0x0800
    return to + b"\2\0\0\0\0\1" + struct.pack("!H", proto) + packet


def sal(kind, proto, src_flow, dst_flow, inner=b"", nonce=0, service=None,
        source=PEER, to=OWN, flags=0, tos=0):
    """IDs and nonce are a byte that is repeated."""
    has_service = TYPES[kind] & 0x10 or service
    length = 16 if kind == "data" else 84 if has_service else 32
    form = 59 if not inner else 41 if inner[0] >> 4 == 6 else 4
    head = struct.pack("!BBBB4s4sBBH", 0x10, length // 4, TYPES[kind], proto,
                       bytes([src_flow]) * 4, bytes([dst_flow]) * 4, flags,
                       form, 0)
    if kind != "data":
        head += struct.pack("!II8s", 0, 0, bytes([nonce]) * 8)
        if has_service:
            head += bytes([service or 3]) * 32 + b"\1\x12" + b"\7" * 16 + b"\0\0"
        head = head[:14] + struct.pack("!H", checksum(head)) + head[16:]
    return ethernet(OWN_MAC, ip(source, to, 17, struct.pack(
        "!HHHH", 50000, 6090, 8 + len(head) + len(inner), 0) + head + inner,
        tos))


def icmp(source, about, kind=3, code=3, rest=0):
    """An error about packet 'about', to its sender."""
    body = struct.pack("!BBHI", kind, code, 0, rest) + about[:28]
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    return ip(source, socket.inet_ntoa(about[12:16]), 1, body)


def fragments(packet, ident=0x1234, size=16):
    """An IP packet in fragments of 'size' bytes of what IP carries."""
    v6 = packet[0] >> 4 == 6
    head, body = packet[:40 if v6 else 20], packet[40 if v6 else 20:]
    for ofs in range(0, len(body), size):
        part, more = body[ofs:ofs + size], ofs + size < len(body)
        if v6:
            yield head[:4] + struct.pack("!HB", 8 + len(part), 44) + head[7:] \
                + struct.pack("!BBHI", head[6], 0, ofs | more, ident) + part
        else:
            h = head[:2] + struct.pack("!HHH", 20 + len(part), ident,
                                       more << 13 | ofs // 8) + head[8:10] \
                + b"\0\0" + head[12:]
            yield h[:10] + struct.pack("!H", checksum(h)) + h[12:] + part


def step(action, frame):
    return struct.pack("<BH", action, len(frame)) + frame


def sockops(op, old, new, local, remote, lport, rport):
    """struct bpf_sock_ops as far as the program reads it."""
    return struct.pack("=IIIII", op, old, new, 0, 0) + struct.pack(
        "=I4s4s16s16sII", 2, socket.inet_aton(remote), socket.inet_aton(local),
        b"", b"", socket.htons(rport) << 16, lport)


def out(packet):
    return step(EGRESS, ethernet(SAL_MAC, packet))


def syn(inner, proto=6, flow=0xa1, **kwargs):
    return sal("syn", proto, flow, 0, inner, nonce=0xa3, **kwargs)


def seeds():
    to_web = {"source": ID, "to": WEB, "dport": 80}
    yield "out_syn", out(tcp(sport=45000, flags=SYN, **to_web)) * 2
    yield "out_syn_rejected", out(tcp(ID, "198.18.0.2", 45000, 80, SYN))
    yield "out_syn_dropped", out(tcp(ID, "198.18.0.4", 45000, 80, SYN))
    yield "out_syn_unknown", out(tcp(ID, "198.18.9.9", 45000, 80, SYN))
    yield "out_syn_source", out(tcp("192.0.2.1", WEB, 45000, 80, SYN))
    yield "out_syn_own_service", out(tcp(ID, SERVED, 45000, 80, SYN)) + out(
        tcp(ID, SERVED, 8080, 45000, SYN | ACK)) + out(
        tcp(ID, SERVED, 45000, 80, ACK)) + out(
        tcp(ID, SERVED, 8080, 45000, FIN | ACK, b"bye"))
    yield "out_syn_own_port", out(tcp(ID, SERVED, 45000, 81, SYN))
    yield "out_no_identity", step(EGRESS | NO_IDENTITY, ethernet(
        SAL_MAC, tcp(sport=45000, flags=SYN, **to_web)))
    yield "out_data", out(tcp(sport=40000, flags=PSH | ACK, payload=b"x" * 90,
                              tos=3, **to_web))
    yield "out_data_server", out(tcp(ID, CLIENT, 8080, 40001, PSH | ACK,
                                     b"hello"))
    yield "out_fin_rst", out(tcp(sport=40000, flags=FIN | ACK, **to_web)) + \
        out(tcp(sport=40000, flags=RST, **to_web)) + \
        out(tcp(sport=40000, flags=ACK, **to_web))
    yield "out_syn_ack", out(tcp(ID, CLIENT, 8080, 40003, SYN | ACK)) * 2
    yield "out_rst", out(tcp(ID, CLIENT, 8080, 40003, RST | ACK))
    yield "out_time_wait", out(tcp(ID, CLIENT, 8080, 40003, ACK))
    yield "out_closing", out(tcp(sport=40004, flags=FIN | ACK, **to_web))
    yield "out_retry", out(tcp(sport=40002, flags=SYN, seq=0, **to_web))
    yield "out_reuse", out(tcp(sport=40000, flags=SYN, **to_web))
    for port, name in (40005, "bound"), (40007, "half"), (46000, "new"):
        yield f"out_udp_{name}", out(udp(ID, WEB, port, 53)) * 3
    for port, name in (40006, "bound"), (40008, "half"):
        yield f"out_udp_server_{name}", out(udp(ID, CLIENT, 9953, port)) * 2
    yield "out_udp_big", out(udp(ID, WEB, 46000, 53, b"x" * 1472))
    yield "out_udp_rejected", out(udp(ID, "198.18.0.2", 46000, 53))
    yield "out_udp_own", out(udp(ID, SERVED, 46000, 53))
    yield "out_icmp", out(ip(ID, WEB, 1, b"\x08\0\0\0\0\0\0\0"))
    yield "out_v6", out(tcp("fd00::1", "fd00::2", 45000, 80, SYN))
    yield "out_nonlinear", step(EGRESS | NONLINEAR, ethernet(SAL_MAC, tcp(
        sport=40000, flags=ACK, payload=b"y" * 1400, **to_web)))

    from_web = {"source": WEB, "to": ID, "sport": 80, "dport": 40000}
    to_served = {"source": CLIENT, "to": SERVED, "dport": 80}
    client_data = sal("data", 6, 0x11, 0x10, tcp(flags=PSH | ACK,
                                                 payload=b"z" * 50, **from_web))
    server_data = sal("data", 6, 0x21, 0x20, tcp(sport=40001, flags=PSH | ACK,
                                                 payload=b"GET /", **to_served))
    for action, name in ((INGRESS, "tc"), (XDP, "xdp"),
                         (INGRESS | NONLINEAR, "nonlinear")):
        yield f"in_data_client_{name}", step(action, client_data)
        yield f"in_data_server_{name}", step(action, server_data)
    for length in 0, 10, 20, 28, 39:
        yield f"in_data_short_{length}", step(INGRESS | MEND, client_data[
            :58 + length]) + step(XDP | MEND, client_data[:58 + length])
    for tos, name in (1, "ect"), (3, "ce"):
        for inner_tos in 0, 2:
            yield f"in_data_{name}_{inner_tos}", step(INGRESS, sal(
                "data", 6, 0x11, 0x10, tcp(flags=ACK, tos=inner_tos,
                                           **from_web), tos=tos))
    yield "in_fin_rst", b"".join(step(INGRESS, sal(
        "data", 6, 0x11, 0x10, tcp(flags=flags, **from_web)))
        for flags in (FIN | ACK, RST, ACK))
    yield "in_data_binds", step(INGRESS, sal("data", 6, 0x41, 0x40, tcp(
        sport=40003, flags=ACK, **to_served))) * 2
    yield "in_data_closing", step(INGRESS, sal("data", 6, 0x51, 0x50, tcp(
        WEB, ID, 80, 40004, FIN | ACK)))
    yield "in_data_unknown", step(INGRESS, sal("data", 6, 0x11, 0x99, tcp(
        flags=ACK, **from_web)))
    yield "in_data_wrong_peer", step(INGRESS, sal("data", 6, 0x11, 0x10, tcp(
        flags=ACK, **from_web), source=OTHER))
    yield "in_data_elsewhere", step(INGRESS, sal("data", 6, 0x11, 0x99, tcp(
        flags=ACK, **from_web), to=OTHER))
    yield "in_data_v6_inner", step(INGRESS, sal("data", 6, 0x11, 0x10, tcp(
        "fd00::1", "fd00::2", 80, 40000, ACK)))
    yield "in_data_v6_outer", step(INGRESS, sal("data", 6, 0x11, 0x10, tcp(
        flags=ACK, **from_web), source="fd00::2", to="fd00::1"))
    for dst, name, sport in (0x60, "client", None), (0x70, "server", 40006), \
            (0x90, "half", 40008):
        inner = udp(WEB, ID, 53, 40005) if sport is None else udp(
            CLIENT, SERVED, sport, 53)
        yield f"in_udp_{name}", step(INGRESS, sal("data", 17, dst + 1, dst,
                                                  inner)) * 2
    new_syn = syn(tcp(sport=45001, flags=SYN, **to_served))
    yield "in_syn", step(INGRESS, new_syn) * 2 + out(
        tcp(ID, CLIENT, 8080, 45001, SYN | ACK))
    yield "in_syn_rst", step(INGRESS, new_syn) + out(
        tcp(ID, CLIENT, 8080, 45001, RST | ACK))
    yield "in_syn_taken", step(INGRESS, syn(tcp(sport=40001, flags=SYN,
                                                **to_served)))
    yield "in_syn_udp", step(INGRESS, syn(udp(CLIENT, SERVED, 45001, 53), 17)) \
        + out(udp(ID, CLIENT, 9953, 45001))
    yield "in_syn_bare", step(INGRESS, syn(b"", 17))
    yield "in_syn_port", step(INGRESS, syn(tcp(CLIENT, SERVED, 45001, 81, SYN)))
    for service, name in (1, "forward"), (2, "reject"), (4, "drop"), \
            (9, "none"):
        yield f"in_syn_{name}", step(INGRESS, syn(tcp(
            sport=45001, flags=SYN, **to_served), service=service))
    yield "in_syn_no_identity", step(INGRESS | NO_IDENTITY, new_syn)
    for length in 16, 32, 64, 84, 104, 123, 124:
        yield f"in_syn_mend_{length}", step(INGRESS | MEND,
                                            new_syn[:42 + length])
    yield "in_syn_v6", step(INGRESS, syn(tcp("fd00::1", "fd00::2", 45001, 80,
                                             SYN)))
    yield "in_syn_ack", step(INGRESS, sal("syn_ack", 6, 0x31, 0x30, tcp(
        WEB, ID, 80, 40002, SYN | ACK), nonce=0x32)) * 2
    yield "in_syn_ack_late", step(INGRESS, sal("syn_ack", 6, 0x33, 0x10, tcp(
        WEB, ID, 80, 40000, SYN | ACK), nonce=0x12, source=OTHER))
    yield "in_syn_ack_unknown", step(INGRESS, sal("syn_ack", 6, 0x31, 0x99, tcp(
        WEB, ID, 80, 40002, SYN | ACK), nonce=0x32))
    yield "in_syn_ack_nonce", step(INGRESS, sal("syn_ack", 6, 0x31, 0x30, tcp(
        WEB, ID, 80, 40002, SYN | ACK), nonce=0x39))
    yield "in_syn_ack_udp", step(INGRESS, sal("syn_ack", 17, 0x81, 0x80, udp(
        WEB, ID, 53, 40007), nonce=0x82)) + out(udp(ID, WEB, 40007, 53))
    yield "in_syn_ack_bare", step(INGRESS, sal("syn_ack", 17, 0x81, 0x80,
                                               nonce=0x82))
    yield "in_reset_client", step(INGRESS, sal("reset", 6, 0, 0x30,
                                               nonce=0x32))
    yield "in_reset_inner", step(INGRESS, sal("reset", 6, 0, 0x30, tcp(
        ID, WEB, 40002, 80, SYN), nonce=0x32))
    yield "in_reset_server", step(INGRESS, sal("reset", 6, 0x41, 0x40,
                                               nonce=0x42))
    yield "in_reset_udp", step(INGRESS, sal("reset", 17, 0, 0x80, udp(
        ID, WEB, 40007, 53), nonce=0x82))
    yield "in_reset_bound", step(INGRESS, sal("reset", 6, 0x11, 0x10,
                                              nonce=0x12))
    for kind in "ack", "fin", "rsyn", "rsyn_ack", "rsyn_done", "probe":
        yield f"in_{kind}", step(INGRESS, sal(kind, 6, 0x11, 0x10, nonce=0x12))
    yield "in_datagram", step(INGRESS, sal("datagram", 17, 0xa1, 0, udp(
        CLIENT, SERVED, 45001, 53), nonce=0xa3))
    delayed, hops = "198.18.0.5", "198.18.0.6"
    yield "out_delay", out(tcp(ID, delayed, 45000, 80, SYN)) + out(
        udp(ID, delayed, 45000, 53))
    yield "out_hops", out(tcp(ID, hops, 45000, 80, SYN)) * 3
    yield "out_datagram", out(udp(ID, hops, 45000, 53)) * 3
    yield "out_datagram_too_big", out(udp(ID, hops, 45000, 53, b"x" * 1400))
    yield "out_hold", out(udp(ID, WEB, 45000, 53, b"x" * 1400)) * 2
    yield "out_icmp", out(icmp(ID, tcp(CLIENT, ID, 40001, 8080, ACK)))
    yield "out_icmp_echo", out(icmp(ID, tcp(CLIENT, ID, 40001, 8080, ACK), 8))
    yield "in_icmp_inner", step(INGRESS, sal("data", 6, 0x11, 0x10, icmp(
        WEB, tcp(ID, WEB, 40000, 80, ACK))))
    yield "in_icmp_other", step(INGRESS, sal("data", 6, 0x11, 0x10, icmp(
        WEB, tcp(ID, WEB, 40009, 80, ACK))))
    yield "in_reset_retry", step(INGRESS, sal("reset", 6, 0, 0x30, tcp(
        ID, WEB, 40002, 80, SYN, seq=0), nonce=0x32, service=1, flags=0x80))
    yield "in_reset_last", step(INGRESS, sal("reset", 6, 0, 0x30, tcp(
        ID, WEB, 40002, 80, SYN, seq=0), nonce=0x32, service=1, flags=0xe0))
    for flags in 0, 0x60:
        yield f"in_routed_{flags}", step(INGRESS | ROUTER, syn(tcp(
            CLIENT, hops, 45000, 80, SYN), service=6, flags=flags))
    yield "in_routed_resolver", step(INGRESS | ROUTER, syn(tcp(
        CLIENT, hops, 45000, 80, SYN), service=6, to="10.255.0.1"))
    yield "in_syn_quoted", step(INGRESS, syn(udp(
        CLIENT, SERVED, 45001, 53, b"x" * 1400)[:28], 17))
    yield "in_arp", step(INGRESS, b"\xff" * 6 + OWN_MAC + b"\x08\x06" + b"\0" * 28)
    yield "in_udp_plain", step(INGRESS, ethernet(OWN_MAC, udp(PEER, OWN, 5, 53)))
    yield from seeds6()
    yield from fragment_seeds()
    for op, name in (4, "active"), (5, "passive"):
        yield f"sock_{name}", step(SOCKET, sockops(op, 0, 0, ID, WEB, 40000, 80))
    yield "sock_close", step(SOCKET, sockops(10, 1, 7, ID, WEB, 40000, 80)) + \
        step(INGRESS, client_data)
    yield "sock_last_ack", step(SOCKET, sockops(10, 9, 7, ID, CLIENT, 8080,
                                                40001)) + \
        step(INGRESS, server_data)


def seeds6():
    yield "out6_syn", out(tcp(ID6, WEB6, 45000, 80, SYN)) * 2
    yield "out6_syn_rejected", out(tcp(ID6, "fd20::2", 45000, 80, SYN))
    yield "out6_syn_unknown", out(tcp(ID6, "fd20::9", 45000, 80, SYN))
    yield "out6_syn_own_service", out(tcp(ID6, SERVED6, 45000, 80, SYN)) + out(
        tcp(ID6, SERVED6, 8080, 45000, SYN | ACK)) + out(
        tcp(ID6, SERVED6, 45000, 80, ACK))
    yield "out6_data", out(tcp(ID6, WEB6, 40010, 80, PSH | ACK, b"x" * 90,
                               tos=3)) + out(
        tcp(ID6, CLIENT6, 8080, 40011, ACK)) + out(
        tcp(ID, WEB, 40012, 80, ACK)) + out(
        tcp(ID6, CLIENT6, 8080, 40013, PSH | ACK, b"both"))
    yield "out6_syn_ack", out(tcp(ID6, CLIENT6, 8080, 40016, SYN | ACK)) + out(
        tcp(ID6, CLIENT6, 8080, 40016, RST))
    yield "out6_udp", out(udp(ID6, WEB6, 40014, 53)) + out(
        udp(ID6, WEB6, 46000, 53)) + out(udp(ID6, "fd20::2", 46000, 53))
    yield "out6_udp_big", out(udp(ID6, WEB6, 46000, 53, b"x" * 1400))
    yield "out6_extension", out(ip(ID6, WEB6, 0, b"\6\0\1\4\0\0\0\0"
                                   + b"\0" * 20))
    yield "out6_icmp", out(ip(ID6, WEB6, 58, b"\x80\0\0\0\0\0\0\0"))
    outer6 = {"source": PEER6, "to": OWN6}
    for action, name in ((INGRESS, "tc"), (XDP, "xdp"),
                         (INGRESS | NONLINEAR, "nonlinear")):
        yield f"in6_data_inner_{name}", step(action, sal(
            "data", 6, 0xb1, 0xb0, tcp(WEB6, ID6, 80, 40010, ACK, b"z" * 40)))
        yield f"in6_data_inner_server_{name}", step(action, sal(
            "data", 6, 0xb5, 0xb4, tcp(CLIENT6, SERVED6, 40011, 80, ACK)))
        yield f"in6_data_outer_{name}", step(action, sal(
            "data", 6, 0xb9, 0xb8, tcp(WEB, ID, 80, 40012, ACK), **outer6))
        yield f"in6_data_both_{name}", step(action, sal(
            "data", 6, 0xbd, 0xbc, tcp(CLIENT6, SERVED6, 40013, 80, ACK,
                                       b"z" * 9), **outer6))
    for tos in 1, 3:
        for inner_tos in 0, 2:
            yield f"in6_ecn_{tos}_{inner_tos}", step(INGRESS, sal(
                "data", 6, 0xbd, 0xbc, tcp(CLIENT6, SERVED6, 40013, 80, ACK,
                                           tos=inner_tos), tos=tos, **outer6))
    yield "in6_udp", step(INGRESS, sal("data", 17, 0xc1, 0xc0, udp(
        WEB6, ID6, 53, 40014), **outer6)) * 2
    yield "in6_short", b"".join(step(INGRESS | MEND, sal(
        "data", 6, 0xbd, 0xbc, tcp(CLIENT6, SERVED6, 40013, 80, ACK),
        **outer6)[:78 + n]) for n in (0, 20, 40, 48, 59))
    yield "in6_syn", step(INGRESS, syn(tcp(CLIENT6, SERVED6, 45001, 80, SYN),
                                       **outer6)) * 2 + out(
        tcp(ID6, CLIENT6, 8080, 45001, SYN | ACK))
    yield "in6_syn_outer4", step(INGRESS, syn(tcp(CLIENT6, SERVED6, 45002, 80,
                                                  SYN)))
    yield "in6_syn_inner4", step(INGRESS, syn(tcp(CLIENT, SERVED, 45003, 80,
                                                  SYN), **outer6))
    yield "in6_syn_udp", step(INGRESS, syn(udp(CLIENT6, SERVED6, 45004, 53), 17,
                                           **outer6)) + out(
        udp(ID6, CLIENT6, 9953, 45004))
    yield "in6_syn_refused", step(INGRESS, syn(tcp(
        CLIENT6, SERVED6, 45001, 81, SYN), **outer6))
    yield "in6_syn_ack", step(INGRESS, sal("syn_ack", 6, 0xc5, 0xc4, tcp(
        WEB6, ID6, 80, 40015, SYN | ACK), nonce=0xc6, **outer6)) * 2
    yield "in6_reset_client", step(INGRESS, sal("reset", 6, 0, 0xc4, tcp(
        ID6, WEB6, 40015, 80, SYN), nonce=0xc6, **outer6))
    yield "in6_reset_server", step(INGRESS, sal("reset", 6, 0xc9, 0xc8,
                                                nonce=0xca, **outer6))
    yield "in6_probe", step(INGRESS, sal("probe", 6, 0xc9, 0xc8, **outer6))


def fragment_seeds():
    for name, at, web, served, hops, client, port, kwargs in (
            ("4", ID, WEB, SERVED, "198.18.0.6", CLIENT, 40005, {}),
            ("6", ID6, WEB6, SERVED6, "fd20::6", CLIENT6, 40014,
             {"source": PEER6, "to": OWN6})):
        def sent(packet, *order):
            parts = list(fragments(packet))
            return b"".join(out(parts[i]) for i in order or range(len(parts)))
        yield f"out{name}_fragments", sent(udp(at, web, port, 53, b"x" * 25))
        yield f"out{name}_fragments_turned", sent(
            udp(at, web, port, 53, b"x" * 25), 1, 0, 2)
        yield f"out{name}_fragments_first", sent(
            udp(at, web, 46000, 53, b"x" * 25))
        yield f"out{name}_fragments_own", sent(
            udp(at, served, 46000, 53, b"x" * 25))
        yield f"out{name}_fragments_datagram", sent(
            udp(at, hops, 46000, 53, b"x" * 25))
        yield f"out{name}_fragments_tcp", sent(
            tcp(at, web, 40000, 80, ACK, b"x" * 25))
        for flow, from_, to, sport, dport in (
                (0xc0 if kwargs else 0x60, web, at, 53, port),
                *([] if kwargs else [(0x70, client, served, 40006, 53)])):
            yield f"in{name}_fragments_{flow:x}", b"".join(
                step(INGRESS, sal("data", 17, flow + 1, flow, part, **kwargs))
                for part in fragments(udp(from_, to, sport, dport,
                                          b"x" * 25)))
    # Local senders of IPv6 that get its length wrong.
    for length in 0, 9, 0xffff:
        packet = udp(ID6, SERVED6, 46000, 53)
        yield f"out6_own_length_{length}", out(
            packet[:4] + struct.pack("!H", length) + packet[6:])


def main():
    for name, data in seeds():
        with open(f"{sys.argv[1]}/{name}", "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main()
