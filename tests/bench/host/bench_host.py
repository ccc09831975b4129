#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The host data plane beside its rivals, on one veth pair:

        client 10.0.0.1 ------------- 10.0.0.2 server

plain       10.0.0.2 itself
salient     198.18.0.1 over the SAL, the resolver being the server
vxlan       172.16.0.2 over a kernel VXLAN device
nft         192.0.2.1, DNAT to 10.0.0.2 in the client's output hook
haproxy     a TCP-mode proxy on the client

Whoever is not installed is skipped, and said to be.  Everything runs on one
CPU, in short interleaved rounds; each figure is the median over the rounds of
the ratio to plain in the same round, with the quartiles.  Latency and CPU time
are plain divided into theirs (below 1.08 is the aim), the rest theirs divided
by plain.  Then the nanoseconds that each program takes per packet, and the
tables at size (tables.c).

    bench_host.py BUILD [ROUNDS [SECONDS]]
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../../bpf")
from netlab import Lab, wait_for  # noqa: E402

CPU = "1"
PORT, IPERF = 7000, 5201
ADDRESS = {"plain": "10.0.0.2", "salient": "198.18.0.1",
           "vxlan": "172.16.0.2", "nft": "192.0.2.1",
           "haproxy": "127.0.0.1"}


def set_up(lab):
    client, server = lab.host("client", "10.0.0.1"), lab.host("server",
                                                              "10.0.0.2")
    client.start("100.64.0.1", "resolver", server.locator, "rule", "acme",
                 "forward", "address", ADDRESS["salient"], "web.shop.acme")
    targets = []
    for port in PORT, IPERF:
        for protocol in 6, 17:
            targets += ["target", "web.shop.acme", protocol, port,
                        f"0.0.0.0:{port}"]
    server.start("100.64.0.2", "resolver", client.locator, "rule",
                 "web.shop.acme", "demux", *targets)
    for host, other, inner in ((client, server, 1), (server, client, 2)):
        host.run("ip", "link", "add", "vx0", "type", "vxlan", "id", 7,
                 "local", host.locator, "remote", other.locator, "dstport",
                 4789, "dev", "eth0")
        host.run("ip", "addr", "add", f"172.16.0.{inner}/24", "dev", "vx0")
        host.run("ip", "link", "set", "vx0", "up")
    client.run("ip", "route", "add", "192.0.2.0/24", "dev", "eth0")
    if shutil.which("nft"):
        client.run("nft", "add table ip t; add chain ip t o { type nat "
                   "hook output priority -100; }; add rule ip t o ip daddr "
                   "192.0.2.1 dnat to 10.0.0.2")
    return client, server


def haproxy(lab, client):
    if not shutil.which("haproxy"):
        return None
    conf = f"{lab.dir}/haproxy.cfg"
    with open(conf, "w") as f:
        f.write("global\n nbthread 1\ndefaults\n mode tcp\n timeout connect "
                "5s\n timeout client 60s\n timeout server 60s\n")
        for port in PORT, IPERF:
            f.write(f"listen p{port}\n bind 127.0.0.1:{port}\n"
                    f" server s 10.0.0.2:{port}\n")
    process = client.popen("taskset", "-c", CPU, "haproxy", "-db", "-f", conf,
                           stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    wait_for(lambda: f":{PORT}" in client.run("ss", "-tln"), "haproxy")
    return process


def iperf(client, address, seconds, *args):
    out = client.run("taskset", "-c", CPU, "iperf3", "-c", address, "-p",
                     IPERF, "-t", seconds, "-J", *args)
    return json.loads(out)["end"]


def throughput(client, address, streams, seconds):
    return iperf(client, address, seconds, "-P",
                 streams)["sum_received"]["bits_per_second"]


def cpu_time(client, address, seconds):
    """Seconds of CPU, at both ends, for a gigabyte."""
    end = iperf(client, address, seconds)
    percent = end["cpu_utilization_percent"]
    received = end["sum_received"]
    return (percent["host_total"] + percent["remote_total"]) / 100 \
        * received["seconds"] / (received["bytes"] / 1e9)


def packets(client, address, seconds):
    """Small datagrams that arrive, per second."""
    total = iperf(client, address, seconds, "-u", "-b", "0", "-l", "64")["sum"]
    return (total["packets"] - total["lost_packets"]) / total["seconds"]


def segmented(client, server, on):
    """Segments on the wire; the receiver merges them (veth does GRO only
    when told to)."""
    for feature in "tso", "gso", "tx-udp_tnl-segmentation":
        client.run("ethtool", "-K", "eth0", feature, "off" if on else "on",
                   check=False)
    server.run("ethtool", "-K", "eth0", "gro", "on" if on else "off")


def salient_ingress(host, how):
    """Where headers are stripped: XDP before GRO pays where segments arrive
    one by one, tc where they arrive whole."""
    host.env = {"SALIENT_INGRESS": how}
    host.dpctl("attach", "eth0")


def pingpong(client, tool, what, address, seconds):
    out = client.run("taskset", "-c", CPU, tool, what, address, PORT, seconds)
    return [float(x) for x in out.split()[1:]]


def measure(lab, client, server, variants, rounds, seconds):
    tool = f"{lab.build}/tests/pingpong"
    rows = {}

    def note(row, variant, value):
        rows.setdefault(row, {}).setdefault(variant, []).append(value)

    for n in range(rounds):
        order = variants[n % len(variants):] + variants[:n % len(variants)]
        for row, streams in (("tcp_gso_1", 1), ("tcp_gso_4", 4)):
            for v in order:
                note(row, v, throughput(client, ADDRESS[v], streams, seconds))
        for v in order:
            note("cpu_per_gigabyte", v, cpu_time(client, ADDRESS[v], seconds))
        for v in order:
            if v != "haproxy":  # It does not do UDP.
                note("udp_packets", v, packets(client, ADDRESS[v], seconds))
        for v in order:
            median, p99 = pingpong(client, tool, "latency", ADDRESS[v],
                                   seconds)
            note("latency", v, median)
            note("latency_p99", v, p99)
        for v in order:
            note("connections", v, pingpong(client, tool, "connections",
                                            ADDRESS[v], seconds)[0])
        segmented(client, server, True)
        for v in order:
            salient_ingress(server, "xdp" if v == "salient" else "tc")
            note("tcp_segmented", v,
                 throughput(client, ADDRESS[v], 1, seconds))
        salient_ingress(server, "tc")
        segmented(client, server, False)
        print(f"round {n + 1} of {rounds}", file=sys.stderr, flush=True)
    return rows


def report(rows):
    result = {}
    for row, by_variant in rows.items():
        plain = by_variant["plain"]
        unit = {"latency": "ns", "latency_p99": "ns", "connections": "per_s",
                "udp_packets": "per_s", "cpu_per_gigabyte": "s"}.get(
                    row, "bit_per_s")
        print(f"bench host.{row}.plain {statistics.median(plain):.4g} {unit}")
        for variant, values in by_variant.items():
            if variant == "plain":
                continue
            ratios = sorted(v / p for v, p in zip(values, plain))
            name = f"host.{row}" + ("" if variant == "salient"
                                    else f".{variant}")
            median = statistics.median(ratios)
            low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
            result[name] = {"ratio": median, "low": low, "high": high,
                            "values": values, "plain": plain}
            print(f"bench {name} {median:.3f} ratio "
                  f"({low:.3f} to {high:.3f})")
    return result


def programs_of(host):
    """Program IDs of the host's hooks, by where they are."""
    ids = {}
    for name in os.listdir(host.pins):
        if name.startswith("link_"):
            shown = subprocess.run(
                ["bpftool", "-j", "link", "show", "pinned",
                 f"{host.pins}/{name}"], stdout=subprocess.PIPE, check=False)
            if shown.returncode == 0:
                ids[name.split("_")[1]] = json.loads(shown.stdout)["prog_id"]
    return ids


def stats(prog_id):
    """Runs of a program, and nanoseconds that they took."""
    shown = json.loads(subprocess.run(
        ["bpftool", "-j", "prog", "show", "id", str(prog_id)],
        stdout=subprocess.PIPE, check=True).stdout)
    return shown.get("run_cnt", 0), shown.get("run_time_ns", 0)


def nanoseconds_per_connection(tool, client, server, seconds):
    """Of all programs at both ends; what a connection takes is more."""
    ids = [i for host in (client, server)
           for i in programs_of(host).values()]
    before = sum(stats(i)[1] for i in ids)
    rate = pingpong(client, tool, "connections", ADDRESS["salient"],
                    seconds)[0]
    took = sum(stats(i)[1] for i in ids) - before
    if rate:
        print(f"bench host.connection {1e9 / rate:.0f} ns")
        print(f"bench host.connection_programs {took / (rate * seconds):.0f} "
              "ns")


def nanoseconds_per_packet(tool, client, server, seconds):
    """Of each program, segments arriving one by one."""
    segmented(client, server, True)
    salient_ingress(server, "xdp")
    with open("/proc/sys/kernel/bpf_stats_enabled", "r+") as switch:
        was = switch.read()
        switch.seek(0)
        switch.write("1")
    try:
        for host, where in ((client, "egress"), (server, "ingress"),
                            (server, "xdp")):
            prog_id = programs_of(host).get(where)
            if not prog_id:
                print(f"skip host.program_{where}: its link is not shown")
                continue
            before = stats(prog_id)
            throughput(client, ADDRESS["salient"], 1, seconds)
            runs, took = (b - a for a, b in zip(before, stats(prog_id)))
            print(f"bench host.program_{where} {took / max(runs, 1):.0f} ns "
                  f"({runs} runs)")
        nanoseconds_per_connection(tool, client, server, seconds)
    finally:
        with open("/proc/sys/kernel/bpf_stats_enabled", "w") as switch:
            switch.write(was)
        salient_ingress(server, "tc")
        segmented(client, server, False)


def main():
    for tool in "iperf3", "bpftool", "ethtool":
        if not shutil.which(tool):
            print(f"skip host: {tool} is not installed")
            return
    build = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    # iperf3 takes whole seconds, and 0 for ever.
    seconds = max(1, int(sys.argv[3])) if len(sys.argv) > 3 else 1
    lab = Lab(build, direct=True)
    processes = []
    try:
        client, server = set_up(lab)
        variants = ["plain", "salient", "vxlan"]
        if shutil.which("nft"):
            variants.append("nft")
        proxy = haproxy(lab, client)
        if proxy:
            processes.append(proxy)
            variants.append("haproxy")
        for rival, package in ("nft", "nftables"), ("haproxy", "haproxy"):
            if rival not in variants:
                print(f"skip host.*.{rival}: install {package} to compare")
        load = os.getloadavg()[0]
        print(f"bench host.load_before {load:.1f} processes")
        quiet = {"stdout": subprocess.DEVNULL}
        processes.append(server.popen("taskset", "-c", CPU, "iperf3", "-s",
                                      "-p", str(IPERF), **quiet))
        processes.append(server.popen(
            "taskset", "-c", CPU, f"{lab.build}/tests/pingpong", "server",
            str(PORT), **quiet))
        wait_for(lambda: f":{PORT}" in server.run("ss", "-tln"), "server")
        rows = measure(lab, client, server, variants, rounds, seconds)
        result = report(rows)
        nanoseconds_per_packet(f"{build}/tests/pingpong", client, server,
                               seconds)
        out = f"{lab.build}/bench-host.json"
        with open(out, "w") as f:
            json.dump(result, f, indent=1)
    finally:
        for process in processes:
            process.terminate()
            process.wait()
        lab.close()
    subprocess.run([f"{lab.build}/tests/tables"], check=True)
    subprocess.run([sys.executable, f"{HERE}/million.py", lab.build],
                   check=True, env={k: v for k, v in os.environ.items()
                                    if k != "SALIENT_LAB"})


if __name__ == "__main__":
    main()
