"""Several processes carry out what was collected once: nothing is left out or done twice, and every end is told."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent

SHARED = """
import os
from pathlib import Path
import pytest

@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    yield tmp_path_factory.getbasetemp()
    with Path(__file__).with_name("ended").open("a") as file:
        file.write(f"{os.getpid()} ")
    if Path(__file__).with_name("end-badly").exists():
        raise RuntimeError("the end of what was shared")
"""
TWO = """
import os
import time
from pathlib import Path

def test_of_each_file_one_waits_for_the_other(shared):
    whole = Path(__file__).with_suffix(".is-coming")
    whole.write_text(f"{os.getpid()} {shared}")
    whole.rename(whole.with_suffix(".is-here"))  # the other one may not find half of it
    while len(found := list(Path(__file__).parent.glob("*.is-here"))) < 2:
        time.sleep(0.01)
    (first, its), (second, others) = [path.read_text().split() for path in found]
    assert first != second
    assert its != others

def test_a_file_is_with_one_process():
    assert Path(__file__).with_suffix(".is-here").read_text().split()[0] == str(os.getpid())
"""
DIES = """
import os
import signal

def test_is_good_before():
    pass

def test_dies():
    os.kill(os.getpid(), signal.SIGKILL)

def test_is_good_after():
    print("what it prints")
    assert not "good"
"""


def outcomes(folder: Path, *options: str, **files: str) -> tuple[int, dict[str, list[str]], str]:
    """The exit code, what became of each test, each time, and what pytest printed."""
    (folder / "conftest.py").write_text(SHARED)
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    command = (sys.executable, "-m", "pytest", "-p", "tests.at_once")
    options = (
        "-q",
        "-c",
        "/dev/null",
        "--rootdir",
        str(folder),
        "--at-once",
        "2",
        "--junitxml",
        str(folder / "told.xml"),
        *options,
    )
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # to import them takes half of the time
    done = subprocess.run(
        [*command, *options, str(folder)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    became: dict[str, list[str]] = {}
    for case in ElementTree.parse(folder / "told.xml").getroot().iter("testcase"):
        how = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        became.setdefault(f"{case.get('name')}", []).extend(how or ["passed"])
    return done.returncode, became, done.stdout + done.stderr


def test_each_test_is_carried_out_once_and_what_is_shared_ends_in_each_process(tmp_path: Path) -> None:
    code, became, said = outcomes(tmp_path, one=TWO, two=TWO)
    assert (code, said.count("passed")) == (0, 1)
    assert became == {
        "test_of_each_file_one_waits_for_the_other": ["passed", "passed"],
        "test_a_file_is_with_one_process": ["passed", "passed"],
    }
    assert len(set((tmp_path / "ended").read_text().split())) == 2


URGENT = """
import os
from pathlib import Path

def test_that_waits_for_real_programs(shared):
    Path(__file__).with_suffix(".has").write_text(str(os.nice(0)))
    while len(list(Path(__file__).parent.glob("*.has"))) < 2:
        pass
"""


@pytest.mark.long
def test_of_two_processes_one_takes_the_first_files_and_the_other_gives_way(tmp_path: Path) -> None:
    code, _, said = outcomes(tmp_path, a_real=URGENT, b_only_computes=URGENT)
    assert code == 0, said
    real, computes = (int((tmp_path / f"test_{name}.has").read_text()) for name in ("a_real", "b_only_computes"))
    assert (real, computes) == (os.nice(0), min(os.nice(0) + 5, 19))


def test_a_process_that_dies_fails_the_test_it_was_about_and_another_goes_on(tmp_path: Path) -> None:
    code, became, said = outcomes(tmp_path, dies=DIES)
    assert code == 1
    assert became == {"test_is_good_before": ["passed"], "test_dies": ["failure"], "test_is_good_after": ["failure"]}
    assert "the process ended meanwhile: exit code -9" in said
    assert said.count("Captured stdout call") == 1


@pytest.mark.long
def test_a_test_that_never_ends_has_failed_and_the_others_go_on(tmp_path: Path) -> None:
    hangs = "import time\ndef test_hangs(): time.sleep(600)\ndef test_is_good(): pass"
    code, became, said = outcomes(tmp_path, "--most-s=4", hangs=hangs)
    assert (code, became) == (1, {"test_hangs": ["failure"], "test_is_good": ["passed"]})
    assert "the process ended meanwhile: exit code -9" in said


@pytest.mark.long
def test_an_error_in_the_end_of_what_is_shared_is_told(tmp_path: Path) -> None:
    (tmp_path / "end-badly").touch()
    code, became, said = outcomes(tmp_path, only="def test_passes(shared): pass")
    assert (code, became) == (1, {"test_passes": ["passed", "error"]})
    assert "the end of what was shared" in said


@pytest.mark.long
def test_the_first_failure_may_be_the_end(tmp_path: Path) -> None:
    code, became, said = outcomes(tmp_path, "-x", "--at-once=2", fails="def test_fails(): assert 0\ndef test_b(): pass")
    assert (code, became) == (1, {"test_fails": ["failure"]})
    assert "stopping after 1 failures" in said
