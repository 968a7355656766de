"""What a file and the environment set, told apart from what nobody thought of."""

from pathlib import Path

import pytest

from common.runtime import config


def test_a_setting_that_is_named_is_known_with_what_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[redis]\nurl = "redis://127.0.0.1:6379/0"\n[pool]\nmin_idle = 2\n')
    monkeypatch.setenv("POOLMGR_pool__min_idle", "3")
    monkeypatch.setenv("POOLMGR_API__LISTEN", ":8080")
    monkeypatch.setenv("POOLMGR_CONFIG", "is no setting")
    found = {name: by for name, by in config.named(file).items() if name.partition(".")[0] in ("redis", "pool", "api")}
    assert found == {  # the default's own value is as good as any other
        "redis.url": str(file),
        "pool.min_idle": "POOLMGR_pool__min_idle",
        "api.listen": "POOLMGR_API__LISTEN",
    }
    assert "redis.url" not in config.named(None)
