"""What a cloud was asked for lately. Its answers may be behind, or lost: what they do not show yet may be done already.

Believed for as long as the core believes its own count (BELIEVE_S).
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from poolmgr.providers.asking import UnsureError
from poolmgr.providers.provider import ProviderError
from poolmgr.scaling.steps import BELIEVE_S


class Lately:
    def __init__(self) -> None:
        self._raised, self._at = 0, -BELIEVE_S
        self._ending = dict[str, float]()

    def size(self, said: int) -> int:
        """To how many VMs the group was raised, or what is `said` by it, if that is more."""
        return max(said, self._raised) if _now() - self._at < BELIEVE_S else said

    def is_ending(self, vm_id: str) -> bool:
        """Whether its end was asked for: it must neither be ended twice nor get a bot."""
        return _now() - self._ending.get(vm_id, -BELIEVE_S) < BELIEVE_S

    @contextmanager
    def raising(self, to: int) -> Generator[None]:
        """The group is asked for `to` VMs inside. It counts unless the cloud refuses."""
        before = self._raised, self._at
        self._raised, self._at = to, _now()
        try:
            yield
        except UnsureError:
            raise
        except ProviderError:
            self._raised, self._at = before
            raise

    @contextmanager
    def ending(self, vm_id: str) -> Generator[None]:
        """The end of this VM is asked for inside. It counts unless the cloud refuses."""
        self._ending = {each: at for each, at in self._ending.items() if self.is_ending(each)}
        self._ending[vm_id] = _now()
        try:
            yield
        except UnsureError:
            raise
        except ProviderError:
            del self._ending[vm_id]
            raise


def _now() -> float:
    return asyncio.get_running_loop().time()
