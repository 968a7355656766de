"""A server that hears, settings that lead to it, and sound for it."""

from collections.abc import AsyncGenerator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from common.config.settings import TranscriptionSettings
from lab.speech.server import KEY, Speech, serving
from lab.speech.tones import RATE, sound


@pytest.fixture
async def speech() -> AsyncGenerator[Speech]:
    async with serving(Speech()) as speech:
        yield speech


@pytest.fixture
def settings(speech: Speech, tmp_path: Path) -> TranscriptionSettings:
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    return TranscriptionSettings(
        allow_http=True,
        allowed_networks=["127.0.0.0/8"],
        timeout_s=20.0,
        deepgram_url=speech.url,
        deepgram_key_file=str(key),
        openai_url=f"{speech.url}/v1",
        openai_key_file=str(key),
    )


def recorded(path: Path, words: Sequence[tuple[str, float, float]], lasts_s: float) -> Path:
    """An Ogg file of Opus, as recordings are."""
    pcm = sound(words, lasts_s)
    file: Any = av.open(str(path), "w", format="ogg")
    with file:
        stream = file.add_stream("libopus", rate=48_000, layout="mono")
        size = 2 * RATE // 50
        for number, at in enumerate(range(0, len(pcm) - size + 1, size)):
            frame = av.AudioFrame(format="s16", layout="mono", samples=size // 2)
            frame.planes[0].update(pcm[at : at + size])
            frame.sample_rate, frame.pts, frame.time_base = RATE, number * size // 2, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path
