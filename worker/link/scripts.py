"""The agent's Lua scripts: arguments and answer of each. The first lines of each file in lua/ say what it does."""

from typing import Final

from common.runtime.redis.lua import Key, Library, Values
from common.runtime.redis.scripts import STATES

ALIVE_S: Final = 15
COMMANDS_LIFE_S: Final = 86_400
WRITTEN_LIFE_S: Final = 604_800
NOBODY_READS_S: Final = 60  # without a read of the stream; a leading manager reads several times a second

SCRIPTS: Final = Library(
    "worker.link",
    {
        **STATES,
        "ALIVE_S": ALIVE_S,
        "COMMANDS_LIFE_S": COMMANDS_LIFE_S,
        "WRITTEN_LIFE_S": WRITTEN_LIFE_S,
        "NOBODY_READS_S": NOBODY_READS_S,
    },
)


@SCRIPTS.script("attempt")
def claim(*, bot: Key, attempt: int, worker_id: str, at: str) -> bool: ...


@SCRIPTS.script()
def take_vm_id(*, alive: Key, before: bytes, presence: bytes) -> bool: ...


@SCRIPTS.script()
def write(
    *,
    events: Key,
    written: Key,
    alive: Key,
    commands: Key,
    session: str,
    presence: bytes | str,
    most_unread: int,
    entries: Values,
) -> bytes | None: ...


@SCRIPTS.script("evidence")
def keep_evidence(
    *, bot: Key, bundle: Key, index: Key, sizes: Key, data: bytes, life_s: int, most_bytes: int
) -> bool: ...


@SCRIPTS.script()
def hold(*, name: Key, holder: str, life_ms: int) -> bool: ...
