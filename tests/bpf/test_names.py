#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Names of services by the ways that programs look names up: glibc with
/etc/nsswitch.conf and /etc/resolv.conf, and systemd-resolved where it is
installed (SALIENT_RESOLVED names another binary).

    client 10.0.0.1 --- br0, plain --- server 10.0.0.2  web.shop.acme

Both run sald, without a controller.  What is in /etc is replaced in a mount
namespace of the program's own.
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_static as static  # noqa: E402
from netlab import Lab, wait_for  # noqa: E402
from test_static import step  # noqa: E402

NAME = "web.shop.acme.sal"
CLIENT = ("import socket, sys; s = socket.create_connection((sys.argv[1], 80),"
          " 10); print(s.recv(100).decode())")
RESOLVED = os.environ.get("SALIENT_RESOLVED", "/lib/systemd/systemd-resolved")


class View:
    """The host with other files in /etc."""

    def __init__(self, host, name, **files):
        self.host = host
        folder = f"{host.lab.dir}/{name}"
        os.mkdir(folder)
        self.script = ""
        for file, content in files.items():
            file = file.replace("_conf", ".conf")
            with open(f"{folder}/{file}", "w") as out:
                out.write(content)
            # Where there is none, an empty one to mount over.
            self.script += (f"test -e /etc/{file} || touch /etc/{file}; "
                            f"mount --bind {folder}/{file} /etc/{file} && ")

    def command(self, command, before=""):
        return self.host.command("unshare", "-m", "--propagation", "private",
                                 "sh", "-c",
                                 self.script + before + "exec " + command)

    def run(self, command):
        done = subprocess.run(self.command(command), text=True, check=False,
                              stdout=subprocess.PIPE, timeout=30)
        return done.returncode, done.stdout


def lookups(view, address):
    code, out = view.run(f"getent ahostsv4 {NAME}")
    assert code == 0 and out.split()[0] == address, (code, out)
    code, out = view.run(f"/usr/bin/python3 -c '{CLIENT}' {NAME}")
    assert code == 0 and out == "server\n", (code, out)
    begin = time.monotonic()
    code, out = view.run("getent hosts nobody.sal")
    took = time.monotonic() - begin
    assert code == 2 and took < 4, (code, out, took)


def plain(client, address):
    step("nsswitch: files dns; /etc/resolv.conf names sald")
    lookups(View(client, "plain", nsswitch_conf="hosts: files dns\n",
                 resolv_conf="nameserver 127.0.0.55\n"), address)


def resolved(client, address):
    if not os.path.exists(RESOLVED):
        step(f"skipped: no {RESOLVED}")
        return
    step("systemd-resolved asks sald for what is below .sal")
    # As docs/operating.md says, and the user that its package makes.
    with open("/etc/passwd") as passwd:
        users = passwd.read()
    if "systemd-resolve:" not in users:
        users += "systemd-resolve:x:992:992::/:/usr/sbin/nologin\n"
    view = View(client, "resolved", passwd=users)
    folder = f"{client.lab.dir}/resolved"
    with open(f"{folder}/salient.conf", "w") as out:
        out.write("[Resolve]\nDNS=127.0.0.55\nDomains=~sal\n")
    process = subprocess.Popen(view.command(RESOLVED, (
        "mount -t tmpfs none /run/systemd && "
        "mkdir /run/systemd/resolved.conf.d && "
        f"cp {folder}/salient.conf /run/systemd/resolved.conf.d/ && ")),
        stdout=open(f"{folder}/log", "w"), stderr=subprocess.STDOUT)
    try:
        stub = View(client, "stub", nsswitch_conf="hosts: files dns\n",
                    resolv_conf="nameserver 127.0.0.53\n")
        wait_for(lambda: stub.run(f"getent ahostsv4 {NAME}")[0] == 0,
                 "systemd-resolved", 30)
        lookups(stub, address)
    except BaseException:
        print(open(f"{folder}/log").read())
        raise
    finally:
        process.terminate()
        process.wait()


def main():
    static.net = static.Net(4)
    with Lab(sys.argv[1] if len(sys.argv) > 1 else "build") as lab:
        hosts = [static.net.host(lab, name, n)
                 for name, n in (("client", 1), ("server", 2))]
        agents = []
        try:
            agents.append(static.Agent(hosts[1], "100.64.0.2",
                                       static.SERVES_WEB))
            agents.append(static.Agent(
                hosts[0], "100.64.0.1", "routes:\n  - {service: web.shop.acme,"
                " locators: [10.0.0.2]}\n"))
            static.Server(hosts[1], 8080, "server")
            address = agents[1].resolve("web.shop.acme")
            plain(hosts[0], address)
            resolved(hosts[0], address)
        except BaseException:
            for agent in agents:
                sys.stderr.write(open(agent.log).read())
            raise
        finally:
            for agent in agents:
                agent.stop()
    print(f"{static.steps} steps")


if __name__ == "__main__":
    main()
