# SPDX-License-Identifier: Apache-2.0
"""redis_session.py ADDRESS PORT: increments a counter over one connection until
SIGTERM; each answer must be the one before plus 1.  Prints JSON lines."""

import json
import signal
import socket
import sys
import time

THRESHOLD = 0.02  # Longer pauses are printed.


class Session:
    def __init__(self, address, port):
        self._socket = socket.create_connection((address, port), timeout=300)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def command(self, *words):
        """The number that redis answers."""
        parts = [str(word).encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(
            b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        while b"\r\n" not in self._buffer:
            data = self._socket.recv(4096)
            if not data:
                raise ConnectionError("closed by redis")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        if not line.startswith(b":"):
            raise ValueError(line.decode(errors="replace"))
        return int(line[1:])


def say(**line):
    print(json.dumps(line), flush=True)


def main(address, port):
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    total, error, longest = 0, "", 0.0
    told = last = time.monotonic()
    try:
        session = Session(address, port)
        session.command("DEL", "counter")
        last = time.monotonic()
        while not stopping:
            value = session.command("INCR", "counter")
            now = time.monotonic()
            total += 1
            if value != total:
                error = f"increment {total} was answered {value}"
                break
            if now - last >= THRESHOLD:
                say(gap_from=last, gap_ms=(now - last) * 1e3)
            longest = max(longest, now - last)
            if now - told >= 0.1:
                told = now
                say(count=total)
            # The time between commands is ours.
            time.sleep(0.001)
            last = time.monotonic()
    except (OSError, ValueError) as problem:
        error = str(problem)
    say(total=total, error=error, longest_ms=longest * 1e3)
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
