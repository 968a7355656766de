"""Python's garbage collector at the start of a program.

Hardly anything that is imported becomes garbage, and all of it stays to the end; yet the collector looks at it again
and again: while it is imported, while the program runs, and once more at its end. Held meanwhile, and told afterwards
not to mind what is there, it costs `poolmgr fleet` a fifth less, and the start of a manager or an agent a quarter.
"""

import gc


def hold() -> None:
    """For the time of imports: until `release`, nothing is collected."""
    gc.disable()


def release() -> None:
    """Collects again, but never what is there now. Does nothing unless it was held."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
