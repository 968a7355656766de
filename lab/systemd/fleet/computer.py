"""One machine of the fleet: it is switched on and off, and its disk stays."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from lab.systemd import nspawn
from lab.systemd.inside import Inside
from lab.systemd.nspawn import Machine
from lab.systemd.report import FleetError

_LOOK_S: Final = 0.2


class Computer:
    """`disk`: its root folder. `network`: the path of its namespace, which has `address`."""

    def __init__(self, name: str, address: str, network: str, disk: Path, log: Path, binds: Mapping[str, str]) -> None:
        self.name = name
        self.address = address
        self.disk = disk
        self._network = network
        self._log = log
        self._binds = binds
        self._power = ExitStack()
        self._machine: Machine | None = None
        self._up: Callable[[], Machine] | None = None

    @property
    def is_on(self) -> bool:
        return self._up is not None

    @property
    def machine(self) -> Machine:
        """Raises: FleetError when it is off."""
        if self._machine is None:
            raise FleetError(f"{self.name} is off, or was not waited for")
        return self._machine

    @property
    def inside(self) -> Inside:
        return Inside(self.machine, "", "")

    def switch_on(self) -> None:
        """Begin to boot; `await_up` waits."""
        booting = nspawn.booting(self.disk, self.name, self._log, self._binds, network=self._network)
        self._up = self._power.enter_context(booting)

    def await_up(self) -> None:
        """Raises: FleetError."""
        if self._up is None:
            raise FleetError(f"{self.name} is off")
        self._machine = self._up()

    def cut_power(self) -> None:
        """All its processes are gone at once. What they wrote is on the disk, as far as the kernel had it."""
        self._machine, self._up = None, None
        self._power.close()

    def await_end(self, within_s: float) -> None:
        """Wait until a machine that was told to reboot has ended all it runs; it is off then. Raises: FleetError."""
        deadline = time.monotonic() + within_s
        leader = self.machine.leader
        while Path(f"/proc/{leader}").exists():
            if time.monotonic() > deadline:
                raise FleetError(f"{self.name} did not end within {within_s:.0f} s")
            time.sleep(_LOOK_S)
        self.cut_power()
