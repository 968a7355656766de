"""systemd's end of the socket that NOTIFY_SOCKET names, for tests of what a service tells it."""

import socket
from pathlib import Path


class Notified:
    def __init__(self, address: Path | str) -> None:
        self.address = str(address)
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self.address)

    def hear(self) -> list[str]:
        """All lines so far."""
        while True:
            try:
                self.said += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.said

    def close(self) -> None:
        self._socket.close()
