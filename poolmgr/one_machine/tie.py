"""Runs a command whose life hangs on its parent's, and that can be found again. A program by itself:

    python -I -S tie.py SIGNAL PARENT_PID RUN_FILE COMMAND...

It does what a process has to do to itself, and then becomes the command, under the same id:

1. The kernel sends it SIGNAL when the parent dies, however that dies: PR_SET_PDEATHSIG, prctl(2). A parent is a thread;
   where others of its process live on for a moment, SIGNAL comes once for each of them that dies after it.
2. It writes into RUN_FILE who it is, so that whoever comes later can end it, and no other that got its id.

Imports nothing but the standard library, so that it costs a few hundredths of a second.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    signal_number, parent, run_file, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("cannot start: who wanted it is gone")  # before the kernel knew that it was to tell
    with open(run_file, "w", encoding="ascii") as file:
        file.write(identity(os.getpid()))
    try:
        os.execv(command[0], command)  # noqa: S606  # no shell is the point
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


def identity(pid: int) -> str:
    """The process id, its start in clock ticks since boot, and that boot: together unique for ever.

    Raises: FileNotFoundError, ProcessLookupError when there is none.
    """
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        stat = file.read()
    # The name stands in parentheses and may hold anything, even parentheses: proc(5).
    started_ticks = stat[stat.rindex(")") + 2 :].split()[19]
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return f"{pid} {started_ticks} {file.read().strip()}"


if __name__ == "__main__":
    main()
