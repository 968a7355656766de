"""moto's server, shared by the tests of this folder that need it: each has a group of its own."""

import importlib
from collections.abc import Generator
from functools import cache
from typing import Any

import pytest

from tests.moto_server import moto_server


@pytest.fixture(scope="package")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@cache
def _loader(data_path: str | None) -> Any:
    return importlib.import_module("botocore.loaders").create_loader(data_path)


@pytest.fixture(autouse=True)
def descriptions_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that describe Amazon's calls: a manager has one provider, which reads them for a third of a second."""
    monkeypatch.setattr("botocore.session.create_loader", _loader)
