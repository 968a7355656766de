"""Transcribes sound, in a process of its own: `python -m common.speech.whisper_process`. It reads a Work on its
standard input, and writes the words to its standard output, as JSON.
"""

import os
import resource
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

import msgspec

from common.speech.heard import Heard
from common.speech.whisper import MODULE, Work

_NICENESS: Final = 19


def transcribe(work: Work) -> Iterator[Heard]:
    """All words in order. No sentence is given the text before it, so that a mistake is not continued for minutes."""
    engine: Any = import_module(MODULE)
    model: Any = engine.WhisperModel(
        work.model, device="cpu", compute_type="int8", cpu_threads=work.threads, local_files_only=True
    )
    for path, since_s in work.pieces:
        segments, _ = model.transcribe(
            path,
            language=work.language.partition("-")[0].lower() or None,
            word_timestamps=True,
            vad_filter=True,
            condition_on_previous_text=False,
        )
        for segment in segments:
            for word in segment.words or ():
                yield _heard(word, since_s)


def _heard(word: Any, since_s: float) -> Heard:
    written = word.word.strip()
    bare = written.strip(".,;:!?\"'()-…“”‘’").casefold() or written
    confidence = round(float(word.probability), 3)
    return Heard(bare, since_s + float(word.start), since_s + float(word.end), written, confidence)


def main() -> None:
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    limit = work.memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    os.nice(_NICENESS)
    os.umask(0o077)
    os.environ["OMP_NUM_THREADS"] = str(work.threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    answer, sys.stdout = sys.stdout.buffer, sys.stderr  # a library's own output must not get into the answer
    answer.write(msgspec.json.encode(list(transcribe(work))))


if __name__ == "__main__":
    main()
