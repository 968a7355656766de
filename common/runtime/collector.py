"""Python's garbage collector at the start of a program.

Hardly any import becomes garbage, yet the collector looks at all of it again and again: during the imports, while the
program runs, and at its end. Here it is off during the imports, and ignores them afterwards. That costs `poolmgr fleet`
a fifth less, and the start of a manager or an agent a quarter less.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager

_is_ours = False
"""Whether this process is one of our programs. Where it is not (in a test, say), the collector is somebody else's."""


def hold() -> None:
    """Said by a program's main: until `release`, nothing is collected."""
    global _is_ours
    _is_ours = True
    gc.disable()


def release() -> None:
    """Collects again, but never what is there now."""
    if _is_ours and not gc.isenabled():
        gc.freeze()
        gc.enable()


@contextmanager
def held() -> Generator[None]:
    """The same for what is imported within, later."""
    if _is_ours:
        gc.disable()
    try:
        yield
    finally:
        release()
