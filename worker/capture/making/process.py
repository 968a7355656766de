"""The files of a recording, in a process of its own: `python -m worker.capture.making.process`, a Work on its standard
input, a Made on its standard output. What a recording holds may be damaged or hostile: whatever it does to this
process, the agent goes on, and so does the machine, for its memory has a limit.
"""

import os
import resource
import sys
from pathlib import Path
from typing import Final

import av.logging
import msgspec

from worker.capture.making import picture, sound
from worker.capture.making.work import Made, Work

_NICENESS: Final = 10


def make(work: Work) -> Made:
    heard, unheard = sound.make(work.sound, work.audio) if work.audio else (None, list[int]())
    watched, unseen = (
        picture.make(work.picture, work.audio if heard else "", work.video) if work.video else (None, list[int]())
    )
    for path, is_there in ((work.audio, heard), (work.video, watched)):
        if path and not is_there:
            Path(path).unlink(missing_ok=True)
    return Made(heard, watched, unheard, unseen)


def main() -> None:
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    limit = work.memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.nice(_NICENESS)
    os.umask(0o077)
    av.logging.set_level(None)
    sys.stdout.buffer.write(msgspec.json.encode(make(work)))


if __name__ == "__main__":
    main()
