"""The state folder of `poolmgr up`. It belongs to one user, and is used by one process at a time.

STATE/up.lock                held by the one `up` that runs here
      token, authorization   the token of the HTTP API, and the header that shows it (token.py)
      redis.sock, redis/     the private Redis: its socket, its data
      agent/                 worker.state_dir, unless the configuration names another folder
      log/PART.log, .log.1   the output of each part
      run/PART               the process of each part (tie.py, takeover.py)
"""

import fcntl
import os
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from common.errors import ManagerError
from common.runtime import files
from poolmgr.one_machine.news import PartName

_SOCKET_PATH_BYTES: Final = 107
"""The longest path of a socket: sun_path has 108 bytes, of which the last is a zero. unix(7)."""

_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class CannotRunError(ManagerError):
    """`up` cannot run here; the message says why and what to do."""


def default_state_dir(environment: Mapping[str, str], *, is_root: bool) -> Path:
    """$XDG_STATE_HOME/poolmgr; root's is /var/lib/poolmgr. Raises: CannotRunError for a user without a home.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    if is_root:
        return Path("/var/lib/poolmgr")
    named = environment.get("XDG_STATE_HOME", "")
    if os.path.isabs(named):  # a relative path has to be ignored
        return Path(named) / "poolmgr"
    try:
        return Path.home() / ".local" / "state" / "poolmgr"
    except RuntimeError as error:
        raise CannotRunError("cannot find a home for the state: name a folder with --state-dir") from error


class StateFolder:
    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.token_file = self.path / "token"
        self.header_file = self.path / "authorization"
        self.redis_data = self.path / "redis"
        self.redis_socket = self.path / "redis.sock"
        self.agent = self.path / "agent"

    def log(self, part: PartName) -> Path:
        return self.path / "log" / f"{part}.log"

    def run_file(self, part: PartName) -> Path:
        return self.path / "run" / part

    @contextmanager
    def held(self) -> Generator[None]:
        """Make the folder if it is missing, and hold its lock while the context is open. Raises: CannotRunError."""
        try:
            self._make_ready()
            lock = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                pid = os.read(lock, 20).decode(errors="replace")
                raise CannotRunError(
                    f"cannot start: `poolmgr up` runs on {self.path} already (process {pid}). Give this one a folder of"
                    f" its own with --state-dir, or end that one: `kill {pid}` lets its calls end, and where it does"
                    f" so already, as after its terminal was closed, makes the bots leave. `kill -9 {pid}` ends it"
                    " alone: the next start goes on with its calls"
                ) from error
            try:
                os.ftruncate(lock, 0)
                os.write(lock, str(os.getpid()).encode())
            except OSError as error:
                raise self._unusable(error) from error
            yield
        finally:
            os.close(lock)

    def _unusable(self, error: OSError) -> CannotRunError:
        where = f"{error.strerror} ({error.filename})" if error.filename else error.strerror
        return CannotRunError(f"cannot keep state in {self.path}: {where}; name a folder of your own with --state-dir")

    def _make_ready(self) -> None:
        """Make the folder and check its owner and mode. Raises: OSError, CannotRunError."""
        files.make_ready(self.path)
        found = self.path.stat()
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_MAY_WRITE:
            why = "others may write there" if found.st_uid == os.geteuid() else "it belongs to another user"
            raise CannotRunError(f"cannot keep state in {self.path}: {why}; name a folder of your own with --state-dir")
        for folder in (self.redis_data, self.path / "log", self.path / "run"):
            files.make_ready(folder)

    def check_socket(self) -> None:
        """Check that the path of Redis' socket is not too long. Raises: CannotRunError."""
        length = len(os.fsencode(self.redis_socket))
        if length > _SOCKET_PATH_BYTES:
            raise CannotRunError(
                f"cannot put the socket of Redis at {self.redis_socket}: that are {length} bytes, and the path of a"
                f" socket ends at {_SOCKET_PATH_BYTES}; name a shorter folder with --state-dir"
            )
