# SPDX-License-Identifier: Apache-2.0
"""Frames and flow tables of the bench."""
import hashlib
import random
import socket
import struct

SAL_PORT = 6090
SYN = 0x11
SIZE = 166          # Of all frames, so that they cost the same to move.


def ethernet_ip_udp(destination, source_port, destination_port, payload,
                    proto=17):
    if proto == 17:
        l4 = struct.pack("!HHHH", source_port, destination_port,
                         8 + len(payload), 0)
    else:
        l4 = struct.pack("!HHIIBBHHH", source_port, destination_port, 1, 1,
                         0x50, 0x10, 8192, 0, 0)
    total = 20 + len(l4) + len(payload)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, proto, 0,
                     socket.inet_aton("10.0.0.1"), destination)
    words = struct.unpack("!10H", ip)
    check = sum(words)
    check = (check & 0xffff) + (check >> 16)
    check = (check & 0xffff) + (check >> 16)
    ip = ip[:10] + struct.pack("!H", ~check & 0xffff) + ip[12:]
    frame = (b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0" + ip + l4 + payload)
    return frame + bytes(SIZE - len(frame))


def syn(service, source_port, flow_id):
    header = struct.pack("!BBBBIIBBHIIQ", 0x10, 16, SYN, 6, flow_id, 0, 0, 4,
                         0, 1, 0, flow_id * 0x9e3779b97f4a7c15 % 2**64)
    return ethernet_ip_udp(socket.inet_aton("10.255.255.1"), source_port,
                           SAL_PORT, header + service)


def write_frames(path, frames):
    with open(path, "wb") as f:
        for frame in frames:
            f.write(struct.pack("!H", len(frame)) + frame)


def zipf(n, count, seed):
    """'count' numbers below 'n', the smaller the more popular (s = 1)."""
    return random.Random(seed).choices(
        range(n), weights=[1 / (i + 1) for i in range(n)], k=count)


def source_port(rng):
    return 0xc000 + rng.randrange(0x4000)


def label(text):
    return hashlib.sha256(text.encode()).digest()[:8]


def services(n):
    """'n' services as (ID, prefix length): a tenth each are whole
    organizations and name spaces, the rest are services."""
    result = []
    for i in range(n):
        org = label("org%d" % (i // 100 if i % 10 > 1 else i))
        if i % 10 == 0 and n > 1:
            result.append((org + bytes(24), 64))
        elif i % 10 == 1:
            result.append((org + label("space%d" % i) + bytes(16), 128))
        else:
            result.append((org + label("space%d" % (i // 10))
                           + label("service%d" % i) + bytes(8), 192))
    return result


def instance(i, k):
    return socket.inet_ntoa(struct.pack("!I", 0x0a010000 + (3 * i + k)))


def forward(address):
    """What a service rule does with a SYN, and a route with any packet."""
    mac = "02:01:" + ":".join("%02x" % b for b in socket.inet_aton(address))
    return "set_field:%s->eth_dst" % mac


def service_match(service):
    return ("udp,udp_dst=%d,sal_type=0x10/0x10,sal_service=0x%s/%d"
            % (SAL_PORT, service[0].hex(), service[1]))


CLASSIFY = ["table=0,priority=100,udp,udp_dst=%d,sal_type=0x%x,"
            "actions=resubmit(,10)" % (SAL_PORT, SYN),
            "table=0,priority=1,actions=2"]


def tile_flows(all_services, n_weighted=1000):
    """Instances of weight 1, 1, 2 for the popular services, one for the
    others, as tiles of the low bits of the UDP source port."""
    flows = list(CLASSIFY)
    for i, service in enumerate(all_services):
        tiles = (("0x0/0x3", 0), ("0x1/0x3", 1), ("0x2/0x2", 2))
        if i >= n_weighted:
            tiles = (("0x0/0x0", 0),)
        for tile, k in tiles:
            address = instance(i, k)
            flows.append(
                "table=10,priority=%d,%s,udp_src=%s,actions=%s,"
                "set_field:%s->ip_dst,2" % (service[1], service_match(service),
                                            tile, forward(address), address))
    return flows


def group_flows(all_services):
    """One group a service, to be filled in by group_mods()."""
    return CLASSIFY + ["table=10,priority=%d,%s,actions=group:%d"
                       % (service[1], service_match(service), i + 1)
                       for i, service in enumerate(all_services)]


def group_mods(all_services, method):
    mods = []
    for i in range(len(all_services)):
        buckets = "".join(
            ",bucket=bucket_id:%d,weight=%d,%s,set_field:%s->ip_dst,output:2"
            % (k, weight, forward(instance(i, k)), instance(i, k))
            for k, weight in ((0, 1), (1, 1), (2, 2)))
        mods.append("group_id=%d,type=select,selection_method=%s%s"
                    % (i + 1, method, buckets))
    return mods


def route_flows(n):
    return ["priority=32,ip,ip_dst=%s,actions=%s,2"
            % (instance(i, 0), forward(instance(i, 0))) for i in range(n)]


def syns(all_services, count, seed=1):
    rng = random.Random(seed)
    for flow_id, i in enumerate(zipf(len(all_services), count, seed)):
        service, length = all_services[i]
        key = rng.getrandbits(256 - length).to_bytes((256 - length) // 8,
                                                     "big")
        yield syn(service[:length // 8] + key, source_port(rng), flow_id + 1)


def packets(n, count, seed=1):
    rng = random.Random(seed)
    for i in zipf(n, count, seed):
        yield ethernet_ip_udp(socket.inet_aton(instance(i, 0)),
                              source_port(rng), 9, bytes(100))
