"""What came of a recorder is on the disk before anybody may drop it, and is found there whatever died."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Final

import pytest

from worker.capture.progress import Began, Chunk, Closed, Missed, Opened, Paused
from worker.capture.spool import LOG, UNREADABLE, DamagedRecordingError, Spool, name_of

OPENED: Final = Opened("b1", 2, "room", 1000.0)


def chunks(first: int, last: int, part: int = 0) -> list[tuple[Began, Chunk, bytes]]:
    return [
        (Began(part, 1000.0 + part * 100), Chunk(n, 1001.0 + n + part * 100, float(n), 3), b"%03d" % n)
        for n in range(first, last + 1)
    ]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool.create(tmp_path / name_of("b1", 2), OPENED)


def again(spool: Spool) -> Spool:
    """As the next agent finds it."""
    found = Spool.find(spool.folder)
    assert found.progress.manifest() == spool.progress.manifest()
    return found


def content(spool: Spool) -> bytes:
    spool.cut()
    return b"".join(spool.read(segment) for segment in spool.progress.segments)


def test_chunks_are_cut_into_files_whose_sums_are_known_and_which_go_when_they_are_stored(spool: Spool) -> None:
    spool.append(chunks(0, 7))
    first = spool.progress.to_store
    assert first
    assert (spool.read(first), first.sha256) == (b"000001002003004", hashlib.sha256(b"000001002003004").hexdigest())
    assert [path.name for path in sorted(spool.folder.iterdir())] == [LOG, first.path, "segment-000001.webm"]
    assert {oct(path.stat().st_mode)[-3:] for path in spool.folder.iterdir()} == {"600"}
    spool.note_stored(first)
    assert not (spool.folder / first.path).exists()
    spool.close(Closed(1009.0))
    spool.close(Closed(1010.0))
    last = again(spool).progress.to_store
    assert last
    assert (spool.read(last), last.ended_at) == (b"005006007", 1008.0)
    spool.remove()
    assert not spool.folder.exists()


def test_what_is_left_to_others_takes_no_note_of_what_a_thread_has_stored_meanwhile(spool: Spool) -> None:
    spool.append(chunks(0, 7))
    [first] = spool.progress.segments
    found = again(spool)
    spool.release()
    spool.note_stored(first)
    assert (found.read(first), again(spool).progress.to_store) == (b"000001002003004", first)
    found.note_stored(first)
    assert again(found).progress.to_store is None


def test_what_is_left_to_others_takes_no_chunk_that_a_thread_brings_too_late(spool: Spool) -> None:
    spool.append(chunks(0, 2))
    found = again(spool)
    spool.release()
    found.close(Closed(1005.0))
    [segment] = found.progress.segments
    found.note_stored(segment)
    spool.append(chunks(3, 3))
    spool.pause(Paused(1004.0))
    spool.miss(Missed(1003.0, 1004.0, "silent"))
    spool.close(Closed(1009.0))
    assert again(found).progress.segments == [segment]
    assert [path.name for path in spool.folder.iterdir()] == [LOG], "nor a file of it"


@pytest.mark.parametrize(("error", "is_waited_for"), [(errno.EIO, False), (errno.ENOENT, False), (errno.EMFILE, True)])
def test_what_the_disk_has_lost_is_cut_without_its_sum_and_what_follows_is_taken(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, error: int, is_waited_for: bool
) -> None:
    spool.append(chunks(0, 3))

    def fail(_: Path) -> bytes:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fail)
        if is_waited_for:
            with pytest.raises(OSError, match=os.strerror(error)):
                spool.append(chunks(4, 7))
        else:
            spool.append(chunks(4, 7))
    spool.append(chunks(4, 7))
    assert [segment.sha256 == UNREADABLE for segment in spool.progress.segments] == [not is_waited_for]
    assert spool.progress.next_seq == 8


def test_what_was_told_of_a_spool_is_known_to_the_next_agent_as_long_as_it_is_so(spool: Spool) -> None:
    spool.note_trouble("the store is away")
    assert again(spool).trouble == spool.trouble == "the store is away"
    spool.note_trouble("")
    assert again(spool).trouble == ""
    (spool.folder / "trouble").unlink()
    (spool.folder / "trouble").mkdir()
    spool.note_trouble("the disk takes nothing")
    assert (spool.trouble, again(spool).trouble) == ("the disk takes nothing", "")


def test_what_is_there_already_is_not_taken_twice_and_parts_are_kept_apart(spool: Spool) -> None:
    spool.append(chunks(0, 1))
    found = again(spool)
    found.append(chunks(0, 3))
    found.append(chunks(4, 5, part=1))
    assert content(found) == b"000001002003004005"
    assert [segment.part for segment in again(found).progress.segments] == [0, 1]


def test_what_is_of_a_kind_that_is_not_kept_leaves_nothing(spool: Spool) -> None:
    picture = Began(0, 1000.0, kind="video"), Chunk(1, 1001.5, 0.0, 3, "video"), b"xxx"
    [first, later] = [*chunks(0, 0), *chunks(2, 2)]
    spool.append([first, picture, later])
    spool.miss(Missed(1001.0, 1002.0, "silent", "video"))
    found = again(spool)
    assert (content(found), found.progress.next_seq, found.progress.gaps) == (b"000002", 3, [])


@pytest.mark.parametrize("torn", [b'{"is":"chu', b'{"is":"chunk"}\n', b"\x00" * 30])
def test_a_line_that_was_being_written_is_forgotten_and_its_chunk_taken_again(spool: Spool, torn: bytes) -> None:
    spool.append(chunks(0, 1))
    with (spool.folder / LOG).open("ab") as log:
        log.write(torn)
    with (spool.folder / "segment-000000.webm").open("ab") as pending:
        pending.write(b"00")  # of a chunk that nobody confirmed
    found = again(spool)
    assert found.progress.next_seq == 2
    found.append(chunks(1, 2))
    assert content(again(found)) == b"000001002"


def test_half_a_chunk_of_an_agent_that_died_is_in_no_segment(spool: Spool) -> None:
    spool.append(chunks(0, 3))
    [pending] = spool.folder.glob("segment-*")
    whole = pending.read_bytes()
    with pending.open("ab") as file:
        file.write(b"half a chunk")
    successor = again(spool)
    successor.close(Closed(1005.0))
    [segment] = successor.progress.segments
    assert successor.read(segment) == whole
    assert (segment.bytes, segment.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())


def test_a_disk_that_is_full_keeps_what_it_has(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.append(chunks(0, 1))
    write = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) > 1:
            return write(descriptor, data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.write", full)
        with pytest.raises(OSError, match="No space left"):
            spool.append(chunks(2, 3))
        with pytest.raises(OSError, match="No space left"):
            spool.cut()
    assert again(spool).progress.next_seq == 2
    spool.append(chunks(2, 3))
    assert content(again(spool)) == b"000001002003"


def test_a_disk_that_is_full_from_the_beginning_has_no_half_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name_of("b1", 2)

    def full(_descriptor: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.write", full)
        with pytest.raises(OSError, match="No space left"):
            Spool.create(folder, OPENED)
    assert not folder.exists()
    Spool.create(folder, OPENED)


def test_a_folder_that_holds_no_recording_is_spoiled(spool: Spool) -> None:
    spool.append(chunks(0, 1))
    (spool.folder / "segment-000000.webm").write_bytes(b"000")
    with pytest.raises(DamagedRecordingError, match="shorter than the log says"):
        Spool.find(spool.folder)
    lines = (spool.folder / LOG).read_bytes().splitlines(keepends=True)
    (spool.folder / LOG).write_bytes(b"".join([lines[0], *lines[2:]]))
    with pytest.raises(DamagedRecordingError, match="does not follow"):
        Spool.find(spool.folder)
    (spool.folder / LOG).write_bytes(b"".join(lines[1:]))
    with pytest.raises(DamagedRecordingError, match="does not begin"):
        Spool.find(spool.folder)
