"""Files that a process has mapped and not used: out of memory, and in it again once they were read."""

import asyncio
import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from common.runtime.waiting import pause
from tests.waiting import PATIENCE_S, wait_until
from worker.chromium import processes, warm_files
from worker.chromium.process import Launcher, find_chromium
from worker.chromium.profile import Profile
from worker.chromium.warm_files import WarmFiles

SIZE = 4 * 2**20
OFTEN_S = 0.01
MAPS = """
import mmap, sys
files = [open(file, "rb") for file in sys.argv[1:]]
kept = [mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) for file in files]
print("mapped", flush=True)
sys.stdin.read()
"""


def in_memory(file: Path) -> float:
    """Which share of the file the kernel has in memory: mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        begin = ctypes.c_char.from_buffer(mapped)
        answer = libc.mincore(ctypes.c_void_p(ctypes.addressof(begin)), ctypes.c_size_t(len(mapped)), pages)
        del begin
    assert answer == 0, os.strerror(ctypes.get_errno())
    return sum(page & 1 for page in pages) / len(pages)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = cold(tmp_path / "program")
    if in_memory(program):
        pytest.skip("this file system keeps its files in memory")
    return program


def cold(file: Path) -> Path:
    """A file that is on the disk only."""
    with file.open("wb") as opened:
        opened.write(os.urandom(SIZE))
        opened.flush()
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return file


@contextmanager
def too_deep(folder: Path) -> Generator[Path]:
    """A file by whose path nobody can ask for it, as on a disk that is gone: the kernel takes no path so long."""
    name, opened = "d" * 250, [os.open(folder, os.O_RDONLY)]
    for _ in range(20):
        os.mkdir(name, dir_fd=opened[-1])
        opened.append(os.open(name, os.O_RDONLY, dir_fd=opened[-1]))
    file = os.open("file", os.O_RDWR | os.O_CREAT, dir_fd=opened[-1])
    os.write(file, b"content")
    yield Path(f"/proc/{os.getpid()}/fd/{file}")
    os.close(file)
    for each in opened:
        os.close(each)
    shutil.rmtree(folder / name)


@contextmanager
def mapped_by_a_process(*files: Path) -> Generator[int]:
    """The group of a process that has them mapped, and has read nothing of them."""
    with subprocess.Popen(
        [sys.executable, "-c", MAPS, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"mapped\n"
        yield process.pid


@asynccontextmanager
async def kept_warm(
    state_dir: Path, group: int, has_room: Callable[[], bool] = lambda: True, *, nobody_joins: bool = True
) -> AsyncGenerator[asyncio.Event]:
    """Gives what is set while no bot is joining."""
    calm = asyncio.Event()
    if nobody_joins:
        calm.set()
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(WarmFiles(OFTEN_S, state_dir, lambda: group, calm, has_room).keep(), name="keep")
        yield calm
        keeping.cancel()


async def test_a_file_that_the_kernel_dropped_is_in_memory_again(tmp_path: Path, program: Path) -> None:
    with mapped_by_a_process(program) as group:
        async with kept_warm(tmp_path / "state", group):
            await wait_until(lambda: in_memory(program) == 1)


@pytest.mark.parametrize("behind_a_link", [False, True])
async def test_a_workers_own_files_are_left_alone(tmp_path: Path, program: Path, behind_a_link: bool) -> None:
    (state_dir := tmp_path / "state").mkdir()
    if behind_a_link:
        (link := tmp_path / "link").symlink_to(state_dir)
        state_dir = link
    own = cold(state_dir / "a database")
    with mapped_by_a_process(own, program) as group:
        async with kept_warm(state_dir, group):
            await wait_until(lambda: in_memory(program) == 1)
        assert in_memory(own) == 0


async def test_a_file_that_cannot_be_asked_for_is_left_out(tmp_path: Path, program: Path) -> None:
    with too_deep(tmp_path) as file, mapped_by_a_process(file, program) as group:
        with pytest.raises(OSError, match="File name too long"):
            file.readlink().stat()
        assert program in processes.mapped_files(group)


async def test_what_cannot_be_looked_for_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def no_more_files(group: int) -> set[Path]:
        looks.append(group)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(processes, "mapped_files", no_more_files)
    async with kept_warm(tmp_path, os.getpid()):
        await wait_until(lambda: len(looks) > 1)


async def test_nothing_is_read_while_memory_is_short(tmp_path: Path, program: Path) -> None:
    asked: list[bool] = []

    def has_room() -> bool:
        asked.append(False)
        return False

    with mapped_by_a_process(program) as group:
        async with kept_warm(tmp_path / "state", group, has_room):
            await wait_until(lambda: len(asked) > 3)
        assert in_memory(program) == 0


async def test_a_join_goes_first(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def no_longer(event: asyncio.Event, limit_s: float) -> bool:
        waits.append(limit_s)
        return await pause(event, PATIENCE_S)

    monkeypatch.setattr(warm_files, "pause", no_longer)
    with mapped_by_a_process(program) as group:
        async with kept_warm(tmp_path / "state", group, nobody_joins=False) as calm:
            await wait_until(lambda: waits)
            assert in_memory(program) == 0
            assert waits == [warm_files.JOINS_FIRST_S]
            calm.set()
            await wait_until(lambda: in_memory(program) == 1)


@pytest.mark.parametrize("limit", ["MOST_BYTES", "READ_DEADLINE_S"])
async def test_a_reading_that_reaches_a_limit_ends(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(warm_files, limit, 0)
    readings: list[bool] = []

    def has_room() -> bool:
        readings.append(True)
        return True

    with mapped_by_a_process(program) as group:
        async with kept_warm(tmp_path / "state", group, has_room):
            await wait_until(lambda: len(readings) > 3)
        assert in_memory(program) < 1


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await WarmFiles(0.0, tmp_path, os.getpid, asyncio.Event(), lambda: True).keep()


async def test_the_files_of_a_browser_are_its_program_and_its_libraries(tmp_path: Path) -> None:
    chromium = await Launcher(Profile(find_chromium("")), tmp_path).launch("w1")
    try:
        files = processes.mapped_files(chromium.leader.pid)
    finally:
        await chromium.kill()
    assert find_chromium("").resolve() in files
    assert any(file.name.startswith("libc.so") for file in files)
