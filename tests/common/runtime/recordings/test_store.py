"""Where recordings are kept: a folder and an S3 that answers, and what is said when it does not."""

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from common.config.settings import CaptureSettings
from common.runtime.recordings.store import AbsentError, Store, StoreError, TakenError
from common.wire import manifest

BUCKET: Final = "recordings"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 that holds one empty bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    requests.put(f"{address}/{BUCKET}", timeout=10).raise_for_status()
    yield address
    server.stop()


def s3_settings(address: str) -> CaptureSettings:
    options = {
        "endpoint": address,
        "region": "us-east-1",
        "allow_http": "true",
        "access_key_id": "an-id",
        "secret_access_key": "hunter2",
        "server_side_encryption": "AES256",
    }
    return CaptureSettings(
        store=f"s3://{BUCKET}/of/bots", store_options=options, storage_class="STANDARD_IA", store_timeout_s=3.0
    )


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    folder = CaptureSettings(store=str(tmp_path / "store"))
    store = Store(folder if request.param == "folder" else s3_settings(request.getfixturevalue("s3")))
    yield store
    store.close()


async def test_what_is_put_is_there_once_and_can_be_found_fetched_and_deleted(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"x" * 6_000_000)
    await store.put("b1/1/a.webm", b"abc", content_type="audio/webm")
    await store.put("b1/2/large", file)
    await store.put("b1/10/manifest.json", b"{}", once=True)
    await store.put("b11/1/a.webm", b"")
    await store.put(manifest.deleted("b1"), b"")
    with pytest.raises(TakenError):
        await store.put("b1/10/manifest.json", b"other", once=True)
    assert await store.get("b1/10/manifest.json") == b"{}"
    assert (await store.size("b1/1/a.webm"), await store.size("b1/2/large")) == (3, 6_000_000)
    assert await store.attempts("b1") == [1, 2, 10]
    assert await store.attempts("nobody") == []
    assert await store.delete("b1") == 3
    assert (await store.attempts("b1"), await store.attempts("b11")) == ([], [1])
    assert await store.exists(manifest.deleted("b1"))
    with pytest.raises(AbsentError):
        await store.get("b1/1/a.webm")
    with pytest.raises(AbsentError):
        await store.size("b1/1/a.webm")


async def test_what_is_given_up_while_it_is_saved_is_fetched_no_further(store: Store, tmp_path: Path) -> None:
    await store.put("b3/1/large", b"x" * 6_000_000)
    pieces, has_come, may_go_on = list[int](), threading.Event(), threading.Event()

    def came(size: int) -> None:
        pieces.append(size)
        has_come.set()
        may_go_on.wait(10)

    async with asyncio.TaskGroup() as tasks:
        saving = tasks.create_task(store.save("b3/1/large", tmp_path / "large", came))
        assert await asyncio.to_thread(has_come.wait, 10)
        saving.cancel()
    may_go_on.set()
    store.close()
    for thread in threading.enumerate():
        if thread.name.startswith("store"):
            await asyncio.to_thread(thread.join, 10)
    assert len(pieces) == 1


async def test_what_a_folder_was_given_is_on_the_disk_before_it_counts_as_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = list[Path](), os.fsync

    def note(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append(path)
        if path.is_dir():
            raise OSError(errno.EINVAL, "this file system syncs no folder")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    folder = tmp_path / "store"
    store = Store(CaptureSettings(store=str(folder)))
    await store.put("b1/1/a.webm", b"abc")
    assert synced == [folder / "b1/1/a.webm", folder / "b1/1", folder / "b1", folder]

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="Input/output error"):
        await store.put("b1/1/a.webm", b"abc")


async def test_a_link_lets_anybody_fetch_for_a_while_and_a_folder_has_none(s3: str, tmp_path: Path) -> None:
    store = Store(s3_settings(s3))
    await store.put("b2/1/audio.ogg", b"sound", content_type="audio/ogg")
    link = await store.link("b2/1/audio.ogg", 60)
    assert "hunter2" not in link
    answer: Any = await asyncio.to_thread(requests.get, link, timeout=10)
    assert (answer.content, answer.headers["Content-Type"]) == (b"sound", "audio/ogg")
    assert answer.headers["x-amz-storage-class"] == "STANDARD_IA"
    assert answer.headers["x-amz-server-side-encryption"] == "AES256"
    assert await Store(CaptureSettings(store=str(tmp_path))).link("b2/1/audio.ogg", 60) == ""


async def test_a_store_that_is_not_there_says_so_without_what_lets_one_in(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for address in ("http://127.0.0.1:1", f"http://127.0.0.1:{mute.getsockname()[1]}"):
            with pytest.raises(StoreError) as caught:
                await Store(s3_settings(address)).put("b1/1/a", b"abc")
            assert "hunter2" not in str(caught.value)
            assert "an-id" not in str(caught.value)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="File exists"):
        await Store(CaptureSettings(store=str(tmp_path / "file"))).put("b1/1/a", b"abc")


def test_options_that_no_store_has_are_refused_at_once() -> None:
    with pytest.raises(StoreError, match=r"cannot use capture\.store: .*colour"):
        Store(CaptureSettings(store="s3://b", store_options={"colour": "red"}))
