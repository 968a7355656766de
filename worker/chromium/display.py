"""A virtual display for one browser: an Xvfb in the process group of its Chromium. Where the display is recorded, also
a sound server of its own, and a starter for what records both.

So they count as part of the worker: they outlive the agent and end with the browser. The group's leader is a shell. It
starts the others, waits until they take connections, and then becomes Chromium. The starter is a shell as well, because
only a process of the group can start another one in it, and the agent is none:

    STATE_DIR/workers/WORKER_ID/xauthority    the key to the display
                               /sound.pa      what the sound server is to do
                               /pulse         its socket, for this user only
                               /orders        a pipe: the starter runs each file whose path comes out of it
"""

import os
import secrets
import shutil
import struct
from pathlib import Path
from typing import Final

INSTALL: Final = "install it (Debian, Ubuntu: `apt install xvfb`), or set worker.headless or worker.display otherwise"
RECORDING_PROGRAMS: Final = {"Xvfb": "xvfb", "pulseaudio": "pulseaudio", "ffmpeg": "ffmpeg"}
"""What recording a display needs: programs, and Debian's packages."""
MONITOR: Final = "meeting.monitor"
"""The sound server's source: what the browser plays."""

# Runs in the worker's folder. Xvfb writes its number into the pipe once it takes connections; if it ends, the pipe is
# closed without a number.
_START: Final = """mkfifo display
"$1" -displayfd 3 -screen 0 "$2" -nolisten tcp -auth "$3" 3>display >&2 &
read -r number <display && rm display && shift 3 || { echo "cannot start Xvfb" >&2; exit 1; }
DISPLAY=":$number" exec "$@"
"""
# Chromium connects to the sound server once, so it has to be there first, and the browser ends with it ($$ is the
# browser): whatever plays would be silent for ever. The starter reads from a pipe that it also holds open for writing,
# so it never comes to an end of it.
_START_RECORDED: Final = (
    """mkfifo orders
{
  "$4" -n --daemonize=no --exit-idle-time=-1 --use-pid-file=no --disallow-exit --realtime=no --high-priority=no \\
    --log-level=error -F "$5"
  echo "the sound server ended"
  kill -KILL $$
} >&2 &
"""
    + _START.replace("shift 3", "shift 5").partition("DISPLAY=")[0]
    + """until [ -S pulse ]; do sleep 0.02; done
export DISPLAY=":$number"
while read -r order; do /bin/sh "$order" "$XAUTHORITY" & done <>orders >/dev/null &
exec "$@"
"""
)
_SOUND: Final = """load-module module-native-protocol-unix socket={socket}
load-module module-null-sink sink_name=meeting rate=48000 channels=2 format=float32le
"""
_SOCKET_PATH_BYTES: Final = 107  # unix(7): sun_path, without the zero at its end
_COOKIE: Final = b"MIT-MAGIC-COOKIE-1"
_FAMILY_WILD: Final = 65535  # an entry for any host and display: Xauth(3), <X11/Xauth.h>


def find_xvfb() -> str:
    """The path of Xvfb. Raises: FileNotFoundError, which says what to do."""
    if program := shutil.which("Xvfb"):
        return program
    raise FileNotFoundError(f'cannot find Xvfb, which worker.display = "virtual" needs: {INSTALL}')


def find_recording_programs() -> dict[str, str]:
    """The paths of RECORDING_PROGRAMS. Raises: FileNotFoundError, which says what to do."""
    found = {program: shutil.which(program) for program in RECORDING_PROGRAMS}
    if missing := [program for program, path in found.items() if path is None]:
        packages = " ".join(RECORDING_PROGRAMS[program] for program in missing)
        raise FileNotFoundError(
            f'cannot find {" and ".join(missing)}, which capture.video = "display" needs: install it (Debian, Ubuntu:'
            f' `apt install {packages}`), or set capture.video = "tab"'
        )
    return {program: path for program, path in found.items() if path}


def authority(folder: Path) -> Path:
    """The file whose path is an argument of this worker's Xvfb and shells, and of no other process."""
    return folder / "xauthority"


def sound_script(folder: Path) -> Path:
    """The file whose path is an argument of this worker's sound server, and of no other process."""
    return folder / "sound.pa"


def sound_socket(folder: Path) -> str:
    """The socket of this worker's sound server. Raises: OSError where it cannot have that path."""
    socket = str(folder / "pulse")
    if len(os.fsencode(socket)) > _SOCKET_PATH_BYTES or " " in socket:
        raise OSError(f"a socket cannot have the path {socket}: give worker.state_dir a shorter one without blanks")
    return socket


def is_recordable(folder: Path) -> bool:
    """Whether this worker's display can be recorded."""
    return (folder / "orders").exists()


def environment(folder: Path, *, records: bool) -> dict[str, str]:
    """What a browser on this display has in its environment, and all beside it."""
    display = {"XAUTHORITY": str(authority(folder))}
    if not records:
        return display
    return display | {"PULSE_SERVER": f"unix:{folder / 'pulse'}", "PULSE_RUNTIME_PATH": str(folder / "home")}


def command(folder: Path, size: str, then: list[str], *, records: bool = False) -> list[str]:
    """The command that starts a display of `size` (WIDTHxHEIGHT) and then becomes the command `then`. Only processes
    that can read the `authority` file can connect to the display, and only this user's to the sound server.

    Raises: OSError.
    """
    programs = find_recording_programs() if records else {"Xvfb": find_xvfb()}
    cookie = secrets.token_bytes(16)
    parts = (b"", b"", _COOKIE, cookie)
    entry = struct.pack(">H", _FAMILY_WILD) + b"".join(struct.pack(">H", len(part)) + part for part in parts)
    file = authority(folder)
    file.touch(mode=0o600)
    file.write_bytes(entry)
    display = [programs["Xvfb"], f"{size}x24", str(file)]
    if not records:
        return ["/bin/sh", "-c", _START, "sh", *display, *then]
    socket = sound_socket(folder)
    script = sound_script(folder)
    script.write_text(_SOUND.format(socket=socket))
    return ["/bin/sh", "-c", _START_RECORDED, "sh", *display, programs["pulseaudio"], str(script), *then]


def order(folder: Path, script: Path) -> None:
    """Have the shell script run in the process group of this worker's browser, in its folder and on its display.

    Raises: OSError, also when nobody is there to start it.
    """
    pipe = os.open(folder / "orders", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(pipe, f"{script}\n".encode())  # so short a line is written at once or not at all: pipe(7)
    finally:
        os.close(pipe)
