"""An operator's own rules: a folder with `{platform}.toml` files, each laid over the rules of this release.

So a changed page can be followed without a new release. The files are read at start, and again when one changes.

    remove = ["rule", …]            # screens and popups to remove
    [[screen]]                      # replaces the rule of the same name; a new rule comes first of all,
    before = "rule"                 # or before the named one
    [[popup]]                       # the same
    [actions], [readings], [places], [captions]   # each key replaces the same key of the release
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import structlog
from msgspec import Meta

from worker.platforms.adapter import Adapter
from worker.platforms.page import PageAdapter
from worker.platforms.rules import (
    MOST_RULES,
    Actions,
    BadRulesError,
    Popup,
    Readings,
    RuleName,
    Rules,
    ScreenRule,
    Text,
    Texts,
    fault_of,
    make,
    read,
    read_source,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SUFFIX: Final = ".toml"


class _PlacedScreen(ScreenRule, frozen=True, kw_only=True):
    before: RuleName | None = None


class _PlacedPopup(Popup, frozen=True, kw_only=True):
    before: RuleName | None = None


class _Overrides(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    remove: list[RuleName] = []
    screen: Annotated[list[_PlacedScreen], Meta(max_length=MOST_RULES)] = []
    popup: Annotated[list[_PlacedPopup], Meta(max_length=MOST_RULES)] = []
    places: dict[str, Texts] = {}
    ignore: list[Text] | None = None
    actions: Actions = Actions()
    readings: Readings = Readings()
    facts: str | None = None
    captions: dict[str, Any] = {}


def lay_over(source: Path, path: Path) -> Rules:
    """The rules of `source` with the overrides of `path`. Raises: BadRulesError, which names `path`."""
    base, over = read_source(source), read(path)
    try:
        checked = msgspec.convert(over, _Overrides)
    except msgspec.ValidationError as error:
        raise BadRulesError(path, fault_of(error)) from error
    rows: dict[str, list[dict[str, Any]]] = {kind: [*base.get(kind, [])] for kind in ("screen", "popup")}
    for place, name in enumerate(checked.remove):
        before = sum(map(len, rows.values()))
        rows = {kind: [row for row in kept if row["rule"] != name] for kind, kept in rows.items()}
        if sum(map(len, rows.values())) == before:
            raise BadRulesError(path, f"remove[{place}]: there is no rule {name!r} to remove")
    for kind, kept in rows.items():
        _put_in(kept, over.get(kind, []), path, kind)
    merged = {**base, **rows}
    for table in ("actions", "readings", "places"):
        merged[table] = {**base.get(table, {}), **over.get(table, {})}
    merged |= {key: over[key] for key in ("ignore", "facts") if key in over}
    if "captions" in over:
        merged["captions"] = {**base.get("captions", {}), **over["captions"]}
    return make(path, merged)


def _put_in(rows: list[dict[str, Any]], news: list[dict[str, Any]], path: Path, kind: str) -> None:
    first = 0
    for number, new in enumerate(news):
        row = {key: value for key, value in new.items() if key != "before"}
        names = [each["rule"] for each in rows]
        old = names.index(row["rule"]) if row["rule"] in names else None
        if (before := new.get("before")) is not None:
            if before not in names or before == row["rule"]:
                raise BadRulesError(path, f"{kind}[{number}].before: there is no other rule {before!r}")
            if old is not None:
                del rows[old]
            rows.insert([each["rule"] for each in rows].index(before), row)
        elif old is not None:
            rows[old] = row
        else:
            rows.insert(first, row)
            first += 1


class _Stamp(NamedTuple):
    """What shows that a file has changed. All zero: the file exists, and its metadata cannot be read."""

    mtime_ns: int = 0
    size: int = 0
    inode: int = 0


class _Change(NamedTuple):
    """A changed file: the rules to use from now on, or why there are none."""

    platform: str
    rules: Rules | None
    fault: BadRulesError | None = None


class Overrides:
    """The overrides of one folder; `folder` "" means none. Call `load` at start and `reload` at intervals. Where a slow
    disk must not block the event loop, call `changes` in a thread and then `take_up`.
    """

    def __init__(self, folder: str, adapters: Mapping[str, Adapter]) -> None:
        self._folder = Path(folder) if folder else None
        self._adapters = adapters
        self._used: dict[str, _Stamp] = {}
        self._seen: dict[str, _Stamp] = {}
        self._is_missing = False

    def load(self) -> dict[str, Rules]:
        """Read all files and take their rules into use. Returns the rules by platform. Raises: BadRulesError."""
        stamps = self._look()
        loaded = {platform: self._read(platform) for platform in stamps}
        for platform, rules in loaded.items():
            self._adapter(platform).use(rules)
        self._used = self._seen = stamps
        return loaded

    def reload(self) -> None:
        """Take changed files into use. If a file cannot be used, the rules stay as they are, and the fault is logged
        once.
        """
        self.take_up(self.changes())

    def changes(self) -> list[_Change]:
        """The files that changed since they were taken into use. A file counts once two looks found it the same: before
        that it may be half written.
        """
        try:
            stamps = self._look()
        except BadRulesError as error:
            was_missing, self._is_missing = self._is_missing, True
            return [] if was_missing else [_Change("", None, error)]
        self._is_missing = False
        seen, self._seen = self._seen, stamps
        differing = {name for name in {*stamps, *self._used} if stamps.get(name) != self._used.get(name)}
        settled = sorted(name for name in differing if stamps.get(name) == seen.get(name))
        self._used = {name: stamp for name, stamp in self._used.items() if name not in settled}
        self._used |= {name: stamps[name] for name in settled if name in stamps}
        return [self._change(platform, is_there=platform in stamps) for platform in settled]

    def _change(self, platform: str, *, is_there: bool) -> _Change:
        try:
            source = self._adapter(platform).source
            return _Change(platform, self._read(platform) if is_there else make(source, read_source(source)))
        except BadRulesError as error:
            return _Change(platform, None, error)

    def take_up(self, changes: Iterable[_Change]) -> None:
        for platform, rules, fault in changes:
            if fault:
                log.error("adapter_rules_bad", path=str(fault.path), fault=fault.fault)
            if rules is None:
                continue
            adapter = self._adapter(platform)
            differing = _differing(adapter.rules, rules)
            adapter.use(rules)
            log.info("adapter_rules_reloaded", platform=platform, changed=differing)

    def _look(self) -> dict[str, _Stamp]:
        """The files in the folder, by platform. Raises: BadRulesError when the folder cannot be read."""
        if self._folder is None:
            return {}
        try:
            return {path.stem: _stamp(path) for path in self._folder.iterdir() if path.suffix == SUFFIX}
        except OSError as error:
            raise BadRulesError(self._folder, f"worker.adapters_dir: {error.strerror or error}") from error

    def _read(self, platform: str) -> Rules:
        return lay_over(self._adapter(platform).source, self._path(platform))

    def _adapter(self, platform: str) -> PageAdapter:
        adapter = self._adapters.get(platform)
        if adapter is None:
            names = ", ".join(sorted(self._adapters))
            raise BadRulesError(
                self._path(platform), f"file: there is no adapter for {platform!r} (there are: {names})"
            )
        if not isinstance(adapter, PageAdapter):
            raise BadRulesError(self._path(platform), f"file: the adapter for {platform!r} takes no overrides")
        return adapter

    def _path(self, platform: str) -> Path:
        assert self._folder
        return self._folder / f"{platform}{SUFFIX}"


def _stamp(path: Path) -> _Stamp:
    try:
        stat = path.stat()
    except OSError:  # the error is reported when this file is read; the others are not affected
        return _Stamp()
    return _Stamp(stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _differing(old: Rules, new: Rules) -> int:
    """How many rules, actions, readings and places differ."""

    def parts(rules: Rules) -> Iterator[tuple[str, object]]:
        plain = msgspec.to_builtins(rules)
        for row in [*plain["screen"], *plain.get("popup", [])]:
            yield row["rule"], row
        for table in ("actions", "readings", "places"):
            yield from plain.get(table, {}).items()

    before, after = dict(parts(old)), dict(parts(new))
    return sum(before.get(name) != after.get(name) for name in {*before, *after})
