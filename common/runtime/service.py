"""Tells systemd that this process is ready, what it is doing, and that it lives.

The protocol is sd_notify(3): one datagram of VARIABLE=value lines to the socket named by NOTIFY_SOCKET. A process that
systemd did not start as Type=notify has no such socket, and then nothing is sent.
"""

import asyncio
import faulthandler
import os
import socket
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from common.runtime.loop.turns import Turns

_LOOK_S: Final = 1.0
_UNSAID: Final = 20
_log = structlog.stdlib.get_logger()


class Service:
    """`address`: of systemd's socket; empty: there is none. `watchdog_s`: how often systemd expects a sign of life; 0:
    it expects none.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self.watchdog_s = watchdog_s
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._unsaid: deque[str] = deque(maxlen=_UNSAID)
        self._said_fault = False

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] = os.environ) -> "Service":
        """The service by systemd's variables. They are removed, so that browsers and drivers do not use them."""
        address = environment.pop("NOTIFY_SOCKET", "")
        interval_us = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        asks = address and meant and interval_us.isdecimal()
        return cls(address, int(interval_us) / 1e6 if asks else 0.0)

    @property
    def is_asked(self) -> bool:
        return bool(self._address)

    def ready(self) -> None:
        """Tell that the start, or the reload, is done."""
        self._tell("READY=1")

    def reloading(self) -> None:
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """Send the line that `systemctl status` shows."""
        self._tell(f"STATUS={' '.join(text.split())}")

    def alive(self) -> None:
        """Send a sign of life. Messages that systemd did not take before are sent again."""
        self._tell("WATCHDOG=1", keep=False)

    def _tell(self, *lines: str, keep: bool = True) -> None:
        """Send a message. Never waits and never fails. `keep`: if systemd does not take the message now, it is sent
        later, in order.
        """
        if not self._address:
            return
        message = "\n".join(lines)
        if keep:
            self._unsaid.append(message)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
                while self._unsaid:
                    out.sendto(self._unsaid[0].encode(errors="replace"), self._address)
                    self._unsaid.popleft()
                if not keep:
                    out.sendto(message.encode(), self._address)
        except BlockingIOError:
            pass  # systemd has not read the earlier messages
        except OSError as error:
            if not self._said_fault:
                _log.warning("systemd_not_told", error=str(error), what=lines[0])
            self._said_fault = True
        else:
            self._said_fault = False


@asynccontextmanager
async def telling(
    service: Service, status: Callable[[], str], turns: Turns, look_s: float = _LOOK_S
) -> AsyncGenerator[None]:
    """While the context is open, send `status` whenever it changes, and signs of life while all loops turn.

    When the watchdog ends the process (SIGABRT), the stacks of all threads are printed to standard error.
    """
    teller = _Teller(service, status, turns, look_s)
    if service.watchdog_s and not faulthandler.is_enabled():
        faulthandler.enable()
    teller.look()
    try:
        yield
    finally:
        teller.end()


class _Teller:
    def __init__(self, service: Service, status: Callable[[], str], turns: Turns, look_s: float) -> None:
        self._service = service
        self._status = status
        self._turns = turns
        # Half of systemd's interval, as sd_watchdog_enabled(3) recommends.
        self._look_s = min(look_s, service.watchdog_s / 2) if service.watchdog_s else look_s
        self._last_status = ""
        self._late: list[str] = []
        self._next: asyncio.TimerHandle | None = None

    def look(self) -> None:
        self._next = asyncio.get_running_loop().call_later(self._look_s, self.look)
        late = self._turns.late()
        if late != self._late and late:
            _log.error("loops_stand_still", loops=late, detail="systemd's watchdog, where there is one, is not fed")
        elif late != self._late:
            _log.info("loops_turn_again", loops=self._late)
        self._late = late
        if not self._service.is_asked:
            return
        if not late and self._service.watchdog_s:
            self._service.alive()
        status = f"{', '.join(late)} stand still" if late else self._status()
        if status != self._last_status:
            self._service.status(status)
            self._last_status = status

    def end(self) -> None:
        if self._next:
            self._next.cancel()
