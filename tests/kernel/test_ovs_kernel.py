#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The patched Open vSwitch on the Linux kernel's datapath, openvswitch.ko,
which cannot match SAL fields:

      10.0.0.1                             10.0.0.2
      client eth0 --- p1 [ br0 ] p2 --- eth0 server
      100.64.0.1     datapath_type          100.64.0.2
                       =system
                    [ br1: netdev ]

Whatever needs the fields is refused by name, and SAL packets are forwarded
like any UDP.  Services are those of test_namespaces.py.
"""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path[:0] = [ROOT, f"{ROOT}/tests/bpf"]

import test_namespaces as base  # noqa: E402
from netlab import Host, Lab, wait_for  # noqa: E402
from test_namespaces import step  # noqa: E402
from topologies.ovs import OpenVSwitch  # noqa: E402

SAL = "udp,udp_dst=6090"
SERVICE = f"{SAL},sal_type=0x11,sal_service={1:#066x}"
MATCHES = (f"{SAL},sal_type=0x11", f"{SAL},sal_flags=1", f"{SAL},sal_proto=6",
           f"{SAL},sal_src_flow=1", f"{SAL},sal_dst_flow=1", SERVICE,
           "udp6,udp_dst=6090,sal_type=1")


def refused(*command):
    """What ovs-ofctl says when the switch refuses."""
    done = subprocess.run(["ovs-ofctl", "-O", "OpenFlow15", *command],
                          capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def number_of_flows(ovs, bridge):
    return ovs.ofctl("dump-flows", bridge).count("cookie=")


def probed(ovs):
    step("each datapath says whether it has the fields")
    assert os.path.isdir("/sys/module/openvswitch"), "no openvswitch.ko"
    assert "system@ovs-system" in ovs.appctl("dpif/show")
    for bridge, has in ("br0", "No"), ("br1", "Yes"):
        assert f"SAL: {has}" in ovs.appctl("dpif/show-dp-features", bridge)


def matches_refused(ovs):
    step("flows that match any SAL field are refused: OFPBMC_BAD_FIELD")
    before = number_of_flows(ovs, "br0")
    for match in MATCHES:
        ovs.ofctl("add-flow", "br1", f"{match},actions=drop")
        for how in [], ["--bundle"]:
            said = refused(*how, "add-flow", "br0", f"{match},actions=drop")
            assert "OFPBMC_BAD_FIELD" in said, (match, how, said)
    assert number_of_flows(ovs, "br0") == before
    assert number_of_flows(ovs, "br1") == before + len(MATCHES)


def readers_refused(ovs):
    step("so are actions and groups that read them")
    said = refused("add-flow", "br0", f"{SAL},actions="
                   "move:sal_dst_flow[]->reg0[],normal")
    assert "OFPBMC_BAD_FIELD" in said or "OFPBAC_BAD_ARGUMENT" in said, said
    said = refused("add-group", "br0", "group_id=1,type=select,"
                   "selection_method=hash,fields(udp_dst,sal_dst_flow),"
                   "bucket=actions=output:1")
    assert "OFPBPC_BAD_VALUE" in said, said
    assert "group_id=1" not in ovs.ofctl("dump-groups", "br0")


def forwarded(lab, ovs, client, server):
    step("SAL packets are forwarded like any UDP, every word verified")
    base.start(lab)
    base.transfer(client, server, 64)
    flows = ovs.appctl("dpctl/dump-flows", "--names", "system@ovs-system")
    assert "in_port(p1)" in flows and "sal(" not in flows, flows
    base.refused(client, base.WEB, 81)
    base.no_flows(client, server)


def ordinary_fields(ovs, client, server):
    step("a rule on the UDP port holds them up; without it they pass again")
    ovs.ofctl("add-flow", "br0", f"priority=9,{SAL},actions=drop")
    try:
        client.connect(base.WEB, 80, timeout=2).close()
        raise AssertionError("a SYN came through the rule that drops it")
    except TimeoutError:
        pass
    ovs.ofctl("--strict", "del-flows", "br0", f"priority=9,{SAL}")
    base.transfer(client, server, 4)
    base.no_flows(client, server)


def another_datapath(ovs):
    step("a bridge that moves to the kernel's datapath takes no such flows")
    assert number_of_flows(ovs, "br1") > len(MATCHES)
    ovs.vsctl("set", "bridge", "br1", "datapath_type=system")
    wait_for(lambda: "SAL: No" in ovs.appctl("dpif/show-dp-features", "br1"),
             "br1 has another datapath")
    assert "sal_" not in ovs.ofctl("dump-flows", "br1")
    assert "OFPBMC_BAD_FIELD" in refused("add-flow", "br1",
                                         f"{SERVICE},actions=drop")
    ovs.vsctl("del-br", "br1")


def controlled(lab, ovs):
    step("the controller takes it for a switch that only forwards")
    config, control = f"{lab.dir}/controller.yaml", f"{lab.dir}/control.sock"
    with open(config, "w", encoding="ascii") as file:
        # What is emulated takes long to say what it is.
        file.write('openflow: {listen: ["tcp:127.0.0.1:6653"], '
                   'handshake_timeout: 5m, echo_timeout: 5m}\n'
                   'api: {listen: ["tcp:127.0.0.1:6654"]}\n'
                   f'control: {control}\n')
    with open(f"{lab.dir}/controller.log", "w+", encoding="utf8") as log, \
            subprocess.Popen([f"{lab.build}/bin/salient-controller",
                              "--config", config], stderr=log) as controller:
        try:
            wait_for(lambda: os.path.exists(control), "the controller", 30)
            ovs.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653")
            ask = [f"{lab.build}/bin/salctl", "--socket", control, "--json",
                   "controller", "show", "switches"]
            switch, = wait_for(
                lambda: [s for s in json.loads(subprocess.check_output(ask))
                         if not s.get("sal", True) and s["installed"]
                         and "BAD_FIELD" not in json.dumps(s["refused"])],
                "it is known as stock, and its rules are in", 60)
            # That datapath cannot write neighbour advertisements, either.
            assert all(" nd " in r["rule"] for r in switch["refused"]), switch
        except BaseException:
            log.seek(0)
            print(log.read()[-3000:])
            raise
        finally:
            controller.terminate()
            controller.wait()


def build(lab, ovs):
    # The switch's ports are in this namespace, the hosts' in theirs.
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    client, server = (Host(lab, name, None) for name in ("client", "server"))
    for number, host in enumerate((client, server), 1):
        subprocess.run(["ip", "link", "add", f"p{number}", "up", "type",
                        "veth", "peer", "name", "eth0", "netns",
                        str(host.holder.pid)], check=True)
        host.locator = f"10.0.0.{number}"
        host.run("ip", "link", "set", "eth0", "up")
        host.run("ip", "addr", "add", f"{host.locator}/24", "dev", "eth0")
    ovs.vsctl("add-br", "br0", "--", "set", "bridge", "br0",
              "datapath_type=system", "protocols=OpenFlow13,OpenFlow15", "--",
              "add-port", "br0", "p1", "--", "add-port", "br0", "p2", "--",
              "add-br", "br1", "--", "set", "bridge", "br1",
              "datapath_type=netdev", "protocols=OpenFlow15")
    return client, server


def main():
    lab = Lab(sys.argv[1])
    os.makedirs(f"{lab.dir}/ovs")
    ovs = OpenVSwitch(f"{lab.build}/ovs", f"{lab.dir}/ovs", lab.dir)
    try:
        ovs.start()
        lab.hosts += build(lab, ovs)
        client, server = lab.hosts
        probed(ovs)
        matches_refused(ovs)
        readers_refused(ovs)
        forwarded(lab, ovs, client, server)
        ordinary_fields(ovs, client, server)
        another_datapath(ovs)
        controlled(lab, ovs)
    finally:
        ovs.stop()
        lab.close()
    print(f"ovs-kernel: {base.steps} passed, 0 failed")


if __name__ == "__main__":
    main()
