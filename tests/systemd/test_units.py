"""The units as systemd reads them, without one that runs: no line unknown, no more exposed than was said."""

import shutil
import subprocess
from pathlib import Path

import pytest

from common.config.credentials import CREDENTIALS
from worker.doctor import SOUND_PRIORITY

FOLDER = Path(__file__).parents[2] / "systemd"
PROGRAMS = ("poolmgr.service", "poolmgr-worker.service", "poolmgr-mirror.service")

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def lines(unit: str, key: str) -> list[str]:
    text = (FOLDER / unit).read_text()
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


@needs_systemd
@pytest.mark.parametrize(
    "unit", sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".service", ".slice", ".target"))
)
def test_systemd_understands_every_line(unit: str) -> None:
    done = run("systemd-analyze", "verify", "--man=no", FOLDER / unit)
    faults = [line for line in done.stderr.splitlines() if "poolmgr" in line and "is not executable" not in line]
    assert faults == []


@needs_systemd
@pytest.mark.parametrize(("unit", "most"), list(zip(PROGRAMS, (12, 39, 12), strict=True)))
def test_no_unit_is_more_exposed_than_it_has_to_be(unit: str, most: int) -> None:
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={most}", FOLDER / unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@needs_systemd
def test_the_users_of_the_units_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", FOLDER / "sysusers.conf")
    assert done.returncode == 0, done.stderr
    made = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    assert made == {user for unit in PROGRAMS for user in lines(unit, "User")}


@needs_systemd
def test_the_folders_are_made_and_that_of_secrets_is_roots_alone(tmp_path: Path) -> None:
    done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", FOLDER / "tmpfiles.conf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/credstore").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "etc/poolmgr").stat().st_mode & 0o777 == 0o755


def test_a_manager_is_stopped_after_the_agent_beside_it_has_let_its_calls_end() -> None:
    """systemd.unit(5): units are stopped in the reverse of the order in which they are started."""
    assert "poolmgr.service" in " ".join(lines("poolmgr-worker.service", "After")).split()


def test_the_browsers_sound_may_have_the_priority_that_doctor_asks_for() -> None:
    unit = "poolmgr-worker.service"
    assert (lines(unit, "LimitRTPRIO"), lines(unit, "LimitNICE")) == ([str(SOUND_PRIORITY)], ["-10"])
    assert lines(unit, "LimitRTTIME") == ["1s"], "no page holds a processor"
    assert lines(unit, "RestrictRealtime") == []


@pytest.mark.parametrize("unit", PROGRAMS)
def test_every_credential_of_a_unit_is_a_setting(unit: str) -> None:
    handed = [line.partition(":")[::2] for line in lines(unit, "LoadCredential")]
    assert [name for name, _ in handed if name not in CREDENTIALS] == []
    assert [where for name, where in handed if where != f"poolmgr.{name}"] == []


def test_every_credential_is_handed_to_some_unit_and_told_of() -> None:
    handed = {line.partition(":")[0] for unit in PROGRAMS for line in lines(unit, "LoadCredential")}
    assert handed == set(CREDENTIALS)
    guide = (FOLDER / "README.md").read_text()
    assert [name for name in CREDENTIALS if f"poolmgr.{name}`" not in guide] == []
