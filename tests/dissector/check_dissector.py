# SPDX-License-Identifier: Apache-2.0
"""Checks tests/dissector/salient.lua.

1. Its numbers and names are those of ofp-ext/sal.h, all of them: against what
   sal_layout.c prints, and against the enums of the header.
2. tshark shows each field of packets made here byte by byte, and says what is
   wrong with malformed ones.
3. tshark reads a capture of the quickstart, when there is one: the first SYN,
   its answer, data, and not one malformed packet.

    check_dissector.py LAYOUT_PROGRAM [CAPTURE]
"""

import os
import re
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LUA = f"{HERE}/salient.lua"
NONCE = 0x1122334455667788
SERVICE = bytes(range(32))

counts = {True: 0, False: 0}


def check(passed, what, figure=""):
    counts[bool(passed)] += 1
    verdict = "PASS" if passed else "FAIL"
    print(f"  {verdict}    {what:<44} {figure}".rstrip(), flush=True)


# 1. The layout.

def lua_layout():
    """The lines of the Lua file, in the form of sal_layout.c."""
    with open(LUA, encoding="utf-8") as lua:
        text = re.search(r"-- LAYOUT begins\.\n(.*)-- LAYOUT ends\.",
                         lua.read(), re.DOTALL).group(1)
    found, table = set(), None
    for line in text.splitlines():
        if match := re.fullmatch(r"local (\w+) = (\w+)", line):
            found.add(f"{match[1]}={int(match[2], 0)}")
        elif match := re.fullmatch(r"local (\w+) = {", line):
            table = match[1]
        elif match := re.fullmatch(r' +\[(\w+)\] = "(\w+)",', line):
            found.add(f"{table} {int(match[1], 0)}={match[2]}")
        elif line not in ("", "}"):
            raise SystemExit(f"{LUA}: cannot understand: {line}")
    return found


def check_layout(program):
    printed = set(subprocess.run([program], capture_output=True, text=True,
                                 check=True).stdout.split("\n")) - {""}
    lua = lua_layout()
    check(lua == printed, "numbers agree with ofp-ext/sal.h",
          f"{len(lua & printed)} equal"
          + (f"; differ: {sorted(lua ^ printed)}" if lua != printed else ""))

    with open(f"{ROOT}/ofp-ext/sal.h", encoding="utf-8") as header:
        text = header.read()
    for enum, prefix, table in (("sal_type", "SAL_TYPE_", "TYPES"),
                                ("sal_option_type", "SAL_OPTION_", "OPTIONS")):
        body = re.search(rf"enum {enum} {{(.*?)}};", text, re.DOTALL).group(1)
        names = set(re.findall(rf"{prefix}(\w+) =", body))
        known = {line.split("=")[1] for line in lua
                 if line.startswith(f"{table} ")}
        check(names == known, f"every name of enum {enum} is known",
              f"{len(names)}" if names == known else f"{names ^ known}")


# 2. Packets of our own.

def ones_complement_sum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return total


def sal(kind, words, flags=0, inner=59, options=b"", good_checksum=True):
    """A SAL header of 'words' words (options included)."""
    header = struct.pack(">BBBBIIBBH", 0x10, words, kind, 6, 0xa1b2c3d4,
                         0x01020304, flags, inner, 0)
    if kind != 0x01:
        header += struct.pack(">IIQ", 7, 9, NONCE)
    if kind & 0x10 or words > 8:
        header += SERVICE
    header += options
    if kind != 0x01:
        checksum = 0xffff ^ ones_complement_sum(header)
        checksum ^= 0 if good_checksum else 0x5555
        header = header[:14] + struct.pack(">H", checksum) + header[16:]
    return header


def inner_tcp():
    """IPv4 and TCP, port 40000 to 80."""
    return (struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0,
                        bytes([100, 64, 0, 1]), bytes([198, 18, 0, 1]))
            + struct.pack(">HHIIBBHHH", 40000, 80, 1, 0, 0x50, 2, 1000, 0, 0))


def frame(payload):
    """'payload' in UDP to the SAL port, IPv4, Ethernet."""
    udp = struct.pack(">HHHH", 50000, 6090, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0,
                     bytes([10, 0, 0, 1]), bytes([10, 0, 255, 254]))
    return bytes(12) + b"\x08\x00" + ip + udp


def write_pcap(path, frames):
    with open(path, "wb") as pcap:
        pcap.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for data in frames:
            pcap.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)


def tshark(path, fields, display=None):
    """One dictionary a packet."""
    command = ["tshark", "-X", f"lua_script:{LUA}", "-r", path, "-T", "fields",
               "-E", "separator=/t", "-o", "udp.check_checksum:FALSE"]
    for field in fields:
        command += ["-e", field]
    if display:
        command += ["-Y", display]
    # HOME: no setting of the caller's may change what tshark prints.
    with tempfile.TemporaryDirectory(prefix="salient-") as home:
        done = subprocess.run(command, capture_output=True, text=True,
                              check=False, env=dict(os.environ, HOME=home,
                                                    XDG_CONFIG_HOME=home))
    if done.returncode != 0 or "Lua" in done.stderr:
        print(done.stderr)
        raise SystemExit(f"tshark failed with status {done.returncode}")
    return [dict(zip(fields, line.split("\t")))
            for line in done.stdout.splitlines()]


def check_fields(path):
    options = (bytes([1, 18]) + bytes(range(16)) + b"\0\0"
               + bytes([2, 34]) + bytes(range(32)) + b"\0\0"
               + bytes([3, 6, 10, 0, 0, 7, 0, 0])
               + bytes([5, 18]) + bytes(range(16, 32)) + b"\0\0"
               + bytes([99, 3, 0xee, 0]))
    frames = [
        sal(0x11, 16, flags=0xa3, inner=4) + inner_tcp(),
        sal(0x01, 4, inner=4) + inner_tcp(),
        sal(0x15, 16 + len(options) // 4, options=options),
        sal(0x04, 8),
        sal(0x11, 16, good_checksum=False),
        sal(0x11, 60),           # Longer than the packet.
        sal(0x11, 4)[:16],       # Too short for a SYN.
        sal(0x15, 17, options=bytes([1, 200, 0, 0])),
        b"\x20" + sal(0x01, 4)[1:],  # Another version: not for us.
    ]
    write_pcap(path, [frame(data) for data in frames])
    want = [
        {"sal.type": "0x11", "sal.header_len": "16", "sal.proto": "6",
         "sal.src_flow": "0xa1b2c3d4", "sal.dst_flow": "0x01020304",
         "sal.flags.retry": "1", "sal.flags.hops": "1", "sal.path_class": "3",
         "sal.inner": "4", "sal.checksum.ok": "1", "sal.seq": "7",
         "sal.ack": "9", "sal.nonce": "0x1122334455667788",
         "sal.service": SERVICE.hex(), "tcp.dstport": "80",
         "sal.version": "1"},
        {"sal.type": "0x01", "sal.seq": "", "sal.service": "",
         "tcp.dstport": "80"},
        {"sal.type": "0x15", "sal.endpoint_id": bytes(range(16)).hex(),
         "sal.public_key": bytes(range(32)).hex(),
         "sal.locator4": "10.0.0.7", "sal.mac": bytes(range(16, 32)).hex(),
         "sal.option": "1,2,3,5,99", "sal.option.value": "ee",
         "tcp.dstport": ""},
        {"sal.type": "0x04", "sal.nonce": "0x1122334455667788",
         "sal.service": "", "sal.checksum.ok": "1"},
        {"sal.checksum.ok": "0", "sal.checksum.bad": "1"},
        {"sal.malformed": "1"},
        {"sal.malformed": "1"},
        {"sal.malformed": "1"},
        {"sal.type": ""},
    ]
    names = ["SYN", "DATA", "PROBE with options", "RESET", "bad checksum",
             "header longer than packet", "header too short for its type",
             "option past the header", "another version"]
    fields = sorted({field for fields in want for field in fields})
    got = tshark(path, fields)
    for name, expected, packet in zip(names, want, got):
        # Booleans are 1 and 0 or True and False, by version of tshark.
        norm = {"True": "1", "False": "0"}
        wrong = {field: packet.get(field) for field, value in expected.items()
                 if norm.get(packet.get(field), packet.get(field)) != value}
        check(not wrong, f"tshark shows: {name}",
              f"{len(expected)} fields" if not wrong else f"got {wrong}")


# 3. The real thing.

def check_capture(path):
    fields = ["sal.type", "sal.malformed", "sal.checksum.bad", "sal.service",
              "sal.nonce", "sal.src_flow", "sal.dst_flow", "ip.dst",
              "udp.srcport", "tcp.dstport"]
    packets = tshark(path, fields, "sal")
    by_type = {}
    for packet in packets:
        by_type.setdefault(packet["sal.type"], []).append(packet)
    check(len(packets) > 0, "quickstart: SAL packets are recognised",
          ", ".join(f"{kind}: {len(group)}"
                    for kind, group in sorted(by_type.items())))
    wrong = [packet for packet in packets
             if packet["sal.malformed"] or packet["sal.checksum.bad"]]
    check(packets and not wrong, "quickstart: none is malformed",
          f"of {len(packets)}" if not wrong else f"{wrong[0]}")
    check(all(kind in by_type for kind in ("0x11", "0x12", "0x01")),
          "quickstart: SYN, SYN-ACK and DATA are there")
    answers = {(packet["sal.dst_flow"], packet["sal.nonce"])
               for packet in by_type.get("0x12", [])}
    syns = {(packet["sal.src_flow"], packet["sal.nonce"])
            for packet in by_type.get("0x11", [])}
    check(answers and answers <= syns,
          "quickstart: SYN-ACKs echo flow ID and nonce",
          f"{len(answers & syns)} flows")


def main(layout_program, capture=None):
    check_layout(layout_program)
    with tempfile.TemporaryDirectory(prefix="salient-") as folder:
        check_fields(f"{folder}/made.pcap")
    skipped = 0
    if capture and os.path.exists(capture):
        check_capture(capture)
    else:
        skipped = 1
        print(f"  SKIP    quickstart capture: no {capture}; "
              "make check-quickstart writes it")
    print(f"dissector: {counts[True]} passed, {counts[False]} failed, "
          f"{skipped} skipped")
    return 1 if counts[False] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
