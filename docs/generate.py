"""`./dev docs`: writes docs/redis-keys.md, docs/manifest.schema.json and the reasons in docs/operations.md from the
code, so that they always agree with it.

What a field of the session record means stands with the field, that of any other here; that each field of the code has
such a line, and each line a field, is checked while writing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import NODEFAULT

from common.jobs.record import STANDING, Record
from common.wire.manifest import Manifest
from common.wire.messages import Command, Event
from common.wire.vocabulary import BotState, GoneCause, Meaning, Reason, RefusalCause, WorkerState, outward_status
from poolmgr.core.events import DrainRequested, LeaveRequested, SayRequested
from poolmgr.store.answers import WorkerRecord
from poolmgr.store.keys import CHANNEL_DOCS, KEY_DOCS
from poolmgr.store.reading.views import DeadJob, Request, encode_request
from poolmgr.store.scripts import SCRIPTS

TARGET: Final = Path(__file__).parent / "redis-keys.md"
SCHEMA: Final = Path(__file__).parent / "manifest.schema.json"
OPERATIONS: Final = Path(__file__).parent / "operations.md"
_REASONS: Final = ("<!-- reasons: made by ./dev docs -->\n", "<!-- end of reasons -->\n")

STATUS_ENTRY: Final = {
    "bot_id": "whose change it is",
    "state": "the fine state, or `rejected` for a job that became no bot",
    "status": "the outward status word",
    "reason": "as `status_reason` of the record; of a rejected job the reason word",
    "status_reason": "the same as in the record; `invalid_request` for a rejected job",
    "attempt": "the attempt",
    "vm_id": "the VM, if the bot has one",
    "worker_id": "the worker, if the bot has one",
    "at": "when it happened; agents' changes by the agent's clock",
    "detail": "of a rejected job only: as in `dead`",
    "traceparent": "the span that its client gave the bot; there only if one was given",
}
DEAD_ENTRY: Final = {
    "at": "when it was rejected",
    "reason": "one word: `too_large`, `not_utf8`, `not_json`, `not_an_object`, `no_link`, `bad_link`, `bad_field`, "
    "`warned`, `duplicate_bot_id`, `duplicate_key`, `duplicate_meeting`, `poisonous`",
    "detail": "what is wrong and what to change",
    "bot_id": "the bot_id that the job named, if it could be read",
    "payload": "what was pushed, at most its first 256 KiB",
}
WORKER: Final = {
    "state": "the worker's state",
    "since": "since when, epoch seconds",
    "born": "when it was first warm, epoch seconds",
    "bot_id": "the bot that it serves or is reserved for",
    "kind": "what is recorded of that bot's meeting: `listens` (nothing), `sound`, `picture`",
    "display": "true: it has a virtual display that can be recorded",
}


def main() -> None:
    TARGET.write_text(document(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
    OPERATIONS.write_text(operations(), encoding="utf-8")


def schema() -> str:
    """The whole of docs/manifest.schema.json: what a recording's manifest may be."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Manifest)}
    return msgspec.json.format(msgspec.json.encode(described), indent=2).decode() + "\n"


def operations() -> str:
    """docs/operations.md with the table of what each reason means."""
    before, found, rest = OPERATIONS.read_text(encoding="utf-8").partition(_REASONS[0])
    _, end, after = rest.partition(_REASONS[1])
    if not (found and end):
        raise ValueError(f"cannot find the marks of the table in {OPERATIONS}: {_REASONS}")
    meanings: dict[Meaning, list[Reason]] = {}
    for reason in Reason:
        if meaning := reason.end.meaning:
            meanings.setdefault(meaning, []).append(reason)
    rows = ((", ".join(f"`{reason}`" for reason in reasons), *meaning) for meaning, reasons in meanings.items())
    table = "\n".join(_table(("reason", "what happened", "what to do"), rows))
    return f"{before}{found}{table}\n{end}{after}"


def document() -> str:
    """The whole of docs/redis-keys.md."""
    return "\n".join([*_introduction(), *_keys(), *_bots(), *_streams(), *_messages(), *_words()]) + "\n"


def _introduction() -> list[str]:
    return [
        "# Redis: every key, field and message",
        "",
        "Written by `./dev docs` from the code; changes by hand are lost.",
        "",
        "Every name stands under the prefix `redis.prefix` (default `poolmgr`): `jobs` is `poolmgr:jobs`. All times are"
        " ISO 8601 in UTC unless something else is said. A field that is empty or missing means: not yet, or none.",
    ]


def _keys() -> Iterator[str]:
    yield from ("", "## Keys", "")
    yield from _table(("key", "type", "written by", "what", "end of life"), ((f"`{d[0]}`", *d[1:]) for d in KEY_DOCS))
    yield from ("", "Channels, of which nothing is kept:", "")
    yield from _table(("channel", "published by", "what"), ((f"`{d[0]}`", *d[1:]) for d in CHANNEL_DOCS))


def _bots() -> Iterator[str]:
    yield from ("", "## The session record: `bot:{bot_id}`", "")
    yield from _table(("field", "what"), ((f"`{name}`", meaning) for name, meaning in _record_meanings().items()))
    known = ("bot_id", "meeting_url", "platform", "bot_name", "payload", "state", "status", "created_at", "seq")
    always = ", ".join(f"`{name}`" for name in (*known, *STANDING))
    yield from ("", f"In every record from the start: {always}. The others come with the first thing that they say.")
    yield from ("", "## A worker's record: a value in `vm:{vm_id}:workers`, JSON", "")
    yield from _fields(WORKER, msgspec.structs.asdict(WorkerRecord(WorkerState.IDLE, 0.0)))


def _streams() -> Iterator[str]:
    yield from ("", "## An entry of `status`", "")
    yield from _fields(STATUS_ENTRY, _status_fields())
    yield from ("", "## An entry of `dead`", "")
    yield from _fields(DEAD_ENTRY, [name for name in DeadJob.__struct_fields__ if name != "entry_id"])
    yield from ("", "## An entry of `control`", "", "`request` is the name, `body` the JSON.", "")
    requests: list[Request] = [LeaveRequested("ID"), SayRequested("ID", "Hello"), DrainRequested("VM")]
    rows = [tuple(f"`{part.decode()}`" for part in encode_request(request).values()) for request in requests]
    yield from _table(("request", "body, for example"), rows)


def _messages() -> Iterator[str]:
    yield from (
        "",
        "## Messages",
        "",
        "One JSON object in the field `m` of a stream entry, told apart by `type`. Fields at their default do not"
        " travel. An entry of `events` has a second field, `id`, which is the same when an event was written twice."
        " Times are epoch seconds by the clock of the sender.",
    )
    for title, union in (("Commands: `vm:{vm_id}:commands`", Command), ("Events: `events`", Event)):
        yield from ("", f"### {title}", "")
        rows = [(f"`{kind.__struct_config__.tag}`", _sentence(kind), _signature(kind)) for kind in get_args(union)]
        yield from _table(("type", "what it says", "fields"), rows)


def _words() -> Iterator[str]:
    yield from ("", "## Words", "", "### States of a bot, in the order of the way", "")
    states = [s for s in BotState if s is not BotState.STOPPED]
    rows = [(f"`{state}`", f"`{outward_status(state)}`") for state in states]
    yield from _table(("state", "status"), [*rows, (f"`{BotState.STOPPED}`", "by its reason, below")])
    yield from ("", "### Reasons of an end", "")
    yield from (
        "`tried again`: the bot is sent in once more, up to `pool.max_attempts`, if it was never in the meeting and"
        " nobody asked it to leave.",
        "",
    )
    ends = [
        (f"`{reason}`", f"`{reason.end.status}`", f"`{reason.end.attribution}`", "yes" if reason.end.retry else "")
        for reason in Reason
    ]
    yield from _table(("reason", "status", "attribution", "tried again"), ends)
    for title, words in (
        ("States of a worker", WorkerState),
        ("Causes of a worker's end", GoneCause),
        ("Causes of a refused assignment", RefusalCause),
    ):
        yield from ("", f"### {title}", "", _list(words))


def _record_meanings() -> dict[str, str]:
    return {
        field.encode_name: next(note.description for note in get_args(field.type)[1:] if note.description)
        for field in msgspec.structs.fields(Record)
    }


def _status_fields() -> list[str]:
    """The fields that the Lua scripts write into the status stream; every script writes the same, of a rejected job
    also why, and of a traced bot its `traceparent`.
    """
    found = [_xadd_fields(SCRIPTS.scripts[script].source) for script in ("move", "reject")]
    if [*found[0], "detail"] != found[1]:
        raise ValueError(f"cannot describe the status stream: its entries differ: {found}")
    return [*found[1], "traceparent"]


def _xadd_fields(source: str) -> list[str]:
    """The names in the last entry of the status stream in a script, written at once or as a table."""
    [*_, call] = re.findall(r"(?:'\*', |local entry = \{)('bot_id', bot_id, [^})]*)", source)
    return [argument.strip().strip("'") for argument in _split(call)][::2]


def _split(arguments: str) -> list[str]:
    """Lua arguments one by one; an `x or ''` stays together, a string with a comma does not occur."""
    return arguments.split(",")


def _fields(meanings: Mapping[str, str], written: Iterable[str]) -> Iterator[str]:
    names = set(written)
    if differing := names ^ set(meanings):
        raise ValueError(f"cannot describe the fields: the code and docs/generate.py differ in {differing}")
    yield from _table(("field", "what"), ((f"`{name}`", meaning) for name, meaning in meanings.items()))


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def _sentence(kind: type[msgspec.Struct]) -> str:
    own = kind.__dict__.get("__doc__") or "(the type says it)"
    return " ".join(own.split()).replace("`", "")


def _signature(kind: type[msgspec.Struct]) -> str:
    return ", ".join(_field(field) for field in msgspec.structs.fields(kind))


def _field(field: msgspec.structs.FieldInfo) -> str:
    optional = field.default is not NODEFAULT or field.default_factory is not NODEFAULT
    return f"`{field.name}`: {_type(field.type)}{'?' if optional else ''}"


def _type(kind: Any) -> str:
    if get_origin(kind) is dict:
        return f"object of {_type(get_args(kind)[1])} by {_type(get_args(kind)[0])}"
    if get_origin(kind) is UnionType:  # something or null
        return _type(next(member for member in get_args(kind) if member is not NoneType))
    if get_origin(kind) is Literal:
        return "word"
    if get_origin(kind) in (list, tuple):
        return f"list of {_type(get_args(kind)[0])}"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"{{{_signature(kind)}}}"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "word"
    names: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "true/false"}
    if kind not in names:
        raise ValueError(f"cannot describe the type {kind!r}")
    return names[kind]


def _list(words: type[StrEnum]) -> str:
    return ", ".join(f"`{word.value}`" for word in words)


if __name__ == "__main__":
    main()
