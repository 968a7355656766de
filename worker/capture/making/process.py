"""Makes the files of a recording, as a process: `python -m worker.capture.making.process`. It reads a Work on its
standard input, and writes a WorkResult on its standard output.

A recording may be damaged or hostile. In a process with limited memory it can harm neither the agent nor the machine.
"""

import os
import resource
import sys
from pathlib import Path
from typing import Final

import av.error
import av.logging
import msgspec

from worker.capture.making import picture, sound, tracks
from worker.capture.making.work import Work, WorkResult

_NICENESS: Final = 10


def make(work: Work) -> WorkResult:
    audio, unread_audio = sound.make(work.sound, work.audio) if work.audio else (None, list[int]())
    video, unread_video = (
        picture.make(work.picture, work.audio if audio else "", work.video) if work.video else (None, list[int]())
    )
    for path, report in ((work.audio, audio), (work.video, video)):
        if path and not report:
            Path(path).unlink(missing_ok=True)
    try:
        of_tracks, unread_tracks = tracks.make(work.packets, work.began_at, Path(work.folder))
    except av.error.FFmpegError:  # the recording of the whole is there without them
        of_tracks, unread_tracks = [], list(range(len(work.packets)))
    return WorkResult(audio, video, unread_audio, unread_video, of_tracks, unread_tracks)


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
