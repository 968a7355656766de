"""What a file and the environment set, told apart from what nobody thought of."""

from pathlib import Path

import pytest

from common.config.settings import BadSettingsError
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


def test_credentials_of_systemd_are_read_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis_url").write_text("redis://:secret@127.0.0.1:6380/0\n")
    (tmp_path / "evidence_upload_token").write_text("t")
    (tmp_path / "of_somebody_else").write_text("x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("POOLMGR_EVIDENCE__UPLOAD_URL", "https://objects.example/bots")
    settings = config.load(None)
    assert settings.redis.url == "redis://:secret@127.0.0.1:6380/0"
    assert settings.evidence.upload_token_file == str(tmp_path / "evidence_upload_token")
    assert config.overriding()["redis.url"] == config.named(None)["redis.url"] == "credential redis_url"


def test_a_credential_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "webhook_secrets").write_bytes(b"\xff")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(BadSettingsError, match=r"^credential webhook_secrets: cannot read "):
        config.load(None)
