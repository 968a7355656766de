"""The store of recordings: a folder or an object store, as `capture.store` names it.

Every call has a deadline and raises StoreError, whose text says what failed and contains no secret.
"""

import asyncio
import errno
import io
import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from common.config.settings import CaptureSettings
from common.errors import PoolmgrError
from common.wire.manifest import DELETED

_THREADS: Final = 4
_DELETED_AT_ONCE: Final = 1000
_SLOWEST: Final = 1e6
"""Bytes a second. A transfer that is slower than this fails at its deadline."""
_PART: Final = 5 << 20
"""Bytes. What is larger goes and comes in parts of this size: each is a request, and a break costs no more than one."""
_PARTS_AT_ONCE: Final = 2
_AGAIN_AFTER_S: Final = (0.5, 2.0, 8.0)
"""For a part that did not come whole."""
_T = TypeVar("_T")


class StoreError(PoolmgrError):
    """A call to the store failed; the message says why."""


class AbsentError(StoreError):
    """The store has no such object."""


class TakenError(StoreError):
    """The store has such an object already, and it must not be replaced."""


class Store:
    """Paths are relative to `capture.store`, and use slashes.

    Calls run in threads of its own: obstore's coroutines can abort an interpreter that ends soon after one (0.12), and
    a store that hangs must not block anything else.
    """

    def __init__(self, settings: CaptureSettings) -> None:
        """Does not call the store yet. Raises: StoreError when the settings cannot be used."""
        self._deadline_s = settings.store_timeout_s
        self._attributes = {"Storage-Class": settings.storage_class} if settings.storage_class else {}
        self.folder = Path(settings.store) if settings.store.startswith("/") else None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self._remote: Any = None
        try:
            if self.folder is None:
                self._remote = from_url(
                    settings.store,
                    config=cast(Any, _config(settings.store_options)),
                    client_options=cast(Any, _client(settings)),
                    retry_config={"max_retries": 0},  # the caller repeats the call, and logs it
                )
        except (BaseError, ValueError) as error:
            raise StoreError(f"cannot use capture.store: {_why(error)}") from error

    async def put(self, path: str, what: bytes | Path, *, once: bool = False, content_type: str = "") -> None:
        """Store an object atomically; one in a folder is on the disk afterwards. `once`: only if there is none yet.
        Raises: StoreError, TakenError.
        """
        how: dict[str, Any] = {}
        attributes = {**self._attributes, **({"Content-Type": content_type} if content_type else {})}
        if self._remote is not None and attributes:
            how["attributes"] = attributes
        size = _bytes_of(what)
        in_parts = self._remote is not None and size > _PART and not once
        if in_parts:
            how |= {"chunk_size": _PART, "max_concurrency": _PARTS_AT_ONCE}
        if once:
            how |= {"mode": "create", "use_multipart": False}
        is_given_up = threading.Event()

        def put() -> None:
            self._store().put(path, _pieces(what, is_given_up) if in_parts else what, **how)
            if self.folder is not None:
                _sync(self.folder, path)

        try:
            await self._call(put, size)
        finally:
            is_given_up.set()

    async def sync(self, path: str) -> None:
        """Have an object on the disk, if the store is a folder: one that is there may be from a call that failed before
        it was. Raises: StoreError, AbsentError.
        """
        if self.folder is not None:
            folder = self.folder
            await self._call(lambda: _sync(folder, path))

    async def get(self, path: str) -> bytes:
        """The content of an object. Raises: StoreError, AbsentError."""
        return await self._call(lambda: bytes(self._store().get(path).bytes()))

    async def save(self, path: str, to: Path, came: Callable[[int], None] = lambda _size: None) -> None:
        """Save an object in the file `to`, part by part. `came`: called with the size of each part that came, in
        another thread. If it is cancelled, nothing more is fetched after the part that is under way.

        Raises: StoreError, AbsentError.
        """
        size, is_given_up = await self.size(path), threading.Event()  # or the thread would go on, and hold the program

        def saved() -> None:
            with to.open("wb") as file:
                for begins in range(0, size, _PART):
                    part = self._part(path, begins, min(begins + _PART, size), is_given_up)
                    if is_given_up.is_set():
                        return
                    came(file.write(part))

        try:
            await self._call(saved, size)
        finally:
            is_given_up.set()

    def _part(self, path: str, begins: int, end: int, is_given_up: threading.Event) -> bytes:
        """What the object has from `begins` to `end`, asked for again after a break. Raises: what obstore may raise."""
        for pause_s in _AGAIN_AFTER_S:
            try:
                return bytes(self._store().get_range(path, start=begins, end=end))
            except FileNotFoundError:
                raise
            except (BaseError, OSError):
                if is_given_up.wait(pause_s):
                    raise
        return bytes(self._store().get_range(path, start=begins, end=end))

    def path(self, path: str) -> Path | None:
        """Where the object is in the file system; None if the store is no folder."""
        return self.folder / path if self.folder else None

    async def size(self, path: str) -> int:
        """The size of an object in bytes. Raises: StoreError, AbsentError."""
        return await self._call(lambda: int(self._store().head(path)["size"]))

    async def exists(self, path: str) -> bool:
        """Raises: StoreError."""
        try:
            await self.size(path)
        except AbsentError:
            return False
        return True

    async def attempts(self, bot_id: str) -> list[int]:
        """The numbers of the attempts of a bot that have objects, in order. Raises: StoreError."""

        def listed() -> list[int]:
            found = self._store().list_with_delimiter(f"{bot_id}/")
            names = (str(prefix).rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])
            return sorted(int(name) for name in names if name.isdecimal())

        return await self._call(listed)

    async def delete(self, bot_id: str) -> int:
        """Delete all objects of a bot but the mark that it was deleted. Returns how many there were. Raises:
        StoreError.
        """

        def deleted() -> int:
            store = self._store()
            found = (str(entry["path"]) for page in store.list(f"{bot_id}/") for entry in page)
            paths = [path for path in found if path.rpartition("/")[2] != DELETED]
            for at in range(0, len(paths), _DELETED_AT_ONCE):
                store.delete(paths[at : at + _DELETED_AT_ONCE])
            return len(paths)

        return await self._call(deleted)

    async def remove(self, path: str) -> None:
        """Delete one object, if it is there. Raises: StoreError."""
        with suppress(AbsentError):
            await self._call(lambda: self._store().delete(path))

    async def link(self, path: str, life_s: int) -> str:
        """A signed address at which anybody can fetch the object for that time; empty for a folder. Raises:
        StoreError.
        """
        if self._remote is None:
            return ""
        return await self._call(lambda: str(obstore.sign(self._remote, "GET", path, timedelta(seconds=life_s))))

    def close(self) -> None:
        """Close the threads without waiting for running calls."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _store(self) -> Any:
        """The obstore client. A folder is made at its first use. Raises: OSError."""
        if self.folder is None:
            return self._remote
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(self.folder, automatic_cleanup=True)

    async def _call(self, call: Callable[[], _T], size: int = 0) -> _T:
        """Run `call` in a thread, with a deadline. `size`: how many bytes it transfers."""
        deadline_s = self._deadline_s + size / _SLOWEST
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except AlreadyExistsError as error:
            raise TakenError("there is such an object already") from error
        except FileNotFoundError as error:
            raise AbsentError("there is no such object") from error
        except TimeoutError as error:
            raise StoreError(f"no answer within {deadline_s:.0f} s") from error
        except (BaseError, OSError, ValueError) as error:
            raise StoreError(_why(error)) from error


def _sync(folder: Path, path: str) -> None:
    """Wait until the disk has the object, and each folder on the way to it. obstore does not. Raises: OSError."""
    there = folder / path
    for each in (there, *there.parents):
        descriptor = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL or each == there:  # file systems that sync no folder say so
                raise
        finally:
            os.close(descriptor)
        if each == folder:
            return


def _pieces(what: bytes | Path, is_given_up: threading.Event) -> Generator[bytes]:
    """What is to be put, piece by piece. Once nobody waits for it any more it raises TimeoutError, and obstore aborts
    the upload.
    """
    with io.BytesIO(what) if isinstance(what, bytes) else what.open("rb") as file:
        while piece := file.read(_PART):
            if is_given_up.is_set():
                raise TimeoutError
            yield piece


def _bytes_of(what: bytes | Path) -> int:
    return what.stat().st_size if isinstance(what, Path) else len(what)


def _config(options: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if name not in _CLIENT}


_CLIENT: Final = ("allow_http", "proxy_url")


def _client(settings: CaptureSettings) -> dict[str, Any]:
    own = {name: value for name, value in settings.store_options.items() if name in _CLIENT}
    if "allow_http" in own:
        own = {**own, "allow_http": cast(Any, own["allow_http"].lower() in ("true", "1", "yes"))}
    # The time of one request, whose part or object goes or comes meanwhile, beside another one at the slowest.
    longest_s = settings.store_timeout_s + _PARTS_AT_ONCE * _PART / _SLOWEST
    return {**own, "timeout": timedelta(seconds=longest_s)}


def _why(error: Exception) -> str:
    """The error as one line without secrets: obstore quotes failed requests with their signature."""
    lines = str(error).strip().splitlines()
    return lines[0].partition("?")[0][:200] if lines else type(error).__name__
