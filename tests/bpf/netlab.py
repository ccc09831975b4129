# SPDX-License-Identifier: Apache-2.0
"""Hosts in network namespaces, joined by a bridge, each with a data plane that
dpctl drives.  For tests and benchmarks; nothing outlives the process.

    with Lab(build) as lab:     # re-executes itself in a mount namespace
        a = lab.host("a", "10.0.0.1")
"""
import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
# Waits take as many times longer where the machine is emulated.
PATIENCE = int(os.environ.get("SALIENT_PATIENCE", "1"))


def wait_for(condition, what, seconds=30):
    """Polls until condition() is true; its last value, or an error."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: did not happen in {seconds} s")
        time.sleep(0.02)


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Namespace:
    """A network namespace, held by a process that waits for its stdin."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "-n", "cat"],
                                       stdin=subprocess.PIPE)
        mine = os.readlink("/proc/self/ns/net")
        path = f"/proc/{self.holder.pid}/ns/net"
        wait_for(lambda: os.readlink(path) != mine
                 and open(f"/proc/{self.holder.pid}/comm").read() == "cat\n",
                 "namespace")
        self.path = path
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *args):
        return ["nsenter", f"--net={self.path}", *map(str, args)]

    def run(self, *args, check=True, env=None):
        done = subprocess.run(self.command(*args), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, **(env or {})}, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, args))}: {done.stdout}"
                                 f"{done.stderr}")
        return done.stdout

    def popen(self, *args, **kwargs):
        return subprocess.Popen(self.command(*args), **kwargs)

    def socket(self, *args):
        """A socket that lives in this namespace."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(self.path, os.O_RDONLY)
        try:
            if LIBC.setns(there, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            return socket.socket(*args)
        finally:
            LIBC.setns(own, CLONE_NEWNET)
            os.close(own)
            os.close(there)

    def close(self):
        self.holder.stdin.close()
        self.holder.wait()


class Host(Namespace):
    """A namespace with one uplink, eth0, and a data plane.  Without a locator
    the caller makes the uplink."""

    def __init__(self, lab, name, locator, mtu=1500, locator6=None):
        super().__init__()
        self.lab = lab
        self.name = name
        self.locator = locator
        self.locator6 = locator6
        self.pins = f"{lab.bpffs}/{name}"
        self.env = {}
        if not locator:
            return
        if lab.direct and lab.hosts:
            lab.hosts[0].run("ip", "link", "add", "eth0", "mtu", mtu, "up",
                             "type", "veth", "peer", "name", "eth0", "netns",
                             self.holder.pid)
            lab.hosts[0].run("ip", "addr", "add",
                             f"{lab.hosts[0].locator}/24", "dev", "eth0")
        elif not lab.direct:
            lab.bridge.run("ip", "link", "add", name, "type", "veth", "peer",
                           "name", "eth0", "netns", self.holder.pid)
            lab.bridge.run("ip", "link", "set", name, "master", "br0", "mtu",
                           mtu, "up")
        if lab.direct and not lab.hosts:
            return  # The second host brings the cable.
        self.run("ip", "link", "set", "eth0", "mtu", mtu, "up")
        self.run("ip", "addr", "add", f"{locator}/24", "dev", "eth0")
        if locator6:
            self.run("ip", "addr", "add", f"{locator6}/64", "dev", "eth0",
                     "nodad")

    def dpctl(self, *args):
        return self.run(self.lab.dpctl, self.pins, "sal0", *args,
                        env=self.env)

    def start(self, identity, *args, identity6=None):
        """Loads the data plane and routes the pools to it."""
        self.identity = identity
        self.identity6 = identity6
        self.dpctl("attach", "eth0", "identity", identity,
                   *(["identity", identity6] if identity6 else []), *args)
        self.run("ip", "addr", "add", f"{identity}/32", "dev", "sal0")
        for pool in "198.18.0.0/15", "100.64.0.0/10":
            self.run("ip", "route", "add", pool, "dev", "sal0", "src",
                     identity)
        if identity6:
            self.run("ip", "addr", "add", f"{identity6}/128", "dev", "sal0",
                     "nodad")
            for pool in "fd5a::/48", "fd64::/48":
                self.run("ip", "route", "add", pool, "dev", "sal0", "src",
                         identity6)

    def dump(self, what):
        return json.loads(self.dpctl(what))

    def flows(self, state="bound", protocol=6):
        return [f for f in self.dump("flows") if f["state"] == state
                and f["inner"]["protocol"] == protocol]

    def listen(self, port, address="0.0.0.0"):
        s = self.socket(family_of(address))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        s.listen(1024)
        s.settimeout(20)
        return s

    def connect(self, address, port, timeout=5):
        s = self.socket(family_of(address))
        s.settimeout(timeout)
        try:
            s.connect((address, port))
        except BaseException:
            s.close()
            raise
        return s


class Lab:
    def __init__(self, build, direct=False):
        """'direct': two hosts, joined by one veth pair."""
        if os.environ.get("SALIENT_LAB") != "1":
            os.environ["SALIENT_LAB"] = "1"
            os.execvp("unshare", ["unshare", "-nm", "--propagation",
                                  "private", sys.executable, *sys.argv])
        self.build = os.path.abspath(build)
        self.direct = direct
        self.dpctl = f"{self.build}/tests/dpctl"
        self.dir = tempfile.mkdtemp(prefix="salient-lab-")
        subprocess.run(["mount", "-t", "tmpfs", "none", self.dir], check=True)
        self.bpffs = f"{self.dir}/bpf"
        os.mkdir(self.bpffs)
        subprocess.run(["mount", "-t", "bpf", "bpf", self.bpffs], check=True)
        self.bridge = Namespace()
        self.bridge.run("ip", "link", "add", "br0", "type", "bridge")
        self.bridge.run("ip", "link", "set", "br0", "up")
        self.hosts = []
        self.others = []  # Namespaces that are no hosts: routers, NATs.

    def host(self, name, locator, **kwargs):
        self.hosts.append(Host(self, name, locator, **kwargs))
        return self.hosts[-1]

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error:
            self.show_counters()
        self.close()

    def show_counters(self):
        """What may say why a test failed."""
        for host in self.hosts:
            if os.path.isdir(host.pins):
                counters = host.dump("counters")
                print(host.name, {k: v for k, v in counters.items() if v})

    def close(self):
        for namespace in [*self.others, *self.hosts, self.bridge]:
            namespace.close()
        subprocess.run(["umount", self.bpffs], check=False)
        subprocess.run(["umount", self.dir], check=False)
        os.rmdir(self.dir)


@contextlib.contextmanager
def nginx(lab, host, listen):
    """nginx on 'host', at port 8080 of all addresses that 'listen' (a word of
    its configuration) stands for.  Gives the name of the access log."""
    folder = f"{lab.dir}/nginx"
    os.mkdir(folder)
    with open(f"{folder}/index.html", "w") as page:
        page.write("hello\n")
    with open(f"{folder}/nginx.conf", "w") as conf:
        conf.write(f"""daemon off; master_process off; error_log stderr;
pid {folder}/pid; events {{}}
http {{ access_log {folder}/access.log;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{ listen {listen}; root {folder}; }} }}
""")
    process = host.popen("nginx", "-p", folder, "-c", f"{folder}/nginx.conf",
                         stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: ":8080" in host.run("ss", "-tln"), "nginx")
        yield f"{folder}/access.log"
    finally:
        process.terminate()
        process.wait()
