"""Makes the files of a recording that is over: brings its segments back from the store, has a process of its own make
one file of each kind (process.py), and puts those into the store.
"""

import asyncio
import hashlib
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from common.config.settings import CaptureSettings
from common.runtime.store import AbsentError, Store, StoreError
from common.wire import manifest
from common.wire.manifest import AUDIO, VIDEO, Audio, Gap, Kind, Manifest, Segment, Video
from worker.capture.making.work import Heard, Made, Stream, Watched, Work
from worker.capture.spool import Spool

DEADLINE_S: Final = 900.0
"""For a recording of no length; a longer one has half its length more."""


class UnmadeError(Exception):
    """The process that makes the files did not."""


class Maker:
    def __init__(self, settings: CaptureSettings, store: Store) -> None:
        self._memory_mb = settings.finish_memory_mb
        self._store = store

    async def make(self, spool: Spool) -> Manifest:
        """The files are in the store, if there is anything to make them of; the final manifest.

        Raises: UnmadeError, StoreError, OSError.
        """
        workshop = spool.folder / "workshop"
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir(mode=0o700)
        known, where = spool.ledger, where_is(spool)
        sound, damaged = await self._streams(spool, "audio", workshop)
        picture, more = await self._streams(spool, "video", workshop)
        damaged += more
        audio, video = ("" if kind not in known.tracks else str(workshop / name) for kind, name in _FILES)
        made = await self._run(Work(sound, picture, audio, video, self._memory_mb), known.recorded_s)
        unread_of: dict[Kind, list[int]] = {"audio": made.unheard, "video": made.unseen}
        for kind, unread in unread_of.items():
            parts = known.tracks[kind].parts if unread else []
            damaged += [Gap(parts[n].began_at, parts[n].began_at, "damaged", kind) for n in unread]
        heard = _audio(made.audio, *await self._put(where, Path(audio), "audio/ogg")) if made.audio else None
        seen = _video(made.video, *await self._put(where, Path(video), "video/mp4")) if made.video else None
        final = known.manifest(heard, seen, finished=True)
        return msgspec.structs.replace(final, gaps=[*final.gaps, *damaged])

    async def _streams(self, spool: Spool, kind: Kind, workshop: Path) -> tuple[list[Stream], list[Gap]]:
        """Those of one kind, in order, and what of them is not there any more."""
        known = spool.ledger
        damaged: list[Gap] = []
        streams: list[Stream] = []
        track = known.tracks.get(kind)
        for part in track.parts if track else []:
            path = workshop / f"{kind}-{part.number}"
            if whole := [one for one in known.segments if one.kind == kind and one.part == part.number]:
                came = [track.came[one.sequence] for one in whole] if track else []
                gone, anchors = await self._fetch_part(where_is(spool), whole, came, path)
                damaged += gone
                since = [(size, round(at - part.began_at, 3)) for size, at in anchors]
                media_s, ends_s = part.began_at - known.began_at, whole[-1].ended_at - part.began_at
                streams.append(Stream(str(path), round(media_s, 3), since, round(ends_s, 3)))
        return streams, damaged

    async def _fetch_part(
        self, where: str, segments: Sequence[Segment], came: Sequence[Sequence[tuple[int, float]]], path: Path
    ) -> tuple[list[Gap], list[tuple[int, float]]]:
        """It is in the file as far as the store has what it was given; where not, a gap each. How large the file was
        after each chunk, and when all of that had come.
        """
        damaged: list[Gap] = []
        anchors: list[tuple[int, float]] = []
        with path.open("wb") as file:
            for segment, ends in zip(segments, came, strict=True):
                try:
                    content = await self._store.get(f"{where}/{segment.path}")
                except AbsentError:
                    content = b""
                if hashlib.sha256(content).hexdigest() == segment.sha256:
                    anchors += [(file.tell() + end, at) for end, at in ends]
                    file.write(content)
                else:
                    damaged.append(Gap(segment.began_at, segment.ended_at, "damaged", segment.kind))
        return damaged, anchors

    async def _put(self, where: str, path: Path, content_type: str) -> tuple[int, str]:
        """The store has it; bytes and SHA-256. Raises: StoreError, OSError."""
        size, sha256 = await asyncio.to_thread(_measure, path)
        await self._store.put(f"{where}/{path.name}", path, content_type=content_type)
        if await self._store.size(f"{where}/{path.name}") != size:
            raise StoreError("what it holds is shorter than what it was given")
        return size, sha256

    async def _run(self, work: Work, recorded_s: float) -> Made:
        """Raises: UnmadeError, OSError."""
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
            return msgspec.json.decode(said, type=Made)
        except TimeoutError as error:
            raise UnmadeError(f"no file was made within {deadline_s:.0f} s") from error
        except msgspec.DecodeError as error:
            last = complaint.decode(errors="replace").strip().splitlines()[-1:]
            raise UnmadeError(f"no file was made (exit {process.returncode}): {''.join(last)[:200]}") from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


_FILES: Final[tuple[tuple[Kind, str], ...]] = (("audio", AUDIO), ("video", VIDEO))


def where_is(spool: Spool) -> str:
    """Where in the store it goes."""
    return manifest.folder(spool.ledger.opened.bot_id, spool.ledger.opened.attempt)


def _audio(heard: Heard, size: int, sha256: str) -> Audio:
    return Audio(AUDIO, size, sha256, heard.duration_s, heard.filled_s, heard.loudness_lufs, *heard.dbfs)


def _video(seen: Watched, size: int, sha256: str) -> Video:
    return Video(
        VIDEO,
        size,
        sha256,
        seen.duration_s,
        seen.codec,
        seen.width,
        seen.height,
        seen.pictures,
        round(seen.pictures / seen.recorded_s, 2) if seen.recorded_s else 0.0,
        seen.damaged,
    )


def _measure(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
