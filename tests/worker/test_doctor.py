"""What of a VM keeps bots from joining, by the real browser and by what other machines are like."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.config.settings import AccountSettings, CaptureSettings, PoolSettings, Settings, WorkerSettings, parse
from common.runtime.doctor.checks import Severity, carry_out
from tests.commands import members
from tests.waiting import PATIENCE_S, wait_until
from worker import doctor
from worker.chromium import processes
from worker.chromium.driver import Driver, DriverError
from worker.chromium.process import find_chromium
from worker.cli.root import cli

OK, WARNING, ERROR = Severity.OK, Severity.WARNING, Severity.ERROR


def run(*words: str, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and each check by its name."""
    result = CliRunner().invoke(cli, ["doctor", "--json", *words], env={"POOLMGR_CONFIG": "", **environment})
    document = json.loads(result.stdout)
    assert document["ok"] is (result.exit_code == 0)
    return result.exit_code, {check["name"]: check for check in document["checks"]}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def assert_nothing_is_left(temporary: Path) -> None:
    assert list(temporary.iterdir()) == []
    assert not [each for each in processes.scan() if str(temporary) in processes.command_line(each.pid)]


@pytest.mark.long
def test_a_worker_becomes_warm_and_nothing_of_it_is_left(tmp_path: Path, temporary: Path) -> None:
    code, found = run("--offline", POOLMGR_WORKER__STATE_DIR=str(tmp_path))
    assert found["browser"]["severity"] == OK
    assert "a worker is warm after" in found["browser"]["what"]
    assert_nothing_is_left(temporary)
    if os.geteuid() == 0:
        assert (found["sandbox"]["severity"], code) == (ERROR, 1)
        assert "runuser" in found["sandbox"]["todo"]
    skipped = {name for name, item in found.items() if item["severity"] == "skipped"}
    assert skipped >= {"redis", "clock", "google_meet", "zoom", "teams", "jitsi", "udp"}


def says_its_port_is(port: int) -> str:
    """A script of a browser that says where it listens, and does no more."""
    profile = 'profile=$(echo "$*" | sed "s/.*--user-data-dir=\\([^ ]*\\).*/\\1/")'
    return f'{profile}; printf "{port}\\n/devtools/browser/x" >"$profile/DevToolsActivePort"; sleep 600; exit'


@pytest.mark.parametrize(
    ("script", "says"),
    [
        pytest.param(says_its_port_is(9), "ECONNREFUSED", marks=pytest.mark.long),
        ("echo 'lib.so: cannot open shared object file' >&2; exit 127", "lib.so: cannot open"),
        pytest.param("sleep 600; exit", "after 3 s still without the DevTools port", marks=pytest.mark.long),
    ],
    ids=["does not answer", "does not start", "hangs"],
)
def test_a_browser_with_which_no_worker_becomes_warm_is_an_error_with_its_version(
    tmp_path: Path, temporary: Path, script: str, says: str
) -> None:
    browser = tmp_path / "chromium"
    browser.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Chromium 150.0" && exit\n{script}\n')
    browser.chmod(0o755)
    code, found = run("--offline", POOLMGR_WORKER__CHROMIUM=str(browser), POOLMGR_WORKER__LAUNCH_TIMEOUT_S="3")
    assert (code, found["browser"]["severity"]) == (1, ERROR)
    assert found["browser"]["what"].startswith(f"no worker becomes warm with {browser} (Chromium 150.0): ")
    assert says in found["browser"]["what"]
    assert "Chromium 156 was tried" in found["browser"]["todo"]
    assert_nothing_is_left(temporary)


@pytest.mark.long
async def test_a_trial_that_is_cut_off_is_ended_with_all_that_it_started(tmp_path: Path, temporary: Path) -> None:
    """While Playwright connects to a browser that runs and does not answer."""
    called = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        browser = tmp_path / "chromium"
        browser.write_text(f"#!/bin/sh\n{says_its_port_is(server.sockets[0].getsockname()[1])}\n")
        browser.chmod(0o755)
        settings = Settings(worker=WorkerSettings(chromium=str(browser)))
        [check] = [check for check in doctor.checks(settings) if check.name == "browser"]
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(carry_out([check]), name="doctor")
            await wait_until(called.is_set)
            looking.cancel()
    assert looking.cancelled()
    assert_nothing_is_left(temporary)


def test_a_vm_without_memory_for_one_worker_is_told_so() -> None:
    code, found = run("--offline", POOLMGR_WORKER__WORKER_MEMORY_MB="1000000")
    assert (code, found["browser"]["severity"], found["browser"]["todo"]) == (1, ERROR, "see memory")


def test_a_driver_that_does_not_start_is_told_of_once(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    async def start(_: Driver) -> None:
        raise DriverError("cannot start the Playwright driver: no")

    monkeypatch.setattr(Driver, "start", start)
    _, found = run("--offline")
    assert (found["browser"]["severity"], found["browser"]["todo"]) == (ERROR, "see driver")
    assert_nothing_is_left(temporary)


def test_a_browser_that_says_nothing_of_itself_has_no_version(tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\n")
    silent.chmod(0o755)
    assert doctor.version_of(tmp_path / "none") == doctor.version_of(silent) == "of an unknown version"


@pytest.mark.parametrize(
    ("script", "severity", "says"),
    [
        ("echo v24.1.0", OK, "v24.1.0"),
        ("echo 'node: libatomic.so.1: cannot open shared object file' >&2; exit 127", ERROR, "libatomic.so.1"),
        (None, ERROR, "No such file"),
    ],
)
def test_a_driver_that_lacks_a_library_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, severity: Severity, says: str
) -> None:
    node = tmp_path / "node"
    if script:
        node.write_text(f"#!/bin/sh\n{script}\n")
        node.chmod(0o755)
    monkeypatch.setattr(doctor, "compute_driver_executable", lambda: (str(node), "cli.js"))
    found = doctor.driver()
    assert found.severity is severity
    assert says in found.what


def test_a_browser_that_is_not_there_is_an_error_that_names_the_setting() -> None:
    code, found = run("--offline", POOLMGR_WORKER__CHROMIUM="/nowhere/chromium")
    assert code == 1
    assert (found["browser"]["severity"], "worker.chromium" in found["browser"]["what"]) == (ERROR, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as somebody else")
@pytest.mark.parametrize(
    ("user", "switches", "severity"),
    [(65534, [], OK), pytest.param(0, ["--no-sandbox"], ERROR, marks=pytest.mark.long)],
)
def test_a_real_browsers_sandbox_is_seen_to_be_on_or_off(
    tmp_path: Path, user: int, switches: list[str], severity: Severity
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="doctor-"))  # whose parents everybody may pass
    os.chown(folder, user, user)
    words = ["--headless=new", f"--user-data-dir={folder}", "--remote-debugging-port=0", *switches, "about:blank"]
    with (tmp_path / "log").open("wb") as log:
        browser = subprocess.Popen(
            [str(find_chromium("")), *words],
            cwd=folder,
            env={"HOME": str(folder), "TMPDIR": str(folder)},
            user=user,
            group=user,
            extra_groups=[],
            start_new_session=True,
            stdout=log,
            stderr=log,
        )
    try:
        within_s = PATIENCE_S if severity is OK else 1.0  # those without a sandbox never get one
        until, pages = time.monotonic() + PATIENCE_S, []
        while not pages and time.monotonic() < until:
            pages = doctor.of_pages(browser.pid, within_s)
        found = doctor.sandbox(pages)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait(60)
        shutil.rmtree(folder, ignore_errors=True)
    assert found.what.startswith("on:" if severity is OK else "pages have no namespaces")
    assert found.severity is severity, (found, (tmp_path / "log").read_text()[-2000:])


def test_each_check_has_a_name_of_its_own_but_hosts_of_one_platform() -> None:
    names = [check.name for check in doctor.checks(Settings())]
    assert sorted({name for name in names if names.count(name) > 1}) == ["teams", "zoom"]


def test_what_recording_from_a_display_needs_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = doctor._recording  # pyright: ignore[reportPrivateUsage]
    assert looked(CaptureSettings()).severity is OK
    assert looked(CaptureSettings(store="/nowhere")).severity is OK
    monkeypatch.setenv("PATH", f"{tmp_path}")
    missing = looked(CaptureSettings(store="/nowhere", video="display"))
    assert (missing.severity, missing.todo) == (ERROR, "apt-get install xvfb pulseaudio ffmpeg")
    for name in ("Xvfb", "pulseaudio", "ffmpeg"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho ' V..... libx264'; echo ' A..... libopus'; echo ' D  pulse'\n")
        program.chmod(0o755)
    small = looked(CaptureSettings(store="/nowhere", video="display"))
    assert small.severity is ERROR
    assert small.what.endswith("was built without x11grab")
    (tmp_path / "ffmpeg").write_text("no program")
    assert "does not start" in looked(CaptureSettings(store="/nowhere", video="display")).what
    monkeypatch.undo()
    if shutil.which("ffmpeg") and shutil.which("pulseaudio"):
        assert looked(CaptureSettings(store="/nowhere", video="display")).severity is OK


@pytest.mark.parametrize(
    ("store", "most", "uid", "severity"),
    [
        ("", 0, 1000, OK),
        ("/recordings", 0, 0, OK),
        ("/recordings", 7, 1000, WARNING),
        ("/recordings", 8, 1000, OK),
        ("/recordings", -1, 1000, OK),
    ],
)
def test_whether_what_is_recorded_may_have_real_time_priority(
    store: str, most: int, uid: int, severity: Severity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert doctor.sound_priority(CaptureSettings(store=store), most).severity is severity


def test_a_jitsi_of_ones_own_is_asked_in_place_of_the_public_one() -> None:
    settings = parse('[meetings]\njitsi_hosts = ["meet.example.org", "127.0.0.1:8443"]\n')
    assert doctor._hosts(settings)["jitsi"] == ("meet.example.org",)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("files", "severity", "word"),
    [
        ({}, OK, "allowed"),
        ({"sys/user/max_user_namespaces": "96365"}, OK, "96365 at most"),
        ({"sys/user/max_user_namespaces": "0"}, ERROR, "max_user_namespaces is 0"),
        ({"sys/kernel/unprivileged_userns_clone": "0"}, ERROR, "unprivileged_userns_clone is 0"),
        ({"sys/kernel/unprivileged_userns_clone": "1"}, OK, "allowed"),
        ({"sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, WARNING, "AppArmor"),
        ({"sys/kernel/apparmor_restrict_unprivileged_userns": "0"}, OK, "allowed"),
    ],
)
def test_what_the_kernel_says_of_user_namespaces(
    tmp_path: Path, files: dict[str, str], severity: Severity, word: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    found = doctor.user_namespaces(tmp_path)
    assert found.severity is severity
    assert word in found.what


@pytest.mark.parametrize(
    ("pages", "severity"),
    [
        ([(True, True), (True, True)], OK),
        ([], ERROR),
        ([(True, True), (False, True)], ERROR),
        ([(True, False)], ERROR),
    ],
)
def test_the_sandbox_is_on_only_if_every_page_is_in_it(pages: list[tuple[bool, bool]], severity: Severity) -> None:
    assert doctor.sandbox(pages).severity is severity


@pytest.mark.parametrize(("size_mb", "severity"), [(64, ERROR), (65, WARNING), (767, WARNING), (768, OK)])
def test_shared_memory_is_for_as_many_browsers_as_there_may_be(size_mb: int, severity: Severity) -> None:
    assert doctor.shared_memory_of(size_mb, 12).severity is severity


def test_shared_memory_that_is_not_used_or_not_there(tmp_path: Path) -> None:
    unused = WorkerSettings(chromium_arguments=["--disable-dev-shm-usage"])
    assert doctor.shared_memory(tmp_path / "none", unused, 12).severity is OK
    assert doctor.shared_memory(tmp_path / "none", WorkerSettings(), 12).severity is ERROR


@pytest.mark.parametrize(("available", "severity"), [(2000, ERROR), (2774, WARNING), (5223, WARNING), (5224, OK)])
def test_memory_is_for_the_idle_ones_at_least(available: int, severity: Severity) -> None:
    assert doctor.memory(available, WorkerSettings(), PoolSettings()).severity is severity


@pytest.mark.parametrize(("limit", "severity"), [(None, OK), (2999, WARNING), (3000, OK)])
def test_processes_are_for_all_browsers(limit: int | None, severity: Severity) -> None:
    assert doctor.tasks(limit, 12).severity is severity


@pytest.mark.parametrize(
    ("kernel", "run", "told"),
    [
        ("6.1.0-28-amd64", "1", "kernel 6.1.0-28-amd64 cannot merge"),
        ("6.18.44", None, "kernel 6.18.44 cannot merge"),
        ("6.18.44", "0", "could be merged, and are not"),
        ("6.4.0-rc1", "1", "merged for programs that ask for it"),
    ],
)
def test_whether_the_kernel_merges_equal_pages(tmp_path: Path, kernel: str, run: str | None, told: str) -> None:
    if run is not None:
        (tmp_path / "run").write_text(run)
    found = doctor.equal_pages(kernel, tmp_path)
    assert found.severity is OK
    assert told in found.what


def test_fonts_are_counted_wherever_they_lie(tmp_path: Path) -> None:
    assert doctor.fonts([str(tmp_path)]).severity is WARNING
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/x.ttf").touch()
    (tmp_path / "a/b/readme.txt").touch()
    assert doctor.fonts([str(tmp_path), "/nowhere"]) == (OK, "1 files", "")


async def test_every_quick_check_answers_on_this_machine() -> None:
    """Whatever it answers: none of them fails for want of a file."""
    quick = [check for check in doctor.checks(Settings()) if check.name not in ("browser", "sandbox")]
    found = await carry_out(quick, offline=True)
    assert all(each.what for each in found)
    assert "doctor" in members(cli)


@pytest.mark.parametrize(
    ("lasts", "severity", "says"),
    [
        ((None,), OK, "1 signed in"),
        ((-3600.0, 30 * 86400.0), OK, "1 signed in"),
        ((-3600.0, 86400.0), WARNING, "ann is signed out in 2"),
        ((-3600.0, -60.0), ERROR, "ann is signed out: the last of its cookies is over"),
    ],
    ids=["for the session", "for a month", "for a day", "over"],
)
async def test_an_account_is_told_of_before_its_sign_in_is_over(
    lasts: tuple[float | None, ...], severity: Severity, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "ann.json"
    cookies = [{"name": "c", "value": "v", "expires": -1 if left is None else time.time() + left} for left in lasts]
    file.touch(0o600)
    file.write_text(json.dumps({"cookies": cookies}))
    settings = Settings(worker=WorkerSettings(accounts=[AccountSettings("ann", "room", str(file))]))
    [check] = [check for check in doctor.checks(settings) if check.name == "accounts"]
    found = await check.look()
    assert found.severity is severity
    assert found.what.startswith(says)
    assert (found.todo == "") is (severity is OK)
