"""redis-server as the stages and the tests start it."""

import secrets
import subprocess
import time
from pathlib import Path
from typing import Final, Literal

from redis import Redis
from redis.exceptions import ConnectionError

from lab.parts import StageError

START_DEADLINE_S: Final = 30.0

Keeps = Literal["nothing", "everysec", "always"]
"""What the append-only file has after the machine fails: there is none, all but the last second, everything that was
answered.
"""


def redis_command(folder: Path, keeps: Keeps, *where: str | Path) -> tuple[str, ...]:
    """`where`: the options for its address."""
    durable = ("--appendonly", "no") if keeps == "nothing" else ("--appendonly", "yes", "--appendfsync", keeps)
    # If the server set its own title, its arguments and environment could no longer be read.
    return ("redis-server", *map(str, where), "--dir", str(folder), "--save", "", *durable, "--set-proc-title", "no")


def on_port(port: int) -> tuple[str, ...]:
    return ("--port", str(port), "--bind", "127.0.0.1")


class RedisServer:
    """A redis-server on a Unix socket, with all its files in one folder. Its data survives `stop`, as it survives a
    machine's failure.
    """

    def __init__(self, folder: Path, keeps: Keeps = "nothing") -> None:
        # A socket's path is limited to 108 bytes (unix(7)), and folders may have long names.
        self._socket = Path("/tmp") / f"poolmgr-redis-{secrets.token_hex(8)}.sock"
        self._command = redis_command(folder, keeps, "--port", "0", "--unixsocket", self._socket)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        """Start it, and wait until it answers. Raises: StageError."""
        try:
            # A session of its own: Ctrl-C goes to the program that started it, which then ends it.
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, start_new_session=True
            )
        except FileNotFoundError as error:
            raise StageError("cannot start redis: redis-server is not installed; ./dev setup does it") from error
        deadline = time.monotonic() + START_DEADLINE_S
        with Redis(unix_socket_path=str(self._socket)) as client:
            while True:
                try:
                    client.ping()  # pyright: ignore[reportUnknownMemberType]
                    return
                except ConnectionError as error:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        self.stop()
                        raise StageError("cannot start redis: redis-server does not answer") from error
                    time.sleep(0.01)

    def stop(self) -> None:
        """Kill it, as a failing machine would."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._socket.unlink(missing_ok=True)
