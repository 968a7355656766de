"""The interface of a provider, and its errors."""

from typing import Protocol

from common.errors import ManagerError
from poolmgr.scaling.steps import Group


class CannotScaleError(ManagerError):
    """The provider of [scaling] cannot be used; the message says what to do. Nothing repairs it by itself."""


class ProviderError(ManagerError):
    """The provider does not answer, or refuses. It is asked again later. `retry_after_s`: not before that, as the
    provider asked.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Provider(Protocol):
    """Every call raises ProviderError, ends within [scaling] timeout_s, and may be repeated."""

    async def look(self) -> Group:
        """The provider's VMs. The answer may be late: VMs that were just asked for may be missing."""
        ...

    async def grow(self, to: int) -> None:
        """Have at least `to` VMs in all. Never lowers their number."""
        ...

    async def give_back(self, vm_id: str, left: int) -> None:
        """End this VM, and have `left` VMs in all."""
        ...

    async def release(self, vm_id: str) -> None:
        """End this VM: the provider wants to end it, and waits for this."""
        ...

    async def admit(self, vm_id: str) -> None:
        """Let this new VM, for which the provider waits, into service: its agent is there."""
        ...

    async def close(self) -> None: ...
