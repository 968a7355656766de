"""Runs a command that gets a signal when its parent dies, and that can be found again. A program of its own:

    python -I -S tie.py SIGNAL PARENT_PID RUN_FILE COMMAND...

It prepares its own process, and then becomes the command under the same pid:

1. It asks the kernel to send SIGNAL when the parent dies: PR_SET_PDEATHSIG, prctl(2). The parent is a thread. If other
   threads of its process die later, SIGNAL comes again for each.
2. It writes its identity into RUN_FILE, so that a later start can end this process, and no other that got its pid.

It imports only the standard library, so that it takes a few hundredths of a second.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    signal_number, parent, run_file, *command = sys.argv[1:]
    signal.signal(int(signal_number), signal.SIG_DFL)  # behind `nohup` it is ignored, and would be so by the command
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("cannot start: who wanted it is gone")  # the parent died before prctl was called
    with open(run_file, "w", encoding="ascii") as file:
        file.write(identity(os.getpid()))
    try:
        os.execv(command[0], command)  # noqa: S606  # no shell is the point
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


def identity(pid: int) -> str:
    """The pid, the start in clock ticks since boot, and the id of that boot. Together they are unique for ever.

    Raises: FileNotFoundError, ProcessLookupError when there is no such process.
    """
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        stat = file.read()
    # The name is in parentheses and may contain any character, also parentheses: proc(5).
    started_ticks = stat[stat.rindex(")") + 2 :].split()[19]
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return f"{pid} {started_ticks} {file.read().strip()}"


if __name__ == "__main__":
    main()
