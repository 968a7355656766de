"""`poolmgr-worker check` says what is wrong before an agent is started with it."""

from collections.abc import Generator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worker.cli.root import cli
from worker.platforms import built_in


@pytest.fixture(autouse=True)
def as_it_was() -> Generator[None]:
    before = {platform: adapter.rules for platform, adapter in built_in().items()}
    yield
    for platform, adapter in built_in().items():
        adapter.use(before[platform])


def check(folder: Path) -> Result:
    return CliRunner().invoke(cli, ["check", "--adapters", str(folder)])


def test_rules_that_can_be_used_are_counted(tmp_path: Path) -> None:
    before = len(built_in()["room"].rules.screen)
    (tmp_path / "room.toml").write_text('[[screen]]\nname = "full"\nrule = "full-2"\nvisible = ["#full"]')
    result = check(tmp_path)
    assert result.exit_code == 0
    assert f"room: {before + 1} screens, 0 popups" in result.output


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("room.toml", '[actions]\njoin = "#join"', "room.toml: actions.join: Expected `array`, got `str`"),
        ("rooms.toml", "", "rooms.toml: file: there is no adapter for 'rooms'"),
    ],
)
def test_a_fault_is_told_with_file_and_key(tmp_path: Path, name: str, text: str, fault: str) -> None:
    (tmp_path / name).write_text(text)
    result = check(tmp_path)
    assert result.exit_code == 2
    assert fault in result.output
