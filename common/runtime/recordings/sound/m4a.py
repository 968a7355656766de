"""Makes an M4A of a recording's sound, for players that cannot play Opus.

It is made when a client asks for it, and kept beside the Ogg. It is not made otherwise, because AAC sounds worse than
the Opus that it is made of, and encoding takes a processor.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec

from common.config.settings import CaptureSettings
from common.errors import PoolmgrError
from common.runtime import children
from common.runtime.recordings import deletion
from common.runtime.recordings.sound.order import Made, Order
from common.runtime.recordings.store import Store
from common.runtime.workshop import workshop
from common.wire import manifest
from common.wire.manifest import FINAL, M4A, Audio, Manifest

MEDIA_TYPE: Final = "audio/mp4"
_DEADLINE_S: Final = 120.0
"""The deadline for a recording of no length, in seconds; half of a recording's length is added."""
_SHORTER_S: Final = 0.2
"""How much shorter the encoded sound may be than the recording, because of packets' ends."""


class UnencodedError(PoolmgrError):
    """No M4A was made; the message says why."""


MOST_IN_LINE: Final = 4
"""How many M4As may be in the making or in line, for all clients. Further clients have to ask again later."""


class Conversions:
    """Makes the M4As of a store's recordings, one at a time, with MOST_IN_LINE in line."""

    def __init__(self, settings: CaptureSettings) -> None:
        self._settings = settings
        self.in_line: set[str] = set()
        self._turn = asyncio.Semaphore(1)

    async def made(self, store: Store, found: Manifest) -> str | None:
        """The M4A's place in the store, for that finished sound; it is made if it is not there. None: ask again later,
        because it is being made for another client, or MOST_IN_LINE others come first. Raises: UnencodedError,
        StoreError, OSError.
        """
        assert found.audio
        where = f"{manifest.folder(found.bot_id, found.attempt)}/{M4A}"
        if await store.exists(where):
            return where
        if where in self.in_line or len(self.in_line) >= MOST_IN_LINE:
            return None
        self.in_line.add(where)
        try:
            async with self._turn:
                await self._make(store, found, found.audio, where)
        finally:
            self.in_line.discard(where)
        return where

    async def _make(self, store: Store, found: Manifest, audio: Audio, where: str) -> None:
        folder = manifest.folder(found.bot_id, found.attempt)
        with workshop() as here:
            ogg, out = here / audio.path, here / M4A
            await store.save(f"{folder}/{audio.path}", ogg)
            await encode(ogg, out, audio.duration_s, self._settings)
            await store.put(where, out, content_type=MEDIA_TYPE)
        if await deletion.is_deleted(store, found.bot_id) or not await store.exists(f"{folder}/{FINAL}"):
            await store.delete(found.bot_id)
            raise UnencodedError("the recording was deleted")


async def encode(ogg: Path, out: Path, duration_s: float, settings: CaptureSettings) -> None:
    """Encode the Ogg, which plays for `duration_s`, into the M4A `out`. Raises: UnencodedError, OSError."""
    order = Order(str(ogg), str(out), settings.audio_kbps, settings.finish_memory_mb)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "common.runtime.recordings.sound.process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said = complaint = b""
    deadline_s = _DEADLINE_S + duration_s / 2
    try:
        async with asyncio.timeout(deadline_s):
            said, complaint = await process.communicate(msgspec.json.encode(order))
        encoded = msgspec.json.decode(said, type=Made)
    except TimeoutError as error:
        raise UnencodedError(f"no M4A was made within {deadline_s:.0f} s") from error
    except msgspec.DecodeError as error:
        last = complaint.decode(errors="replace").strip().splitlines()[-1:]
        raise UnencodedError(f"no M4A was made (exit {process.returncode}): {''.join(last)[:200]}") from error
    finally:
        await children.end(process)
    if encoded.duration_s < duration_s - _SHORTER_S:
        raise UnencodedError(f"only {encoded.duration_s:.1f} of {duration_s:.1f} s of the recording could be read")
