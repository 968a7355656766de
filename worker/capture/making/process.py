"""Makes the files of a recording, as a process: `python -m worker.capture.making.process`. It reads a Work on its
standard input, and writes a WorkResult on its standard output. Where the disk is full it exits with EX_CANTCREAT.

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

from common.wire.manifest import THUMBNAILS, WAVEFORM
from worker.capture.making import picture, sound, tracks
from worker.capture.making.mending import Mender
from worker.capture.making.sound import Silence
from worker.capture.making.stills import Screenshots, Stills, Strip
from worker.capture.making.tracks import Made
from worker.capture.making.waveform import Waveform
from worker.capture.making.work import NO_ROOM, Work, WorkResult

_NICENESS: Final = 10


def make(work: Work) -> WorkResult:
    folder, waveform = Path(work.folder), Waveform()
    try:
        of_tracks = tracks.make(work.packets, work.began_at, folder, work.turns)
    except av.error.FFmpegError as error:  # the recording of the whole is there without them
        if error.errno in NO_ROOM:
            raise
        of_tracks = Made([], list(range(len(work.packets))), [])
    audio, unread_audio = None, list[int]()
    if work.audio:
        patches = Mender(of_tracks.heard) if of_tracks.heard else Silence()
        audio, unread_audio = sound.make(work.sound, work.audio, waveform.put, patches)
    seen: list[tuple[Strip, Screenshots]] = []

    def seen_by(duration_s: float) -> list[Stills]:
        seen.append((Strip(duration_s), Screenshots(duration_s, folder)))
        return [each.stills for each in seen[0]]

    with_sound = work.audio if audio else ""
    video, unread_video = (
        picture.make(work.picture, with_sound, work.video, seen_by) if work.video else (None, list[int]())
    )
    for path, report in ((work.audio, audio), (work.video, video)):
        if path and not report:
            Path(path).unlink(missing_ok=True)
    peaks = waveform.save(folder / WAVEFORM)
    thumbnails = seen[0][0].save(folder / THUMBNAILS) if seen else None
    screenshots = seen[0][1].taken if seen else []
    unread = unread_audio, unread_video, of_tracks.reports, of_tracks.unread
    return WorkResult(audio, video, *unread, peaks, thumbnails, screenshots)


def main() -> None:
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    limit = work.memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.nice(_NICENESS)
    os.umask(0o077)
    av.logging.set_level(None)
    try:
        made = make(work)
    except OSError as error:
        if error.errno in NO_ROOM:
            sys.exit(os.EX_CANTCREAT)
        raise
    sys.stdout.buffer.write(msgspec.json.encode(made))


if __name__ == "__main__":
    main()
