"""What of a bot's story is trouble of its recording."""

from poolmgr.store.story import Entry, What
from poolmgr.telling.capture_trouble import capture_trouble


def said(*lines: str, attempt: int = 1) -> list[Entry]:
    return [Entry("", What.SAW, attempt, did=line) for line in lines]


def test_only_what_the_attempt_said_of_its_recording_counts() -> None:
    story = [
        *said("capture_failed: one", attempt=1), Entry("", What.ASSIGNED, 2),
        *said("capture_failed: two", "fill_name_and_join", attempt=2),
    ]  # fmt: skip
    assert capture_trouble(story, 2) == ["capture_failed: two"]


def test_of_many_failures_the_latest_ten_are_told_each_once() -> None:
    story = said(*(f"capture_failed: {number}" for number in range(30)), "capture_failed: 3", "capture_failed: 29")
    assert capture_trouble(story, 1) == [f"capture_failed: {number}" for number in (*range(21, 29), 3, 29)]


def test_that_the_store_is_away_or_the_disk_fails_is_told_while_it_is() -> None:
    away = said("the store does not take the recording, which waits on the disk: its answer")
    back = said("the store takes the recording again")
    assert capture_trouble([*away, *back], 1) == []
    assert capture_trouble([*back, *away], 1) == ["the store does not take the recording, which waits on the disk"]
    disk = said("the disk of worker.state_dir fails: [Errno 5] Input/output error")
    assert capture_trouble([*away, *disk], 1) == ["the disk of worker.state_dir fails"]
    assert capture_trouble([*disk, *back], 1) == []
