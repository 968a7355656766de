"""Converts answers of Redis: a hash to text, a stream to entries, a time, a worker.

It imports little, so that the command line starts quickly.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from common.wire.vocabulary import WorkerState
from poolmgr.core.load import JobKind


class Entry(NamedTuple):
    """One stream entry. `fields`: as they were written."""

    entry_id: bytes
    fields: dict[bytes, bytes]


class WorkerRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker's record in `vm:{vm_id}:workers`. Times: epoch seconds. `kind`: of its bot, a JobKind. `display`: it
    has one.
    """

    state: WorkerState
    since: float
    born: float = 0.0
    bot_id: str = ""
    kind: str = JobKind.LISTENS
    display: bool = False


def entries_of(answer: Any) -> list[Entry]:
    """The entries of an XREAD or XREADGROUP answer on one stream, in order."""
    streams: list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes] | None]]]] = answer or []
    return [Entry(entry_id, fields or {}) for _, entries in streams for entry_id, fields in entries]


def text_fields(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode(errors="replace") for name, value in raw.items()}


def number(text: str) -> float:
    """0 for a time that cannot be read."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def labels(text: str) -> dict[str, str]:
    """The labels of a VM, or none if they cannot be read."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, str])
    except msgspec.DecodeError:
        return {}


def worker_record(raw: bytes) -> WorkerRecord:
    """The worker in a record. Raises: msgspec.DecodeError."""
    return msgspec.json.decode(raw, type=WorkerRecord)
