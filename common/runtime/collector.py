"""Python's garbage collector at the start of a program.

Hardly anything that is imported becomes garbage, and all of it stays to the end; yet the collector looks at it again
and again: while it is imported, while the program runs, and once more at its end. Held meanwhile, and told afterwards
not to mind what is there, it costs `poolmgr fleet` a fifth less, and the start of a manager or an agent a quarter.
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
