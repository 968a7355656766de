"""Every script takes what its declaration says, no more and no less; every file is declared, every prelude needed."""

import re
from importlib import resources
from typing import Any, Final

import pytest

from common.runtime.redis.lua import FENCE, Library, Script
from common.wire.vocabulary import BotState
from tests.store.model import LIBRARIES

SCRIPTS: Final = [script for library in LIBRARIES for script in library.scripts.values()]
named = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)

_GIVEN: Final = {
    *("redis", "cjson", "cmsgpack", "unpack", "tonumber", "string", "table", "math", "ipairs", "and", "break", "do"),
    *("else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or", "repeat", "return"),
    *("then", "true", "until", "while"),
}
_QUIET: Final = re.compile(r"--[^\n]*|'(?:[^'\\]|\\.)*'")
_MADE: Final = re.compile(r"local (?!function\b)([\w, ]+)|for ([\w, ]+?) ?(?:\bin\b|=)|function (\w+)\(([\w, ]*)\)")
_USED: Final = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


def code_of(text: str) -> str:
    """Without comments and strings."""
    return _QUIET.sub("''", text)


def made_in(code: str) -> set[str]:
    """The names that it gives itself."""
    found = (names for match in _MADE.findall(code) for names in match)
    return {name.strip() for names in found for name in names.split(",")} - {""}


def functions_of(code: str) -> set[str]:
    return set(re.findall(r"function (\w+)", code))


def used_in(code: str) -> set[str]:
    return set(_USED.findall(code)) - _GIVEN


def prelude(script: Script[..., Any], name: str) -> str:
    """Of its own room, or of what both programs share."""
    own = next(library.folder for library in LIBRARIES if script in library.scripts.values())
    files = [folder / f"_{name}.lua" for folder in (own, resources.files("common.runtime.redis") / "lua")]
    return code_of(next(file.read_text() for file in files if file.is_file()))


def undeclared(script: Script[..., Any], body: str) -> set[str]:
    """What `body` names that neither the declaration, nor a constant or prelude of it, nor itself makes."""
    constants = next(library.constants for library in LIBRARIES if script in library.scripts.values())
    code = code_of(body)
    given = {*script.parts, *constants, *made_in(code)}
    for name in script.preludes:
        given |= functions_of(prelude(script, name))
    return used_in(code) - given


def unused(script: Script[..., Any], body: str) -> set[str]:
    """What the declaration names and `body` does not: parts, and preludes none of whose functions is called."""
    used = used_in(code_of(body))
    preludes = {name for name in script.preludes if name != FENCE and not functions_of(prelude(script, name)) & used}
    return ({*script.parts} - used) | preludes


@named
def test_a_script_names_nothing_that_its_declaration_lacks(script: Script[..., Any]) -> None:
    assert not undeclared(script, script.body)


@named
def test_a_script_uses_all_that_its_declaration_names(script: Script[..., Any]) -> None:
    assert not unused(script, script.body)


@named
def test_what_is_missing_and_what_is_too_much_is_found(script: Script[..., Any]) -> None:
    """Each part of each declaration, as if the script did not name it, or named it otherwise."""
    assert {"KEYS", "ARGV", "nowhere"} <= undeclared(script, f"{script.body}\nlocal x = nowhere .. KEYS[1] .. ARGV[1]")
    for part in script.parts:
        assert part in unused(script, re.sub(rf"\b{part}\b", "nowhere", script.body))
    preludes = {name for name in script.preludes if name != FENCE}
    assert preludes <= unused(script, "return 1")


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.folder.parent.name)
def test_every_file_is_declared(library: Library) -> None:
    files = {file.name.removesuffix(".lua") for file in library.folder.iterdir()}
    assert {name for name in files if not name.startswith("_")} == set(library.scripts)


def test_every_prelude_is_declared() -> None:
    files = {file.name for library in LIBRARIES for file in library.folder.iterdir()}
    declared = {f"_{name}.lua" for script in SCRIPTS for name in script.preludes}
    assert {name for name in files if name.startswith("_")} == declared


def test_no_script_says_a_state_or_a_life_by_itself() -> None:
    files = {file for library in LIBRARIES for file in library.folder.iterdir()}
    for file in files:
        code = re.sub(r"--[^\n]*", "", file.read_text())
        assert not {*BotState} & set(re.findall(r"'(\w+)'", code)), file
        assert not [number for number in re.findall(r"\b\d+\b", code) if int(number) > 1000], file
