# SPDX-License-Identifier: Apache-2.0
"""The private Open vSwitch: build/ovs, with database, sockets and logs in
folders of the run.  Nothing of an installed Open vSwitch is used."""

import os
import subprocess

from topologies.daemon import write
from topologies.wait import PATIENCE, until

TIMEOUT = f"--timeout={20 * PATIENCE}"

PRIORITY = -10  # Niceness.


class OpenVSwitch:
    """ovsdb-server and ovs-vswitchd; start() exports what the command line
    tools need (PATH, OVS_RUNDIR, ...) into our environment."""

    def __init__(self, prefix, run_dir, log_dir):
        self.prefix, self.run_dir, self.log_dir = prefix, run_dir, log_dir
        self._daemons = []

    def start(self):
        os.makedirs(self.run_dir, exist_ok=True)
        os.environ.update({
            "PATH": ":".join([f"{self.prefix}/bin", f"{self.prefix}/sbin",
                              os.environ.get("PATH", ""),
                              "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
                              ]),
            "OVS_RUNDIR": self.run_dir, "OVS_DBDIR": self.run_dir,
            "OVS_SYSCONFDIR": self.run_dir, "OVS_LOGDIR": self.log_dir,
            "OVS_PKGDATADIR": f"{self.prefix}/share/openvswitch"})
        database = f"{self.run_dir}/conf.db"
        self._tool("ovsdb-tool", "create", database,
                   f"{self.prefix}/share/openvswitch/vswitch.ovsschema")
        self._daemon("ovsdb-server", database,
                     f"--remote=punix:{self.run_dir}/db.sock")
        until(lambda: os.path.exists(f"{self.run_dir}/db.sock"),
              "ovsdb-server listens")
        self._tool("ovs-vsctl", "--no-wait", "init")
        self._daemon("ovs-vswitchd", f"unix:{self.run_dir}/db.sock")
        # Without --no-wait it answers once ovs-vswitchd has read the database.
        self._tool("ovs-vsctl", TIMEOUT, "set", "Open_vSwitch", ".",
                   "external-ids:user=salient")

    def stop(self):
        """Asks both to leave; True if they did."""
        left = True
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
                left = False
        self._daemons = []
        return left

    def version(self):
        return self._tool("ovs-vswitchd", "--version").split("\n")[0]

    def vsctl(self, *arguments):
        return self._tool("ovs-vsctl", TIMEOUT, *arguments)

    def ofctl(self, *arguments):
        return self._tool("ovs-ofctl", TIMEOUT, "-O", "OpenFlow15",
                          *arguments)

    def appctl(self, *arguments):
        return self._tool("ovs-appctl", TIMEOUT, *arguments)

    def flows(self, switch, table, names=False, more=""):
        """The rules of a table, highest priority first, without counters;
        'more' narrows them down."""
        return self.ofctl("--no-stats", "--names" if names else "--no-names",
                          "--rsort=priority", "dump-flows", str(switch),
                          f"table={table}{more}").strip()

    def flows_of_all(self, switches):
        """{switch: its rules, without counters}."""
        return {switch: frozenset(self.ofctl(
            "--no-stats", "--no-names", "dump-flows", switch).splitlines())
                for switch in switches}

    def _daemon(self, program, *arguments):
        log = open(f"{self.log_dir}/{program}.out", "ab")
        daemon = subprocess.Popen(
            [program, "--pidfile", "--log-file", "-vconsole:off",
             "-vsyslog:off", *arguments],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)
        log.close()
        self._daemons.append(daemon)
        self._prefer(daemon.pid)

    @staticmethod
    def _prefer(pid):
        """Before other processes of the machine, as a distribution's start
        script does: its main thread is the forwarding plane here."""
        os.setpriority(os.PRIO_PROCESS, pid, PRIORITY)
        try:
            # Linux may weigh sessions rather than processes.
            write(f"/proc/{pid}/autogroup", str(PRIORITY))
        except OSError:
            pass

    @staticmethod
    def _tool(*command):
        done = subprocess.run(command, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit status "
                               f"{done.returncode}: {done.stderr.strip()}")
        return done.stdout
