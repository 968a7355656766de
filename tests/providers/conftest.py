"""moto's server, shared by the tests of this folder that need it: each has a group of its own."""

from collections.abc import Generator

import pytest

from tests.moto_server import moto_server


@pytest.fixture(scope="package")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server
