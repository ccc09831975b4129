# SPDX-License-Identifier: Apache-2.0
"""A cable that takes its time: frames from one device leave by the other after
a delay, both ways.  (The kernel here may have no netem.)"""

import heapq
import select
import socket
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4


def main(first, second, delay_ms):
    sockets = []
    for name in (first, second):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                             socket.htons(ETH_P_ALL))
        sock.bind((name, 0))
        sockets.append(sock)
    waiting, number = [], 0
    while True:
        timeout = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select(sockets, [], [], timeout)
        for sock in ready:
            frame, address = sock.recvfrom(65536)
            if address[2] != PACKET_OUTGOING:
                number += 1
                heapq.heappush(waiting, (
                    time.monotonic() + delay_ms / 1000, number, frame,
                    sockets[1 - sockets.index(sock)]))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, frame, out = heapq.heappop(waiting)
            out.send(frame)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
