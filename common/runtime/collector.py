"""Switches Python's garbage collector off while a program imports its modules.

Imported modules hardly ever become garbage, yet the collector looks at them again and again. So it is off during the
imports, and ignores their objects afterwards. `poolmgr fleet` then takes a fifth less time, and the start of a manager
or an agent a quarter less.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager

_is_ours = False
"""Whether this process is one of the two programs. In others, such as tests, the collector is left alone."""


def hold() -> None:
    """Switch the collector off until `release`. Called by a program's main."""
    global _is_ours
    _is_ours = True
    gc.disable()


def release() -> None:
    """Switch the collector on again. It never looks at the objects that exist now."""
    if _is_ours and not gc.isenabled():
        gc.freeze()
        gc.enable()


@contextmanager
def held() -> Generator[None]:
    """Hold and release around later imports."""
    if _is_ours:
        gc.disable()
    try:
        yield
    finally:
        release()
