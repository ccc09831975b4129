#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real UDP clients and servers through Salient, without a daemon:

        10.0.0.1                        10.0.0.2
        client  dig, iperf3, HTTP/3     server  dnsmasq, iperf3, gtlsserver
           |                               |
           +------ br0, a plain bridge ----+

198.18.0.1 = web.shop.acme, 198.18.0.2 = shadow.shop.acme (the same targets).
What is not installed is skipped.
"""
import json
import os
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from netlab import Lab, wait_for  # noqa: E402

WEB, SHADOW = "198.18.0.1", "198.18.0.2"
PORTS = {53: 5353, 443: 4433, 5201: 5201, 9: 9009}
UDP_SEGMENT = 103

steps = 0


def step(name):
    global steps
    steps += 1
    print(f"-- {name}", flush=True)


def have(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        print(f"   skipped: no {', '.join(missing)}", flush=True)
    return not missing


def listens(host, port):
    return lambda: f":{port} " in host.run("ss", "-uln")


def stop(process):
    process.terminate()
    process.wait()


def names(client, server):
    step("dig asks dnsmasq: short answers, and one that fills the MTU")
    if not have("dig", "dnsmasq"):
        return
    records = [f"--txt-record=big.test,{i}{'x' * 253}" for i in range(5)]
    process = server.popen(
        "dnsmasq", "--keep-in-foreground", "--port=5353", "--no-resolv",
        "--no-hosts", "--conf-file=/dev/null", "--pid-file", "--user=root",
        "--edns-packet-max=4096", "--address=/www.test/192.0.2.7", *records,
        stderr=subprocess.DEVNULL)
    try:
        wait_for(listens(server, 5353), "dnsmasq")
        for _ in range(20):
            out = client.run("dig", "+short", "+tries=1", "+time=3",
                             f"@{WEB}", "www.test", "A")
            assert out == "192.0.2.7\n", out
        out = client.run("dig", "+tries=1", "+time=3", "+bufsize=1400",
                         "+notcp", f"@{WEB}", "big.test", "TXT")
        assert out.count('TXT\t"') == 5 and "flags: qr aa" in out, out
        assert "WARNING" not in out, out
    finally:
        stop(process)


def no_room(host):
    """Datagrams that found the socket's buffer full: nobody was there to read
    them, the machine being busy."""
    names, values = [line.split()[1:] for line in host.run(
        "cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    return int(dict(zip(names, values))["RcvbufErrors"])


def throughput(client, server):
    step("iperf3 -u, both ways: nothing is lost at 50 Mbit/s")
    if not have("iperf3"):
        return
    process = server.popen("iperf3", "-s", "-p", "5201",
                           stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: ":5201" in server.run("ss", "-tln"), "iperf3")
        for more, receiver in (([], server), (["-R"], client)):
            unread = no_room(receiver)
            out = json.loads(client.run("iperf3", "-c", WEB, "-u", "-b", "50M",
                                        "-l", "1400", "-t", "2", "-J", *more))
            total = out["end"]["sum"]
            unread = no_room(receiver) - unread
            lost = total["lost_packets"] - unread
            assert total["packets"] > 1000, total
            assert lost < 0.01 * total["packets"], (lost, total)
            print(f"   {total['packets']} datagrams, {unread} came while "
                  f"nobody read, {max(lost, 0)} lost", flush=True)
    finally:
        stop(process)


def http3(client, server, lab):
    step("HTTP/3: 4 MiB, verified, in 8 streams of one connection")
    if not have("gtlsclient", "gtlsserver", "openssl"):
        return
    folder = f"{lab.dir}/http3"
    got = f"{lab.dir}/got"
    for path in folder, got:
        os.mkdir(path)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                    "-subj", "/CN=web", "-keyout", f"{folder}/key", "-out",
                    f"{folder}/cert"], check=True, capture_output=True)
    files = {}
    for i in range(8):
        files[f"f{i}"] = os.urandom(512 * 1024)
        with open(f"{folder}/f{i}", "wb") as out:
            out.write(files[f"f{i}"])
    process = server.popen("gtlsserver", "-q", "-d", folder, "*", "4433",
                           f"{folder}/key", f"{folder}/cert",
                           stderr=subprocess.DEVNULL)
    try:
        wait_for(listens(server, 4433), "gtlsserver")
        client.run("gtlsclient", "-q", "--exit-on-all-streams-close",
                   f"--download={got}", WEB, "443",
                   *(f"https://{WEB}/{name}" for name in files))
        for name, content in files.items():
            with open(f"{got}/{name}", "rb") as data:
                assert data.read() == content, f"{name} is wrong"
    finally:
        stop(process)


def segmented(client, server):
    step("UDP_SEGMENT: each segment once and whole, first ones too")
    sink = server.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("0.0.0.0", 9009))
    sink.settimeout(10)
    for first in True, False:
        s = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if not first:
            s.sendto(b"bind", (WEB, 9))
            assert sink.recv(100) == b"bind"
            wait_for(lambda: client.flows("bound", 17), "bound")
        s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1300)
        parts = [bytes([65 + i]) * 1300 for i in range(20)]
        s.sendto(b"".join(parts), (WEB, 9))
        assert sorted(sink.recv(3000) for _ in parts) == parts
        s.close()
    sink.close()


def shared_target(client, server):
    step("wildcard socket, two services with one target, one client port")
    echo = server.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind(("0.0.0.0", 9009))
    echo.settimeout(10)
    s = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", 7777))
    s.settimeout(10)
    peers = {}
    for _ in range(3):
        for address in WEB, SHADOW:
            s.sendto(address.encode(), (address, 9))
            got, peer = echo.recvfrom(100)
            assert got == address.encode() and peer[0] == client.identity
            assert peers.setdefault(address, peer) == peer
            echo.sendto(got, peer)
            got, origin = s.recvfrom(100)
            assert got == address.encode() and origin == (address, 9), origin
    assert peers[WEB] != peers[SHADOW], peers
    s.close()
    echo.close()


def all_steps(lab):
    client = lab.host("client", "10.0.0.1")
    server = lab.host("server", "10.0.0.2")
    rules = []
    for service in "web.shop.acme", "shadow.shop.acme":
        rules += ["rule", service, "demux"]
        for port, target in PORTS.items():
            for protocol in 6, 17:
                rules += ["target", service, protocol, port,
                          f"0.0.0.0:{target}"]
    client.start("100.64.0.1", "resolver", server.locator, "rule", "acme",
                 "forward", "address", WEB, "web.shop.acme", "address",
                 SHADOW, "shadow.shop.acme")
    server.start("100.64.0.2", "resolver", client.locator, *rules)
    segmented(client, server)
    shared_target(client, server)
    names(client, server)
    throughput(client, server)
    http3(client, server, lab)


def main():
    with Lab(sys.argv[1] if len(sys.argv) > 1 else "build") as lab:
        all_steps(lab)
    print(f"{steps} steps")


main()
