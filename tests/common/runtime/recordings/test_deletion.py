"""The mark in the store that a bot was deleted says when."""

from pathlib import Path
from typing import Final

from common.config.settings import CaptureSettings
from common.runtime.recordings import deletion
from common.runtime.recordings.store import Store
from common.wire import manifest

NOW: Final = 1_700_000_000.1


async def test_a_mark_says_when_what_there_was_was_deleted_last(tmp_path: Path) -> None:
    store = Store(CaptureSettings(store=str(tmp_path)))
    assert not await deletion.is_deleted(store, "b1")
    assert await deletion.marked_at(store, "b1") is None
    await store.put("b1/1/audio.ogg", b"something")
    assert [await deletion.delete(store, "b1", at) for at in (NOW, NOW + 1)] == [1, 0]
    assert await deletion.is_deleted(store, "b1")
    assert await deletion.marked_at(store, "b1") == NOW + 1
    await deletion.remove_mark(store, "b1")
    assert await deletion.marked_at(store, "b1") is None


async def test_a_mark_of_an_earlier_release_does_not_say_when(tmp_path: Path) -> None:
    store = Store(CaptureSettings(store=str(tmp_path)))
    await store.put(manifest.deleted("b1"), b"")
    assert await deletion.is_deleted(store, "b1")
    assert await deletion.marked_at(store, "b1") is None
