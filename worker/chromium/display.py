"""A virtual display for one browser: an Xvfb in the process group of its Chromium.

So the display counts as part of the worker: it outlives the agent and ends with the browser. The group's leader is a
shell. It starts Xvfb, waits for the display's number, and then becomes Chromium.
"""

import secrets
import shutil
import struct
from pathlib import Path
from typing import Final

INSTALL: Final = "install it (Debian, Ubuntu: `apt install xvfb`), or set worker.headless or worker.display otherwise"

# Runs in the worker's folder. Xvfb writes its number into the pipe once it takes connections; if it ends, the pipe is
# closed without a number.
_START: Final = """mkfifo display
"$1" -displayfd 3 -screen 0 "$2" -nolisten tcp -auth "$3" 3>display >&2 &
read -r number <display && rm display && shift 3 || { echo "cannot start Xvfb" >&2; exit 1; }
DISPLAY=":$number" exec "$@"
"""
_COOKIE: Final = b"MIT-MAGIC-COOKIE-1"
_FAMILY_WILD: Final = 65535  # an entry for any host and display: Xauth(3), <X11/Xauth.h>


def find_xvfb() -> str:
    """The path of Xvfb. Raises: FileNotFoundError, which says what to do."""
    if program := shutil.which("Xvfb"):
        return program
    raise FileNotFoundError(f'cannot find Xvfb, which worker.display = "virtual" needs: {INSTALL}')


def authority(folder: Path) -> Path:
    """The file whose path is an argument of this worker's Xvfb and of no other process."""
    return folder / "xauthority"


def command(folder: Path, size: str, then: list[str]) -> list[str]:
    """The command that starts a display of `size` (WIDTHxHEIGHT) and then becomes the command `then`. Only processes
    that can read the `authority` file can connect to the display.

    Raises: OSError.
    """
    xvfb = find_xvfb()
    cookie = secrets.token_bytes(16)
    parts = (b"", b"", _COOKIE, cookie)
    entry = struct.pack(">H", _FAMILY_WILD) + b"".join(struct.pack(">H", len(part)) + part for part in parts)
    file = authority(folder)
    file.touch(mode=0o600)
    file.write_bytes(entry)
    return ["/bin/sh", "-c", _START, "sh", xvfb, f"{size}x24", str(file), *then]
