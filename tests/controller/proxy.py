# SPDX-License-Identifier: Apache-2.0
"""Between a switch and the controller: hands OpenFlow messages on, and does
what a test wants with those of the controller."""

import socket
import struct
import threading


class Answer(bytes):
    """What the controller is told instead of the switch being asked."""


class Proxy:
    """Listens on 'port'; 'filter(kind, message)' sees each message of the
    controller and returns what the switch gets, or None: cut the connection.
    Answer(message): the controller gets this, the switch nothing.  One
    connection after the other."""

    def __init__(self, port, controller, message_filter):
        self.filter, self.controller = message_filter, controller
        self.listener = socket.create_server(("127.0.0.1", port))
        self.cuts = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self):
        # Wakes accept(), which close() alone does not.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self):
        while True:
            try:
                switch, _ = self.listener.accept()
            except OSError:
                return
            controller = socket.create_connection(
                ("127.0.0.1", self.controller))
            threads = [threading.Thread(target=function, daemon=True,
                                        args=(switch, controller))
                       for function in (self._from_switch,
                                        self._from_controller)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    @staticmethod
    def _end(*sockets):
        for sock in sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _from_switch(self, switch, controller):
        try:
            while data := switch.recv(65536):
                controller.sendall(data)
        except OSError:
            pass
        self._end(switch, controller)

    def _from_controller(self, switch, controller):
        waiting = b""
        try:
            while data := controller.recv(65536):
                waiting += data
                while len(waiting) >= 8:
                    kind, length = struct.unpack(">xBH", waiting[:4])
                    if len(waiting) < length:
                        break
                    message = self.filter(kind, waiting[:length])
                    if message is None:
                        self.cuts += 1
                        raise OSError("cut")
                    if isinstance(message, Answer):
                        controller.sendall(message)
                    else:
                        switch.sendall(message)
                    waiting = waiting[length:]
        except OSError:
            pass
        self._end(switch, controller)
