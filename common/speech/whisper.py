"""Whisper on this machine, by faster-whisper, an extra.

It runs in a process of its own, with few threads, at the lowest priority and with limited memory. The operator installs
the model's folder; nothing is downloaded.
"""

import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from common.config.settings import TranscriptionSettings
from common.runtime import children
from common.runtime.workshop import workshop
from common.speech.heard import Heard
from common.speech.pieces import cut
from common.speech.provider import SpeechError

MODULE: Final = "faster_whisper"
INSTALL: Final = "pip install poolmgr[whisper]"


class Work(msgspec.Struct, frozen=True):
    """The order that the process (whisper_process.py) gets. `pieces`: the path of each, and where in the recording it
    begins.
    """

    model: str
    pieces: list[tuple[str, float]]
    language: str
    threads: int
    memory_mb: int


class Whisper:
    def __init__(self, settings: TranscriptionSettings) -> None:
        self._settings = settings

    async def transcribe(self, sound: Path, language: str) -> list[Heard]:
        settings = self._settings
        if fault := fault_of(settings):
            raise SpeechError(fault, lasts=True)
        with workshop() as folder:
            pieces = await asyncio.to_thread(cut, sound, folder, sys.maxsize)
            named = [(str(piece.path), piece.begins_s) for piece in pieces]
            work = Work(settings.whisper_model, named, language, settings.whisper_threads, settings.whisper_memory_mb)
            return await _run(work)


def fault_of(settings: TranscriptionSettings) -> str:
    """What is missing for it, if it is set up; empty: nothing."""
    if settings.whisper_model and find_spec(MODULE) is None:
        return f"engine_missing: {INSTALL}"
    if settings.whisper_model and not (Path(settings.whisper_model) / "model.bin").is_file():
        return "no_model: transcription.whisper_model"
    return ""


async def _run(work: Work) -> list[Heard]:
    """Raises: SpeechError, OSError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "common.speech.whisper_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # the process may quote the recording in its output
    )
    try:
        said, _ = await process.communicate(msgspec.json.encode(work))
        return msgspec.json.decode(said, type=list[Heard])
    except msgspec.DecodeError as error:
        raise SpeechError(f"engine_failed (exit {process.returncode})") from error
    finally:
        await children.end(process)
