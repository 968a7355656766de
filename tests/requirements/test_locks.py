"""The locks hold for every installer of the last years, whatever is released tomorrow. No registry is asked."""

import re
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from requirements import locks
from requirements.locks import FOLDER, LOCKS, Pin

ROOT = FOLDER.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"run.txt": [], "sqs.txt": ["sqs"], "otlp.txt": ["otlp"], "whisper.txt": ["whisper"], "dev.txt": ["dev"]}
AGAIN = "./dev lock writes the locks anew"


def asked(lock: str) -> list[tuple[str, str]]:
    """What the project asks this lock for."""
    if lock in EXTRAS:
        of_extras = [words for extra in EXTRAS[lock] for words in PROJECT["optional-dependencies"][extra]]
        return [("pyproject.toml", words) for words in [*PROJECT["dependencies"], *of_extras]]
    source = (FOLDER / lock).with_suffix(".in")
    return [(source.name, line) for line in source.read_text().splitlines() if not line.startswith("#")]


def installed() -> list[Distribution]:
    """What is in the environments of this checkout: of the tests, and of the benchmark's peers if that is there."""
    peers = [str(folder) for folder in ROOT.glob(".venv-peers/lib/python3*/site-packages")]
    return [*distributions(), *distributions(path=peers)]


@pytest.mark.parametrize("lock", LOCKS)
def test_whatever_is_required_is_pinned_with_its_extras(lock: str) -> None:
    faults = locks.faults(locks.read(FOLDER / lock), asked(lock), installed())
    assert not faults, "; ".join([*faults, f"pip refuses {lock} once newer releases are out", AGAIN])


def test_what_is_pinned_for_the_tests_is_what_is_tested() -> None:
    pins = locks.read(FOLDER / "dev.txt")
    here: dict[str, str] = {canonicalize_name(each.name): each.version for each in distributions()}
    assert {name: here.get(name) for name, pin in pins.items() if pin.applies} == {
        name: pin.version for name, pin in pins.items() if pin.applies
    }


@pytest.mark.parametrize("lock", ["run.txt", "sqs.txt", "otlp.txt", "whisper.txt"])
def test_what_runs_is_what_is_tested(lock: str) -> None:
    tested = locks.read(FOLDER / "dev.txt")
    assert {name: pin.version for name, pin in locks.read(FOLDER / lock).items() if name in tested} == {
        name: tested[name].version for name in locks.read(FOLDER / lock) if name in tested
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_its_hashes_and_no_lock_names_a_place(lock: str) -> None:
    assert [name for name, pin in locks.read(FOLDER / lock).items() if not pin.hashes] == []
    assert not re.search(r"index-url|find-links|://", (FOLDER / lock).read_text())


def package(folder: Path, name: str, *requires: str) -> Distribution:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        "Version: 1.0",
        *(f"Requires-Dist: {requirement}" for requirement in requires),
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    return Distribution.at(info)


def pin(version: str, *extras: str) -> Pin:
    return Pin(version, frozenset(extras), applies=True, hashes=1)


def test_an_extra_that_is_not_pinned_as_one_is_told_with_who_asks_for_it(tmp_path: Path) -> None:
    """As of a lock that pins coverage, where pytest-cov asks for coverage[toml]."""
    plugin = package(
        tmp_path, "plugin", "tool[toml]>=7.10", "tool[other]; extra == 'more'", "gone; python_version < '3'"
    )
    pins = {"plugin": pin("1.0"), "tool": pin("7.17")}
    assert locks.faults(pins, [], [plugin]) == ["tool is pinned without [toml], and plugin 1.0 asks for tool[toml]"]
    assert locks.faults(pins | {"tool": pin("7.17", "toml")}, [], [plugin]) == []


def test_an_extra_that_is_pinned_brings_what_it_requires(tmp_path: Path) -> None:
    plugin = package(tmp_path, "plugin", "tool; extra == 'more'")
    assert locks.faults({"plugin": pin("1.0")}, [], [plugin]) == []
    assert locks.faults({"plugin": pin("1.0", "more")}, [], [plugin]) == [
        'tool is not pinned, and plugin 1.0 asks for tool; extra == "more"'
    ]


def test_a_pin_that_is_older_than_what_is_asked_for_is_told() -> None:
    assert locks.faults({"tool": pin("1.0")}, [("pyproject.toml", "tool>=2")], []) == [
        "tool is pinned to 1.0, and pyproject.toml asks for tool>=2"
    ]


def test_a_lock_is_read_with_extras_markers_and_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "# a comment\n"
        "tool[toml,more]==7.17 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via plugin\n"
        "Old_Tool==1 ; python_full_version < '3' \\\n    --hash=sha256:cc\n"
    )
    assert locks.read(lock) == {
        "tool": Pin("7.17", frozenset({"toml", "more"}), applies=True, hashes=2),
        "old-tool": Pin("1", frozenset(), applies=False, hashes=1),
    }
