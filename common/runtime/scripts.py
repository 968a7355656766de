"""The Lua scripts that both programs call."""

from typing import Final

from common.runtime.lua import Key, Library
from common.wire.vocabulary import BotState

STATES: Final = {state.name: state for state in BotState}
"""For every Library whose scripts name states of bots."""

SHARED: Final = Library("common.runtime", {})


@SHARED.script()
def resign(*, name: Key, holder: bytes | str) -> bool: ...
