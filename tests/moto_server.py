"""moto's server: Amazon's services in memory. It knows no lifecycle hooks, no throttling, and is never behind."""

import importlib
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest

from lab.parts.ports import free_ports
from tests.waiting import PATIENCE_S


class MotoServer:
    """A context manager. The server begins at once, and is waited for by whoever asks for its address."""

    def __init__(self, folder: Path) -> None:
        (self._port,) = free_ports(1)
        self._log = folder / "log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port))
            # Without the images that Amazon offers, which take seconds to read.
            environment = {**os.environ, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def url(self) -> str:
        """Its address, as soon as it answers."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self._port)):
                return f"http://127.0.0.1:{self._port}"
            assert Path(f"/proc/{self._process.pid}").exists(), self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, "moto's server does not answer"
            time.sleep(0.02)


@cache
def _loader(data_path: str | None) -> Any:
    return importlib.import_module("botocore.loaders").create_loader(data_path)


@pytest.fixture(autouse=True)
def descriptions_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that describe Amazon's calls: a program has one session, which reads them for a third of a second. For
    a folder whose tests have a session each.
    """
    monkeypatch.setattr("botocore.session.create_loader", _loader)


@cache
def aws_session() -> Any:
    """One for all clients: each of its own would read the descriptions of services again."""
    # Takes a third of a second, and every process collects the files that need it.
    from aiobotocore.session import get_session  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    return get_session()


def aws_client(service: str, server: str) -> Any:
    return aws_session().create_client(
        service,
        region_name="eu-west-1",
        endpoint_url=server,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
