# SPDX-License-Identifier: Apache-2.0
"""Runs a function in network, mount, PID, IPC, UTS and cgroup namespaces of
its own.

What the function starts, mounts or creates (processes, interfaces, bridges,
bpf file systems, sockets below /run) lives in those namespaces and ends with
them: after a return, an exception, Ctrl-C or kill -9 alike.  The machine's own
network, Open vSwitch and /run are neither used nor touched.  An empty cgroup
is all that a kill -9 can leave behind; the next run removes it.

    caller ── middle (makes the namespaces) ── init (PID 1) ── the function
       signals and death travel this way  ->       <- the status travels back

The kernel kills a whole PID namespace when its init dies, and init dies with
its parents, so there is no clean-up code to forget.
"""

import ctypes
import os
import re
import signal
import sys
import time
import traceback

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
NAMESPACES = (CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC
              | CLONE_NEWUTS | CLONE_NEWCGROUP)
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOKEN_VARIABLE = "SALIENT_SANDBOX"
OUR_INTERFACE = re.compile(r"(s|h|web)[0-9]|mgmt|sal[0-9]")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")


def mount(source, target, kind, flags=0, data=None):
    """mount(2); strings."""
    encode = lambda text: None if text is None else text.encode()
    _check(_libc.mount(encode(source), encode(target), encode(kind),
                       ctypes.c_ulong(flags), encode(data)),
           f"cannot mount {kind or source} on {target}")


def _die_with_parent(parent):
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # It died before we asked.
        os._exit(1)


def _exit_status(status):
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _wait_for(pid, reap=False):
    """Waits for child 'pid' and hands signals on to it.  With 'reap', buries
    orphans too, as an init must."""
    for number in FORWARDED:
        signal.signal(number, lambda n, _frame: os.kill(pid, n))
    while True:
        ended, status = os.waitpid(-1 if reap else pid, 0)
        if ended == pid:
            return _exit_status(status)


def _private_world():
    """Mounts of the new mount namespace."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    # A fresh /sys, without the machine's bpf and cgroup file systems.
    _libc.umount2(b"/sys", MNT_DETACH)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("bpf", "/sys/fs/bpf", "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
          "mode=0700")
    try:
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2",
              MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        pass  # The agents say that they do without.
    # /run, not a folder below it: whatever a daemon puts there stays here.
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")


def _own_cgroup():
    """Makes a cgroup below our own: eBPF programs that the agents attach to
    "all sockets" then see the run's sockets only.  None if that cannot be."""
    try:
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            root = next(line.split()[1] for line in mounts
                        if line.split()[2] == "cgroup2")
        with open("/proc/self/cgroup", encoding="utf-8") as groups:
            own = next(line.strip()[3:] for line in groups
                       if line.startswith("0::"))
        parent = f"{root}{own.rstrip('/')}"
        for name in os.listdir(parent):
            # A run that was killed; not one that is just beginning.
            if (name.startswith("salient-")
                    and not os.path.exists(f"/proc/{name[8:]}")):
                _remove_cgroup(f"{parent}/{name}", 0)
        path = f"{parent}/salient-{os.getpid()}"
        os.mkdir(path)
        return path
    except (OSError, StopIteration):
        return None


def _remove_cgroup(path, patience):
    """Removes an empty one; its last processes may still be on their way."""
    deadline = time.monotonic() + patience
    while True:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError:
            if time.monotonic() < deadline:
                time.sleep(0.02)
                continue
        return


def _join_cgroup(path):
    with open(f"{path}/cgroup.procs", "w", encoding="ascii") as procs:
        procs.write("0")


def _run_inside(function):
    """In PID 1: forks the function's process and buries everybody."""
    _private_world()
    init = os.getpid()
    pid = os.fork()
    if pid == 0:
        _die_with_parent(init)
        for number in FORWARDED:
            signal.signal(number, _interrupt)
        status = 1
        try:
            status = function()
        except KeyboardInterrupt:
            print("\ninterrupted; everything is being removed", flush=True)
            status = 130
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int) else 1
        except BaseException:  # A report, then the status says it.
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)
    return _wait_for(pid, reap=True)


def _interrupt(_number, _frame):
    # A terminal's Ctrl-C comes several times: from the terminal itself, and
    # from each parent that hands it on.
    for number in FORWARDED:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(function):
    """Calls function() inside; returns its exit status.  For root only."""
    if os.geteuid() != 0:
        print("This needs root: it makes namespaces and interfaces.",
              file=sys.stderr)
        return 1
    sys.stdout.flush()
    sys.stderr.flush()
    caller = os.getpid()
    os.environ[TOKEN_VARIABLE] = f"{caller}-{os.urandom(8).hex()}"
    cgroup = _own_cgroup()
    middle = os.fork()
    if middle == 0:
        status = 1
        try:
            _die_with_parent(caller)
            if cgroup:
                _join_cgroup(cgroup)
            _check(_libc.unshare(NAMESPACES), "unshare")
            init = os.fork()
            if init == 0:
                # Our parent is outside our PID namespace: getppid() says 0.
                _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                os._exit(_run_inside(function))
            status = _wait_for(init)
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    before = {number: signal.getsignal(number) for number in FORWARDED}
    try:
        return _wait_for(middle)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if cgroup:
            _remove_cgroup(cgroup, 5)


def leftovers(before):
    """What outlived a run, as sentences; 'before' is a snapshot().  Processes
    are found by the token in their environment."""
    token = f"{TOKEN_VARIABLE}={os.environ.get(TOKEN_VARIABLE)}".encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if token in environ.read().split(b"\0"):
                    found.append(f"process {pid}")
        except OSError:
            pass  # It ended, or has no environment.
    after = snapshot()
    for what, names in after.items():
        found += [f"{what} {name}" for name in sorted(names - before[what])]
    return found


def snapshot():
    """What of the machine a run could leave behind.  Only names like ours:
    other programs of the machine make interfaces and mounts all the time."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        mounted = {line.split()[1] for line in mounts}
    pins = (os.listdir("/sys/fs/bpf") if os.path.isdir("/sys/fs/bpf") else [])
    groups = [name for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
              if os.path.isdir(folder) for name in os.listdir(folder)]
    return {"cgroup": set(groups) & {f"salient-{os.getpid()}"},
            "interface": {name for name in os.listdir("/sys/class/net")
                          if OUR_INTERFACE.match(name)},
            "mount": {name for name in mounted if "salient" in name},
            "bpf pin": {name for name in pins if name.startswith("sal")}}
