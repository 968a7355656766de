"""What is wrong with the recording of a bot's meeting, by what its agent said in the bot's story. Does no I/O."""

from collections.abc import Sequence
from typing import Final

from poolmgr.store.story import Entry, What

_FAILED: Final = "capture_failed: "
_AWAY: Final = "the store does not take the recording"
_DISK: Final = "the disk of worker.state_dir fails"
_BACK: Final = "the store takes the recording again"
"""How the agent begins such lines: worker/capture/recording.py and recordings.py."""
_MOST: Final = 10


def capture_trouble(entries: Sequence[Entry], attempt: int) -> list[str]:
    """The latest ten different failures of the attempt, and whether the store is away now, or the VM's disk fails.
    Sentences: none has what a store answered, for that names the operator's machines.
    """
    lines = [entry.did for entry in entries if entry.what is What.SAW and entry.attempt == attempt]
    failures = [*dict.fromkeys(line for line in reversed(lines) if line.startswith(_FAILED))][::-1]
    of_store = [line for line in lines if line.startswith((_AWAY, _DISK, _BACK))]
    now = [line.partition(": ")[0] for line in of_store[-1:] if not line.startswith(_BACK)]
    return [*failures, *now][-_MOST:]
