"""Makes the files of a recording that is over. It fetches the segments from the store, starts a process that makes one
file of each kind (process.py), and puts the files into the store.
"""

import asyncio
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from common.config.settings import CaptureSettings
from common.errors import AgentError
from common.runtime import children
from common.runtime.recordings.store import AbsentError, Store, StoreError
from common.wire import manifest
from common.wire.manifest import (
    AUDIO,
    VIDEO,
    Audio,
    Gap,
    Kind,
    Manifest,
    Screenshot,
    Segment,
    SoundTrack,
    Thumbnails,
    Video,
    Waveform,
)
from common.wire.minutes import Turn
from worker.capture.making.work import AudioReport, Stream, TrackReport, VideoReport, Work, WorkResult
from worker.capture.spool import Spool

DEADLINE_S: Final = 900.0
"""For the process; half the length of the recording is added."""


class FilesNotMadeError(AgentError):
    """The process that makes the files of a recording failed."""


class Maker:
    def __init__(self, settings: CaptureSettings, store: Store) -> None:
        self._memory_mb = settings.finish_memory_mb
        self._store = store

    async def make(self, spool: Spool, turns: list[Turn]) -> Manifest:
        """Make the files and put them into the store, if anything was recorded. `turns`: whom the meeting's page marked
        as speaking when. Returns the final manifest.

        Raises: FilesNotMadeError, StoreError, OSError.
        """
        workshop = spool.folder / "workshop"
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir(mode=0o700)
        progress, folder_in_store = spool.progress, store_folder(spool)
        sound, damaged = await self._streams(spool, "audio", workshop)
        picture, more = await self._streams(spool, "video", workshop)
        packets, further = await self._streams(spool, "tracks", workshop)
        damaged += [*more, *further]
        audio, video = ("" if kind not in progress.tracks else str(workshop / name) for kind, name in _FILES)
        files = sound, picture, audio, video
        work = Work(*files, self._memory_mb, packets, str(workshop), progress.began_at, turns)
        made = await self._run(work, progress.recorded_s)
        unread_of: dict[Kind, list[int]] = {
            "audio": made.unread_audio,
            "video": made.unread_video,
            "tracks": made.unread_tracks,
        }
        for kind, unread in unread_of.items():
            parts = progress.tracks[kind].parts if unread else []
            damaged += [Gap(parts[n].began_at, parts[n].began_at, "damaged", kind) for n in unread]
        folder = folder_in_store
        in_audio = _audio(made.audio, *await self._put(folder, Path(audio), "audio/ogg")) if made.audio else None
        in_video = _video(made.video, *await self._put(folder, Path(video), "video/mp4")) if made.video else None
        tracks = [_track(track, *await self._put(folder, workshop / track.name, "audio/ogg")) for track in made.tracks]
        final = progress.manifest(in_audio, in_video, tracks, finished=True)
        waveform = thumbnails = None
        if peaks := made.waveform:
            put = await self._put(folder, workshop / peaks.name, "application/json")
            waveform = Waveform(*put, peaks.columns, peaks.column_s)
        if strip := made.thumbnails:
            put = await self._put(folder, workshop / strip.name, "image/jpeg")
            thumbnails = Thumbnails(*put, strip.count, strip.width, strip.height, strip.every_s)
        screenshots = [
            Screenshot(
                *await self._put(folder, workshop / shot.name, "image/jpeg"),
                *(shot.at_s, shot.width, shot.height),
            )
            for shot in made.screenshots
        ]
        return msgspec.structs.replace(
            final,
            gaps=[*final.gaps, *damaged],
            waveform=waveform,
            thumbnails=thumbnails,
            screenshots=screenshots,
        )

    async def _streams(self, spool: Spool, kind: Kind, workshop: Path) -> tuple[list[Stream], list[Gap]]:
        """The parts of one kind, in order, and what of them is damaged or gone."""
        progress = spool.progress
        damaged: list[Gap] = []
        streams: list[Stream] = []
        track = progress.tracks.get(kind)
        for part in track.parts if track else []:
            path = workshop / f"{kind}-{part.number}"
            segments = [segment for segment in progress.segments if (segment.kind, segment.part) == (kind, part.number)]
            if segments:
                arrivals = [track.arrivals[segment.sequence] for segment in segments] if track else []
                gone, arrived = await self._fetch_part(store_folder(spool), segments, arrivals, path)
                damaged += gone
                anchors = [(size, round(at - part.began_at, 3)) for size, at in arrived]
                media_s, ends_s = part.began_at - progress.began_at, segments[-1].ended_at - part.began_at
                keeps_time = track is not None and track.way_of(part) == "display"
                streams.append(Stream(str(path), round(media_s, 3), anchors, round(ends_s, 3), keeps_time))
        return streams, damaged

    async def _fetch_part(
        self,
        folder_in_store: str,
        segments: Sequence[Segment],
        arrivals: Sequence[Sequence[tuple[int, float]]],
        path: Path,
    ) -> tuple[list[Gap], list[tuple[int, float]]]:
        """Write a part into the file at `path`. Returns a gap for each segment that the store lost or damaged; and
        after each chunk the size of the file, with the time at which that chunk had arrived.
        """
        damaged: list[Gap] = []
        anchors: list[tuple[int, float]] = []
        with path.open("wb") as file:
            for segment, ends in zip(segments, arrivals, strict=True):
                try:
                    content = await self._store.get(f"{folder_in_store}/{segment.path}")
                except AbsentError:
                    content = b""
                if hashlib.sha256(content).hexdigest() == segment.sha256:
                    anchors += [(file.tell() + end, at) for end, at in ends]
                    file.write(content)
                else:
                    damaged.append(Gap(segment.began_at, segment.ended_at, "damaged", segment.kind))
        return damaged, anchors

    async def _put(self, folder_in_store: str, path: Path, content_type: str) -> tuple[str, int, str]:
        """Put a file into the store. Returns its name there, its bytes and its SHA-256. Raises: StoreError, OSError."""
        size, sha256 = await asyncio.to_thread(_measure, path)
        name = manifest.named_by_content(path.name, sha256)
        await self._store.put(f"{folder_in_store}/{name}", path, content_type=content_type)
        if await self._store.size(f"{folder_in_store}/{name}") != size:
            raise StoreError("what it holds is shorter than what it was given")
        return name, size, sha256

    async def _run(self, work: Work, recorded_s: float) -> WorkResult:
        """Raises: FilesNotMadeError, OSError."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker.capture.making.process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said = complaint = b""
        deadline_s = DEADLINE_S + recorded_s / 2
        try:
            async with asyncio.timeout(deadline_s):
                said, complaint = await process.communicate(msgspec.json.encode(work))
            return msgspec.json.decode(said, type=WorkResult)
        except TimeoutError as error:
            raise FilesNotMadeError(f"no file was made within {deadline_s:.0f} s") from error
        except msgspec.DecodeError as error:
            if process.returncode == os.EX_CANTCREAT:
                raise OSError(errno.ENOSPC, "no file was made: the disk is full") from error
            last = complaint.decode(errors="replace").strip().splitlines()[-1:]
            raise FilesNotMadeError(f"no file was made (exit {process.returncode}): {''.join(last)[:200]}") from error
        finally:
            await children.end(process)


_FILES: Final[tuple[tuple[Kind, str], ...]] = (("audio", AUDIO), ("video", VIDEO))


def store_folder(spool: Spool) -> str:
    """The recording's folder in the store."""
    return manifest.folder(spool.progress.opened.bot_id, spool.progress.opened.attempt)


def _audio(report: AudioReport, name: str, size: int, sha256: str) -> Audio:
    measured = report.duration_s, report.filled_s, report.loudness_lufs
    return Audio(name, size, sha256, *measured, *report.dbfs, mended_s=report.mended_s)


def _video(report: VideoReport, name: str, size: int, sha256: str) -> Video:
    return Video(
        name,
        size,
        sha256,
        report.duration_s,
        report.codec,
        report.width,
        report.height,
        report.pictures,
        round(report.pictures / report.recorded_s, 2) if report.recorded_s else 0.0,
        report.damaged,
    )


def _track(report: TrackReport, name: str, size: int, sha256: str) -> SoundTrack:
    return SoundTrack(
        *(name, size, sha256, report.id, report.began_at, report.duration_s, report.packets),
        *(report.voice_s, report.speaker_id, report.speaker, report.share, report.turns),
    )


def _measure(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
