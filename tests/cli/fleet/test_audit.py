"""`poolmgr audit` and `poolmgr-worker audit` as programs: what they say, and their exit codes."""

import json
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from poolmgr.store.keys import Keys
from tests.cli.conftest import CommandLine
from tests.worker.link.test_journal import JOIN, STATE
from worker.cli.root import cli as worker_program
from worker.link.journal import Entry, Journal, Stage, WorkerNote


def test_an_empty_redis_has_nothing_to_say(poolmgr: CommandLine) -> None:
    result = poolmgr("audit")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "nothing is overdue" in result.stdout
    assert poolmgr.json("audit") == {"findings": []}


def test_what_is_found_twice_is_said_and_ends_in_another_exit_code(
    poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    redis.set(keys.bot("b1") + ":story", "x")
    shown = poolmgr("audit", "--again-after", "0")
    assert shown.exit_code == 1
    assert "key_without_end" in shown.stdout
    assert "1 found" in shown.stderr
    result = poolmgr("audit", "--again-after", "0", "--json")
    [finding] = json.loads(result.stdout)["findings"]
    assert (result.exit_code, finding["kind"], finding["of"]) == (1, "key_without_end", keys.story("b1"))
    assert redis.ttl(keys.story("b1")) == -1, "it only looks"


def test_a_redis_that_is_away_is_said(poolmgr: CommandLine) -> None:
    result = poolmgr("audit", POOLMGR_REDIS__URL="redis://127.0.0.1:1/0")
    assert result.exit_code == 5
    assert "cannot reach Redis" in result.stderr


def on_vm(state_dir: Path, *arguments: str) -> Result:
    environment = {"POOLMGR_WORKER__STATE_DIR": str(state_dir)}
    return CliRunner().invoke(worker_program, ["audit", "--again-after", "0", *arguments], env=environment)


def test_a_vm_on_which_nothing_is_has_nothing_to_say(tmp_path: Path) -> None:
    assert on_vm(tmp_path).exit_code == 0
    assert json.loads(on_vm(tmp_path, "--json").stdout) == {"findings": []}
    assert list(tmp_path.iterdir()) == [], "it only looks"


LEFT: Final[list[tuple[WorkerNote | None, str, set[str]]]] = [
    (None, "w1", {"folder_without_owner"}),
    (WorkerNote(Stage.WARM, "page"), "w1", {"worker_without_browser"}),
    (WorkerNote(Stage.WARM, "page"), "", {"worker_without_browser"}),
    (WorkerNote(Stage.SPENT, "page"), "", {"worker_left"}),
    (WorkerNote(Stage.ORDERED), "w1", set()),
    (WorkerNote(Stage.WARM, "page", JOIN, STATE), "", {"bot_overdue", "worker_without_browser"}),
    (None, "warm-pages", set()),
]


@pytest.mark.parametrize(("note", "folder", "found"), LEFT)
def test_a_vm_says_what_of_it_belongs_to_nobody_or_is_overdue(
    tmp_path: Path, note: WorkerNote | None, folder: str, found: set[str]
) -> None:
    journal = Journal(tmp_path / "journal.db")
    if note:
        journal.write(entry=Entry("w1", note))
    if folder:
        (tmp_path / "workers" / folder).mkdir(parents=True)
    result = on_vm(tmp_path, "--json")
    assert {finding["kind"] for finding in json.loads(result.stdout)["findings"]} == found
    assert result.exit_code == bool(found)
    assert all(kind in on_vm(tmp_path).stdout for kind in found)
    assert "localhost/r/x" not in result.stdout, "no meeting link"
    journal.close()


def test_a_state_folder_that_is_not_readable_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database, but long enough to be looked at as one " * 100)
    result = on_vm(tmp_path)
    assert result.exit_code == 2
    assert "cannot read worker.state_dir" in result.stderr
