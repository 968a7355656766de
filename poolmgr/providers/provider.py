"""What a provider has to be able to do, and how it fails."""

from typing import Protocol

from common.errors import ManagerError
from poolmgr.scaling.steps import Group


class CannotScaleError(ManagerError):
    """The provider of [scaling] cannot be used; the message says what to do. Nothing repairs it by itself."""


class ProviderError(ManagerError):
    """The provider does not answer, or refuses. It is asked again later; `retry_after_s`: not before, by its word."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Provider(Protocol):
    """Every call raises ProviderError, ends within [scaling] timeout_s, and may be repeated."""

    async def look(self) -> Group:
        """What it has. It may be late: what was just asked for need not be in it yet."""
        ...

    async def grow(self, to: int) -> None:
        """Have at least `to` VMs in all. Never lowers their number."""
        ...

    async def give_back(self, vm_id: str, left: int) -> None:
        """End this VM, and have `left` VMs in all."""
        ...

    async def release(self, vm_id: str) -> None:
        """Take this VM, which the provider wants to take and waits for."""
        ...

    async def close(self) -> None: ...
