"""What one side writes, the other reads; what neither wrote is refused."""

from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.wire.codec import UndecodableError, decode_command, decode_event, encode
from common.wire.keys import WireKeys
from common.wire.messages import (
    AutomaticLeave,
    BotMoved,
    BotRecorded,
    BotVitals,
    ChatLine,
    Command,
    Event,
    Heartbeat,
    Join,
    Message,
    Participant,
    Warm,
    WorkerReport,
)
from common.wire.vocabulary import BotState, WorkerState

COMMANDS: Final[tuple[type[Message], ...]] = get_args(Command)
EVENTS: Final[tuple[type[Message], ...]] = get_args(Event)

_TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_NUMBER: Final = st.integers(-(2**63), 2**63 - 1)
_OF_TYPE: Final[dict[Any, st.SearchStrategy[Any]]] = {
    str: _TEXT,
    int: _NUMBER,
    float: st.floats(allow_nan=False, allow_infinity=False),
    AutomaticLeave: st.builds(AutomaticLeave, *[_NUMBER] * 5),
    dict[str, WorkerReport]: st.dictionaries(
        _TEXT, st.builds(WorkerReport, st.sampled_from(WorkerState), _TEXT, _NUMBER), max_size=3
    ),
    list[Participant]: st.lists(st.builds(Participant, _TEXT, _TEXT), max_size=3),
    list[ChatLine]: st.lists(st.builds(ChatLine, _TEXT, _TEXT, _TEXT, _TEXT, st.floats(0, 2e9)), max_size=3),
}


def _of_type(kind: Any) -> st.SearchStrategy[Any]:
    return _OF_TYPE[kind] if kind in _OF_TYPE else st.from_type(kind)


def filled(kind: type[Message]) -> st.SearchStrategy[Any]:
    """Messages of that kind, every field of them with any value that it may have."""
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: _of_type(field.type) for field in fields})


def test_an_event_is_written_as_agents_and_managers_of_earlier_releases_know_it() -> None:
    moved = BotMoved("v", "w", "b", 2, 5.5, BotState.JOINING, "s", "r", 4.0)
    begin = b'"vm_id":"v","worker_id":"w","bot_id":"b","attempt":2,"at":5.5'
    end = b'"state":"joining","screen":"s","rule":"r","first_request_at":4.0'
    assert encode(moved) == b'{"type":"bot_moved",' + begin + b"," + end + b"}"
    assert encode(BotVitals("v", "w", "b", 2, 5.5)) == b'{"type":"bot_vitals",' + begin + b"}"


@given(st.one_of([filled(kind) for kind in COMMANDS]))
def test_every_command_arrives_as_it_was_sent(command: Command) -> None:
    assert decode_command(encode(command)) == command


@given(st.one_of([filled(kind) for kind in EVENTS]))
def test_every_event_arrives_as_it_was_sent(event: Event) -> None:
    assert decode_event(encode(event)) == event


def test_messages_are_told_apart_by_a_readable_type() -> None:
    assert encode(Warm("w1")) == b'{"type":"warm","worker_id":"w1"}'
    assert encode(Warm("w1", display=True)) == b'{"type":"warm","worker_id":"w1","display":true}'
    tags = [kind.__struct_config__.tag for kind in COMMANDS + EVENTS]
    assert len(set(tags)) == len(tags)
    assert "join_refused" in tags


def test_a_field_of_a_newer_release_is_ignored() -> None:
    assert decode_command(b'{"type":"warm","worker_id":"w1","profile":"x"}') == Warm("w1")


def test_defaults_do_not_travel() -> None:
    beat = Heartbeat("vm", "s", 1.0, {"w": WorkerReport(WorkerState.IDLE)})
    assert msgspec.json.decode(encode(beat)) == {
        "type": "heartbeat",
        "vm_id": "vm",
        "session": "s",
        "at": 1.0,
        "workers": {"w": {"state": "idle"}},
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"self_destruct"}',
        b'{"type":"warm"}',
        b'{"type":"warm","worker_id":7}',
        b'{"type":"heartbeat","vm_id":"v","session":"s","at":1,"workers":{"w":{"state":"asleep"}}}',
        b'{"type":"warm","worker_id":"\xff"}',
        b'{"type":"warm","worker_id":"w1"',
        b'{"type":"warm","worker_id":"w1","x":' + b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(UndecodableError, match="cannot read the message"):
        decode_command(raw)
    with pytest.raises(UndecodableError, match="cannot read the message"):
        decode_event(raw)


def test_a_command_is_no_event() -> None:
    with pytest.raises(UndecodableError):
        decode_event(encode(Warm("w1")))
    with pytest.raises(UndecodableError):
        decode_command(encode(Heartbeat("vm", "s", 1.0)))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(raw: bytes) -> None:
    for decode in (decode_command, decode_event):
        try:
            message = decode(raw)
        except UndecodableError:
            continue
        assert isinstance(message, Message)


def test_a_join_without_its_options_is_complete() -> None:
    raw = b'{"type":"join","worker_id":"w","bot_id":"b","attempt":1,"platform":"room","meeting_url":"u","bot_name":"n"}'
    assert decode_command(raw) == Join("w", "b", 1, "room", "u", "n")


def test_what_an_older_agent_says_of_a_recording_is_read() -> None:
    raw = b'{"type":"bot_recorded","vm_id":"v","bot_id":"b","attempt":1,"at":2.0,"finished":true,"audio_s":5,"gaps":3}'
    assert decode_event(raw) == BotRecorded("v", "b", 1, 2.0, finished=True, audio_s=5.0, gaps=3)


def test_all_keys_lie_under_the_prefix() -> None:
    keys = WireKeys("{poolmgr}")
    assert keys.events == "{poolmgr}:events"
    assert keys.bot("b1") == "{poolmgr}:bot:b1"
    assert keys.commands("vm1") == "{poolmgr}:vm:vm1:commands"
    assert keys.alive("vm1") == "{poolmgr}:vm:vm1:alive"
