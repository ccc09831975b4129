# SPDX-License-Identifier: Apache-2.0
"""Asks every host's network questions without a process for each: ordinary
sockets made in the hosts' network namespaces, all used from here.

A round ends when everything that must answer has answered, and no earlier
than QUIET seconds after its start when something must not."""

import ctypes
import os
import selectors
import socket
import struct
import threading
import time

from topologies.host import DNS_ADDRESS

CLONE_NEWNET = 0x40000000
QUIET = 0.3
AGAIN = 0.25        # Seconds after which an echo request is repeated.
PATIENCE = 10.0     # For what must answer: a SYN is repeated after 1, 3, 7 s.
SERVICE_PORT = 80   # Of every service here.
ECHO_ID = 0x5341
SOL_RAW, ICMP_FILTER = 255, 1
DNS_PORT, DNS_A = 53, 1
ECHO_REQUEST_V6, ECHO_REPLY_V6 = 128, 129

_libc = ctypes.CDLL(None, use_errno=True)


def _enter(namespace):
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"setns: {os.strerror(errno)}")


def socket_of(host, kind, protocol=0, family=socket.AF_INET):
    """A non-blocking socket (IPv4) in the host's network namespace; it stays
    there, our thread does not."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    theirs = os.open(f"/proc/{host.pid}/ns/net", os.O_RDONLY)
    try:
        _enter(theirs)
        try:
            made = socket.socket(family, kind, protocol)
        finally:
            _enter(own)
    finally:
        os.close(own)
        os.close(theirs)
    made.setblocking(False)
    return made


class Servers:
    """A TCP server on each host that says the host's name and hangs up."""

    def __init__(self, hosts, port):
        self._selector = selectors.DefaultSelector()
        for host in hosts:
            listener = socket_of(host, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("0.0.0.0", port))
            listener.listen(512)
            self._selector.register(listener, selectors.EVENT_READ,
                                    f"{host.name}\n".encode())
        self._stop, stopped = socket.socketpair()
        self._selector.register(stopped, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def _run(self):
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                try:
                    connection, _ = key.fileobj.accept()
                    connection.setblocking(False)
                    connection.send(key.data)
                    connection.shutdown(socket.SHUT_WR)
                    connection.close()
                except OSError:
                    pass  # The client gave up; it says so itself.


class Pings:
    """ICMP echo among hosts, over IPv4 or IPv6."""

    def __init__(self, hosts, ipv6=False):
        self._v6 = ipv6
        self._hosts = {self._address(host): host for host in hosts}
        self._by_name = {host.name: host for host in hosts}
        self._round = 0
        self._selector = selectors.DefaultSelector()
        self._sockets = {}
        for host in hosts:
            if ipv6:
                raw = socket_of(host, socket.SOCK_RAW, socket.IPPROTO_ICMPV6,
                                socket.AF_INET6)
            else:
                raw = socket_of(host, socket.SOCK_RAW, socket.IPPROTO_ICMP)
                raw.setsockopt(SOL_RAW, ICMP_FILTER,
                               struct.pack("=I", 0xffffffff & ~1))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self._sockets[host.name] = raw
            self._selector.register(raw, selectors.EVENT_READ, host.name)

    def _address(self, host):
        return host.ipv6 if self._v6 else host.IP()

    def close(self):
        self._selector.close()
        for raw in self._sockets.values():
            raw.close()

    def ask(self, expected):
        """Everybody pings everybody; {(from, to)} that were answered, though
        not waiting for pairs that are not 'expected'."""
        self._round = (self._round + 1) & 0xffff
        pairs = [(one, other) for one in self._by_name
                 for other in self._by_name if one != other]
        silent = len(expected) < len(pairs)
        start = time.monotonic()
        answered, sent, send_at = set(), 0, start
        while True:
            now = time.monotonic()
            done = expected <= answered
            if now - start >= (QUIET if done and silent else
                               0 if done else PATIENCE) and sent:
                return answered
            if now >= send_at:
                for pair in pairs:
                    if pair not in answered:
                        self._send(*pair)
                sent, send_at = sent + 1, now + AGAIN
            for key, _ in self._selector.select(0.05):
                answered |= self._receive(key.fileobj, key.data)

    def _send(self, one, other):
        header = struct.pack(">BBHHH", ECHO_REQUEST_V6 if self._v6 else 8, 0,
                             0, ECHO_ID, self._round)
        total = sum(struct.unpack(">4H", header))
        checksum = 0xffff & ~((total & 0xffff) + (total >> 16))
        try:
            self._sockets[one].sendto(
                header[:2] + struct.pack(">H", checksum) + header[4:],
                (self._address(self._by_name[other]), 0))
        except OSError:
            pass  # No carrier, or the neighbour's queue is full.

    def _receive(self, raw, name):
        heard = set()
        while True:
            try:
                packet, sender = raw.recvfrom(2048)
            except OSError:
                return heard
            address = sender[0]
            # IPv6 sockets have no header before, and count checksums in.
            reply = packet[0 if self._v6 else (packet[0] & 0xf) * 4:][:8]
            if (len(reply) == 8
                    and reply[0] == (ECHO_REPLY_V6 if self._v6 else 0)
                    and struct.unpack(">HH", reply[4:]) == (ECHO_ID,
                                                            self._round)
                    and address in self._hosts):
                heard.add((name, self._hosts[address].name))


def resolve(host, name, timeout=5.0):
    """What the host's agent answers for 'name': an IPv4 address, or None."""
    question = b"".join(bytes([len(label)]) + label.encode()
                        for label in name.split(".")) + b"\0"
    request = (struct.pack(">HHHHHH", ECHO_ID, 0x0100, 1, 0, 0, 0) + question
               + struct.pack(">HH", DNS_A, 1))
    with socket_of(host, socket.SOCK_DGRAM) as asking:
        asking.settimeout(timeout)
        try:
            asking.connect((DNS_ADDRESS, DNS_PORT))
            asking.send(request)
            answer = asking.recv(4096)
        except OSError:
            return None
    code, _, records = struct.unpack(">HHH", answer[2:8])
    # The question comes back as it was sent; then the record: a pointer to
    # the name, type, class, lifetime, length.
    record = answer[len(request):]
    if code & 0xf or not records or len(record) < 16:
        return None
    kind, = struct.unpack(">H", record[2:4])
    return socket.inet_ntoa(record[12:16]) if kind == DNS_A else None


class Call:
    """One TCP connection of 'host' to 'address', and what came of it."""

    def __init__(self, host, address, expected):
        self.host, self.expected = host, expected
        self.answer, self.error, self.done = "", "", False
        self._connected = False
        self.socket = socket_of(host, socket.SOCK_STREAM)
        try:
            self.socket.connect((address, SERVICE_PORT))
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(os.strerror(error.errno))

    def _end(self, error=""):
        self.done, self.error = True, error

    def ready(self):
        if not self._connected:
            error = self.socket.getsockopt(socket.SOL_SOCKET,
                                           socket.SO_ERROR)
            if error:
                return self._end(os.strerror(error))
            self._connected = True
        try:
            data = self.socket.recv(256)
        except BlockingIOError:
            return None
        except OSError as error:
            return self._end(os.strerror(error.errno))
        self.answer += data.decode(errors="replace")
        return None if data else self._end()

    @property
    def right(self):
        """As expected: one of those named answered, or nobody."""
        return (self.answer.strip() in self.expected if self.expected
                else not self.answer)


def call_all(questions):
    """'questions' are (host, address, names that may answer); the calls, all
    made at once."""
    selector = selectors.DefaultSelector()
    calls = [Call(*question) for question in questions]
    start = time.monotonic()
    for call in calls:
        if not call.done:
            selector.register(call.socket, selectors.EVENT_READ
                              | selectors.EVENT_WRITE, call)
    while True:
        waiting = [call for call in calls if call.expected and not call.done]
        silent = [call for call in calls if not call.expected
                  and not call.done]
        spent = time.monotonic() - start
        if spent >= (PATIENCE if waiting else QUIET if silent else 0):
            break
        for key, _ in selector.select(0.05):
            call = key.data
            call.ready()
            if call.done:
                selector.unregister(call.socket)
            elif call._connected:
                selector.modify(call.socket, selectors.EVENT_READ, call)
    selector.close()
    for call in calls:
        if not call.done:
            call.error = "no answer"
        call.socket.close()
    return calls
