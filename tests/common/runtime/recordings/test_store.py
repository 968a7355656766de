"""Where recordings are kept: a folder and an S3 that answers, and what is said when it does not."""

import asyncio
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
import requests

from common.config.settings import CaptureSettings
from common.runtime.recordings.store import AbsentError, Store, StoreError, TakenError
from common.wire import manifest
from tests.waiting import PATIENCE_S, wait_until

BUCKET: Final = "recordings"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 that holds one empty bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    requests.put(f"{address}/{BUCKET}", timeout=PATIENCE_S).raise_for_status()
    yield address
    server.stop()


def s3_settings(address: str, timeout_s: float = PATIENCE_S) -> CaptureSettings:
    options = {
        "endpoint": address,
        "region": "us-east-1",
        "allow_http": "true",
        "access_key_id": "an-id",
        "secret_access_key": "hunter2",
        "server_side_encryption": "AES256",
    }
    return CaptureSettings(
        store=f"s3://{BUCKET}/of/bots", store_options=options, storage_class="STANDARD_IA", store_timeout_s=timeout_s
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
    await store.sync("b1/10/manifest.json")
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
        may_go_on.wait(PATIENCE_S)

    async with asyncio.TaskGroup() as tasks:
        saving = tasks.create_task(store.save("b3/1/large", tmp_path / "large", came))
        assert await asyncio.to_thread(has_come.wait, PATIENCE_S)
        saving.cancel()
    may_go_on.set()
    await asyncio.to_thread(store._threads.shutdown)  # pyright: ignore[reportPrivateUsage]  # until it has ended
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
    await store.sync("b1/1/a.webm")
    assert synced[4:] == synced[:4], "also what a call left that failed in between"

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="Input/output error"):
        await store.put("b1/1/a.webm", b"abc")


RATE: Final = 4_000_000
"""Bytes a second, both ways."""


class SlowS3(BaseHTTPRequestHandler):
    """`asked`: each request, with what it asks for. `breaks`: how many answers break off in the middle."""

    protocol_version = "HTTP/1.1"
    content: bytes
    asked: ClassVar[list[tuple[str, str]]]
    breaks: int
    line: threading.Lock

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_POST(self) -> None:
        self._take()
        begins = "uploads" in self.path
        word = "InitiateMultipartUploadResult" if begins else "CompleteMultipartUploadResult"
        self._answer(f"<{word}><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId><ETag>x</ETag></{word}>".encode())

    def do_PUT(self) -> None:
        self._take()
        self._answer()

    def do_DELETE(self) -> None:
        self.do_PUT()

    def do_HEAD(self) -> None:
        self.do_PUT()

    def do_GET(self) -> None:
        self._take()
        begins, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self._answer(self.content[begins : end + 1], 206, f"bytes {begins}-{end}/{len(self.content)}")

    def _take(self) -> None:
        self.asked.append((self.command, self.headers.get("Range") or self.path.partition("?")[2]))
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            with self.line:
                taken = len(self.rfile.read(min(100_000, left)))
                time.sleep(taken / RATE)
            if not taken:
                return
            left -= taken

    def _answer(self, content: bytes = b"", code: int = 200, of: str = "") -> None:
        with suppress(OSError):
            self.send_response(code)
            self.send_header("Content-Length", str(len(self.content if self.command == "HEAD" else content)))
            self.send_header("Last-Modified", "Wed, 21 Oct 2026 07:28:00 GMT")
            self.send_header("ETag", '"x"')
            if of:
                self.send_header("Content-Range", of)
            self.end_headers()
            for at in range(0, len(content), 400_000):
                if at > 1_000_000 and type(self).breaks:
                    type(self).breaks -= 1
                    self.close_connection = True
                    return
                self.wfile.write(content[at : at + 400_000])
                time.sleep(400_000 / RATE)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[type[SlowS3], Store]]:
    class Slow(SlowS3):
        content = os.urandom(12_000_000)
        asked: ClassVar = []
        breaks = 0
        line = threading.Lock()

    handler = Slow
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = Store(s3_settings(f"http://127.0.0.1:{server.server_port}", timeout_s=1.0))

        async def size(_: str) -> int:  # a question that a busy machine does not answer within a second
            return len(handler.content)

        monkeypatch.setattr(store, "size", size)
        yield handler, store
        store.close()
        server.shutdown()


async def test_what_is_large_has_its_time_on_a_slow_line(slow: tuple[type[SlowS3], Store], tmp_path: Path) -> None:
    s3, store = slow
    (tmp_path / "large").write_bytes(s3.content)
    await store.put("b1/1/video.mp4", tmp_path / "large")
    assert [command for command, _ in s3.asked] == ["POST", "PUT", "PUT", "PUT", "POST"]
    s3.breaks = 1
    came = list[int]()
    await store.save("b1/1/video.mp4", tmp_path / "saved", came.append)
    assert (tmp_path / "saved").read_bytes() == s3.content
    parts = [what for command, what in s3.asked if command == "GET"]
    assert parts == ["bytes=0-5242879", *parts[:1], "bytes=5242880-10485759", "bytes=10485760-11999999"]
    assert sum(came) == len(s3.content)


async def test_what_is_not_put_in_time_is_aborted(
    slow: tuple[type[SlowS3], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3, store = slow
    (tmp_path / "large").write_bytes(2 * s3.content)
    monkeypatch.setattr("common.runtime.recordings.store._SLOWEST", 1e9)
    with pytest.raises(StoreError, match="no answer within 1 s"):
        await store.put("b1/1/video.mp4", tmp_path / "large")
    await wait_until(lambda: ("DELETE", "uploadId=u") in s3.asked)
    assert [command for command, _ in s3.asked if command != "PUT"] == ["POST", "DELETE"]


async def test_a_part_that_does_not_come_is_not_asked_for_for_ever(
    slow: tuple[type[SlowS3], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3, store = slow
    s3.breaks = 100
    monkeypatch.setattr("common.runtime.recordings.store._AGAIN_AFTER_S", (0.01, 0.01))
    with pytest.raises(StoreError):
        await store.save("b1/1/video.mp4", tmp_path / "saved")
    assert [command for command, _ in s3.asked].count("GET") == 3


async def test_a_link_lets_anybody_fetch_for_a_while_and_a_folder_has_none(s3: str, tmp_path: Path) -> None:
    store = Store(s3_settings(s3))
    await store.put("b2/1/audio.ogg", b"sound", content_type="audio/ogg")
    link = await store.link("b2/1/audio.ogg", 60)
    assert "hunter2" not in link
    answer: Any = await asyncio.to_thread(requests.get, link, timeout=PATIENCE_S)
    assert (answer.content, answer.headers["Content-Type"]) == (b"sound", "audio/ogg")
    assert answer.headers["x-amz-storage-class"] == "STANDARD_IA"
    assert answer.headers["x-amz-server-side-encryption"] == "AES256"
    assert await Store(CaptureSettings(store=str(tmp_path))).link("b2/1/audio.ogg", 60) == ""


async def test_a_store_that_is_not_there_says_so_without_what_lets_one_in(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for address in ("http://127.0.0.1:1", f"http://127.0.0.1:{mute.getsockname()[1]}"):
            with pytest.raises(StoreError) as caught:
                await Store(s3_settings(address, timeout_s=3.0)).put("b1/1/a", b"abc")
            assert "hunter2" not in str(caught.value)
            assert "an-id" not in str(caught.value)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="File exists"):
        await Store(CaptureSettings(store=str(tmp_path / "file"))).put("b1/1/a", b"abc")


def test_options_that_no_store_has_are_refused_at_once() -> None:
    with pytest.raises(StoreError, match=r"cannot use capture\.store: .*colour"):
        Store(CaptureSettings(store="s3://b", store_options={"colour": "red"}))
