"""The Lua scripts that both programs call."""

from typing import Final

from common.runtime.redis.lua import Key, Library
from common.wire.vocabulary import BotState

STATES: Final = {state.name: state for state in BotState}
"""Constants for the scripts of every Library that name states of bots."""

SHARED: Final = Library("common.runtime.redis", {})


@SHARED.script()
def resign(*, name: Key, holder: bytes | str) -> bool: ...
