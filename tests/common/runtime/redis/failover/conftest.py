import pytest

from common.runtime.redis.failover import topology
from tests.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Of a busy machine a sentinel or a node may answer later than the HTTP API can wait."""
    monkeypatch.setattr(topology, "ANSWER_S", PATIENCE_S)
