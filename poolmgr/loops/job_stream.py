"""Reads jobs from the job stream, and puts them on the list of jobs as JSON.

An entry has the job as JSON in a field `job`, or each field of the job as a field of its own. Bad jobs are put on the
list, too: the intake rejects them with the reason.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Final

from common.runtime.loop.turns import Turned, unwatched
from poolmgr.store.leader.arrivals import Arrivals
from poolmgr.store.leader.inbox import Stream

_MOST_AT_ONCE: Final = 20
"""Entries in one read. Few, because an entry may have any size; twenty in three round trips are thousands a second."""
_WAIT_S: Final = 1.0
_REST_S: Final = 0.1
"""Seconds between two checks while the list of jobs is too long."""
_JOB: Final = b"job"
_NOT_TEXT: Final = frozenset({"priority", "queue_timeout", "automatic_leave", "custom_attributes", "probe", "requires"})


async def follow_job_stream(stream: Stream, arrivals: Arrivals, turned: Turned = unwatched) -> None:
    """Follow the job stream until cancelled. While too many jobs wait in the list, the rest stays in the stream."""
    while True:
        turned()
        if not await arrivals.has_room():
            await asyncio.sleep(_REST_S)
            continue
        entries = await stream.read(_MOST_AT_ONCE, _WAIT_S)
        if entries:
            await arrivals.from_stream([(entry.entry_id, job_of(entry.fields)) for entry in entries])


def job_of(fields: Mapping[bytes, bytes]) -> bytes:
    """The job of an entry as JSON. Bytes that are not UTF-8 stay as they are; the job's check rejects them."""
    if _JOB in fields:
        return fields[_JOB]
    texts = {_text(name): _text(value) for name, value in fields.items()}
    members = ", ".join(f"{_string(name)}: {_value(name, text)}" for name, text in texts.items())
    return f"{{{members}}}".encode(errors="surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _value(name: str, text: str) -> str:
    """The value of a field. If the job's field is no text, the entry's field is read as JSON."""
    if name not in _NOT_TEXT and not name.endswith("_required"):
        return _string(text)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return _string(text)
    return text
