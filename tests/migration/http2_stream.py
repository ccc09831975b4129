# SPDX-License-Identifier: Apache-2.0
"""http2_stream.py ADDRESS PORT FILE [OPTION...]: nghttp, with the options,
fetches /stream, which the server reads from FILE, over one HTTP/2 connection;
it is read here at a steady pace and compared with FILE until SIGTERM or its
end.  Prints JSON lines."""

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time

THRESHOLD = 0.02
RATE = 4 << 20  # Bytes a second.


def say(**line):
    print(json.dumps(line), flush=True)


def main(address, port, path, options):
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    nghttp = subprocess.Popen(
        ["nghttp", "--no-dep", "--timeout=120", *options,
         f"http://{address}:{port}/stream"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    pipe = nghttp.stdout.fileno()
    digest, expected = hashlib.sha256(), hashlib.sha256()
    original = open(path, "rb")
    size = os.path.getsize(path)
    received, longest, error = 0, 0.0, ""
    start = told = time.monotonic()
    while received < size and not stopping:
        waits = time.monotonic()
        if not select.select([pipe], [], [], 0.5)[0]:
            # Still the same gap; SIGTERM is looked at now and then.
            while not stopping and not select.select([pipe], [], [], 0.5)[0]:
                pass
        data = os.read(pipe, 1 << 16)
        if not data:
            error = "the stream ended early: " + nghttp.stderr.read().decode(
                errors="replace").strip()
            break
        now = time.monotonic()
        if now - waits >= THRESHOLD:
            say(gap_from=waits, gap_ms=(now - waits) * 1e3)
        longest = max(longest, now - waits)
        received += len(data)
        digest.update(data)
        expected.update(original.read(len(data)))
        if now - told >= 0.1:
            told = now
            say(mib=received / (1 << 20))
        ahead = start + received / RATE - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    if digest.digest() != expected.digest():
        error = "the data are wrong"
    nghttp.kill()
    nghttp.wait()
    say(received_mib=received >> 20, error=error, longest_ms=longest * 1e3,
        sha256=digest.hexdigest(), expected=expected.hexdigest())
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
