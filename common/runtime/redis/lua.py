"""Declares Lua scripts: a stub function names a script's keys and arguments, and the shape of its answer.

The stub gives both the call, with every key declared as Redis Cluster needs it, and the first lines of the script:
`local bot, status = KEYS[1], KEYS[2]`, `local attempt = tonumber(ARGV[1])`. So no script
counts its arguments. The script's text is in `lua/{name}.lua`, by the stub's name. Before the text come the constants
that it names, with their values from Python, and the preludes that it declares, `lua/_{prelude}.lua`.

How an argument arrives in Lua: a bool as a boolean, an int as a number, a list as a table, everything else as text. A
float is text, too, because Lua would round it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain
from typing import Annotated, Any, Final, Generic, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast, get_args

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from common.runtime.redis.roundtrip import carry_out, read

P = ParamSpec("P")
R = TypeVar("R")

Key: TypeAlias = Annotated[str, "key"]
OptionalKey: TypeAlias = Annotated[str | None, "optional key"]
"""A key that may be missing. Then the first key is passed in its place, which the script reads as nil: all keys of a
call have to be in one cluster slot."""
Keys: TypeAlias = Annotated[Sequence[str], "keys"]
"""Any number of keys, after the single ones."""
Values: TypeAlias = Annotated[Sequence[str | bytes | int | float], "values"]
"""Any number of arguments, after the single ones."""
Pairs: TypeAlias = Annotated[Mapping[str, str | int | bytes], "pairs"]
"""Like Values, in the order field, value, field, value."""

FENCE: Final = "fence"
"""The prelude that fences a script. Its first key and argument are then `epoch_key` and `epoch`, which are added when
the call runs.
"""

_SHARED: Final = resources.files("common.runtime.redis") / "lua"
_WORD: Final = re.compile(r"[A-Za-z_]\w*")

_LIST: Final = """local function list(from, first, length)
  local found = {}
  for i = first, first + length - 1 do found[#found + 1] = from[i] end
  return found
end
"""


class Call(NamedTuple, Generic[R]):
    """A script with its keys and arguments; for a fenced script, without the key and the number of the epoch."""

    script: "Script[..., R]"
    keys: Sequence[str]
    arguments: Sequence[Any]

    def command(self) -> tuple[Any, ...]:
        """The call as a Redis command, for use in a pipeline."""
        script, keys, arguments = self
        return ("EVALSHA", script.digest, len(keys), *keys, *arguments)

    def fenced(self, epoch_key: str, epoch: int) -> tuple[Any, ...]:
        """The call as a Redis command of the leader of `epoch`."""
        script, keys, arguments = self
        return ("EVALSHA", script.digest, len(keys) + 1, epoch_key, *keys, epoch, *arguments)

    async def run(self, redis: Redis, fence: tuple[str, int] | None = None) -> R:
        """Run the script and return its answer. `fence`: the key and the number of the epoch, for a fenced script. A
        script that Redis does not have is loaded first. Raises: Redis' own errors.
        """
        command = self.fenced(*fence) if fence else self.command()
        try:
            answer = await carry_out(redis, *command)
        except NoScriptError:
            await redis.script_load(self.script.source)
            answer = await carry_out(redis, *command)
        return self.script.answer(answer)

    async def read(self, redis: Redis) -> R:
        """Like `run`, for a script that writes nothing: no replica has to confirm it."""
        try:
            (answer,) = await read(redis, self.command())
        except NoScriptError:
            await redis.script_load(self.script.source)
            (answer,) = await read(redis, self.command())
        return self.script.answer(answer)


class Script(Generic[P, R]):
    """Calling it with the stub's arguments, by name, gives a Call. `source`: the whole text for Redis. `body`: the text
    of its own file.
    """

    def __init__(
        self,
        stub: Callable[P, R],
        folder: Traversable,
        constants: Mapping[str, str | int | Sequence[str]],
        preludes: Sequence[str],
    ) -> None:
        kinds = dict(stub.__annotations__)
        self.name: Final = stub.__name__
        self.preludes: Final = tuple(preludes)
        self.is_fenced: Final = FENCE in preludes
        self.body: Final = _read(folder, self.name)
        self._read: Final = _READ.get(kinds.pop("return"))
        marks = {name: _mark(kind) for name, kind in kinds.items()}
        self.parts: Final = marks
        self._keys = tuple(name for name, mark in marks.items() if mark in ("key", "optional key"))
        self._key_lists = tuple(name for name, mark in marks.items() if mark == "keys")
        self._lists = tuple(name for name, mark in marks.items() if mark in ("values", "pairs"))
        taken = {*self._keys, *self._key_lists, *self._lists}
        self._single = tuple(name for name in marks if name not in taken)
        if (*marks,) != (shape := (*self._keys, *self._key_lists, *self._single, *self._lists)):
            raise TypeError(f"cannot declare {self.name}.lua but in this order: {', '.join(shape)}")
        before = "".join(_read(folder, f"_{prelude}") for prelude in preludes if prelude != FENCE)
        fence = _read(folder, f"_{FENCE}") if self.is_fenced else ""
        words = set(_WORD.findall(before + self.body))
        named = "".join(f"local {name} = {_literal(value)}\n" for name, value in constants.items() if name in words)
        self.source = named + before + self._prologue(marks) + fence + self.body
        self.digest = digest_of(self.source)
        kind: Any = type(self.name, (Script,), {"__call__": self._compiled()})
        self.__class__ = kind

    def __call__(self, *_: P.args, **parts: P.kwargs) -> Call[R]:
        raise AssertionError("every script has a compiled one of its own")

    def _compiled(self) -> Callable[..., Call[R]]:
        """A function that puts every argument in its place. It is compiled, because every event runs through it."""
        marks = self.parts
        first = next(iter(self._keys), "")
        keys = [f"{name} or {first}" if marks[name] == "optional key" else name for name in self._keys]
        keys += [f"*{name}" for name in self._key_lists]
        arguments = [f"len({name})" for name in self._key_lists[:-1]]
        arguments += [f"1 if {name} else 0" if marks[name] == "bool" else name for name in self._single]
        for name in self._lists:
            arguments += [f"len({name}){' * 2' if marks[name] == 'pairs' else ''}"] if name != self._lists[-1] else []
            arguments += [f"*chain({name}.items())" if marks[name] == "pairs" else f"*{name}"]
        text = (
            f"lambda script, *, {', '.join(marks)}: new(Call, (script, [{', '.join(keys)}], [{', '.join(arguments)}]))"
        )
        names: dict[str, Any] = {"Call": Call, "new": cast("Any", tuple).__new__, "chain": chain.from_iterable}
        return eval(text, names)  # noqa: S307 - of the names of a stub in this code

    def answer(self, raw: Any) -> R:
        """The answer of Redis in the shape that the stub says."""
        return self._read(raw) if self._read else raw

    def _prologue(self, marks: Mapping[str, str]) -> str:
        """The first lines of the script, which name keys and arguments. The length of a list that another list follows
        is an argument.
        """
        lines: list[str] = []
        key = argument = 1
        if self.is_fenced:
            lines.append("local epoch_key, epoch = KEYS[1], ARGV[1]")
            key = argument = 2
        for place, name in enumerate(self._keys, start=key):
            absent = f" ~= KEYS[{key}] and KEYS[{place}] or nil" if marks[name] == "optional key" else ""
            lines.append(f"local {name} = KEYS[{place}]{absent}")
        if self._key_lists or self._lists:
            lines.append(_LIST.rstrip())
        if self._key_lists:
            lines.append(f"local next_key = {key + len(self._keys)}")
        for name in self._key_lists[:-1]:
            lines.append(f"local {name} = list(KEYS, next_key, tonumber(ARGV[{argument}]))")
            lines.append(f"next_key = next_key + #{name}")
            argument += 1
        for name in self._key_lists[-1:]:
            lines.append(f"local {name} = list(KEYS, next_key, #KEYS - next_key + 1)")
        for place, name in enumerate(self._single, start=argument):
            lines.append(f"local {name} = {_FROM_TEXT.get(marks[name], '{}').format(f'ARGV[{place}]')}")
        if self._lists:
            lines.append(f"local next_argument = {argument + len(self._single)}")
        for name in self._lists[:-1]:
            lines.append(f"local {name} = list(ARGV, next_argument + 1, tonumber(ARGV[next_argument]))")
            lines.append(f"next_argument = next_argument + 1 + #{name}")
        for name in self._lists[-1:]:
            lines.append(f"local {name} = list(ARGV, next_argument, #ARGV - next_argument + 1)")
        return "".join(f"{line}\n" for line in lines)


class Library:
    """The scripts of one package. `constants`: what scripts may name. `scripts`: the declared scripts, by name."""

    def __init__(self, package: str, constants: Mapping[str, str | int | Sequence[str]]) -> None:
        self.folder: Final = resources.files(package) / "lua"
        self.constants: Final = constants
        self.scripts: Final[dict[str, Script[..., Any]]] = {}

    def script(self, *preludes: str) -> Callable[[Callable[P, R]], Script[P, R]]:
        """Decorator: the stub becomes a script with these preludes, in this order."""

        def declare(stub: Callable[P, R]) -> Script[P, R]:
            script = Script(stub, self.folder, self.constants, preludes)
            self.scripts[script.name] = script
            return script

        return declare

    async def load(self, redis: Redis) -> None:
        """Load all scripts into Redis, which can then be called by their digests until Redis restarts. Idempotent."""
        for script in self.scripts.values():
            await redis.script_load(script.source)


def digest_of(source: str) -> str:
    """The SHA-1 by which Redis identifies a script."""
    return hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - Redis names scripts by SHA-1


_FROM_TEXT: Final = {"bool": "{} == '1'", "int": "tonumber({})"}
_READ: Final[dict[Any, Callable[[Any], Any]]] = {bool: bool, str: bytes.decode}


def _mark(kind: Any) -> str:
    """The name of a type, or the mark of an annotated type."""
    return get_args(kind)[1] if hasattr(kind, "__metadata__") else getattr(kind, "__name__", "text")


def _read(folder: Traversable, name: str) -> str:
    """The text of a script or prelude, from its own package or from common.runtime.redis."""
    file = folder / f"{name}.lua"
    return (file if file.is_file() else _SHARED / f"{name}.lua").read_text(encoding="utf-8")


def _literal(value: str | int | Sequence[str]) -> str:
    match value:
        case int():
            return str(value)
        case str():
            return f"'{value}'"
        case _:
            return f"{{{', '.join(map(_literal, value))}}}"
