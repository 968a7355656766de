import pytest

from common.runtime.doctor import machine, network, redis
from tests.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer for a check than a person would wait."""
    for module in (machine, network, redis):
        monkeypatch.setattr(module, "DEADLINE_S", PATIENCE_S)
    monkeypatch.setattr(network, "STUN_DEADLINE_S", PATIENCE_S)
