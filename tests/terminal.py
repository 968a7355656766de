"""A program in a terminal of its own: a pseudo terminal, and an emulator that knows what stands on it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyte

from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parent.parent


class Process(Protocol):
    """What leads the session of a terminal."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...


class Terminal:
    """The program, and what somebody before it sees. `begin`: starts it in the terminal of that file descriptor."""

    def __init__(self, begin: Callable[[int], Process], columns: int = 80, lines: int = 24) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, self._theirs = pty.openpty()  # theirs stays open, to be asked when the program has ended
        self._set_size(columns, lines)
        self.modes_before = self.modes
        self.process = begin(self._theirs)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    @property
    def modes(self) -> list[object]:
        return termios.tcgetattr(self._theirs)

    def read(self, timeout_s: float) -> None:
        if select.select([self._ours], [], [], timeout_s)[0]:
            self._stream.feed(os.read(self._ours, 1 << 16))

    def until(self, condition: Callable[[], bool]) -> None:
        """Raises: AssertionError with what stands there after PATIENCE_S."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.text
            self.read(0.05)

    def shows(self, text: str) -> None:
        """A line that is too long goes on in the next one."""
        self.until(lambda: text in self.text or text in "".join(self.screen.display))

    def prompts(self, prompt: str) -> None:
        """The shell has shown its empty prompt, and reads keys itself: what comes sooner is echoed by the terminal."""
        self.until(lambda: self.screen.display[self.screen.cursor.y].rstrip() == prompt.rstrip())

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """The kernel sends SIGWINCH."""
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        self.until(lambda: self.process.poll() is not None)
        return self.process.wait(0)

    def close(self) -> None:
        """With all that runs in it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


def by_command(command: Sequence[str], environment: Mapping[str, str]) -> Callable[[int], Process]:
    """Begins any program."""

    def begin(terminal: int) -> Process:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0),
        )

    return begin
