"""uv is told what pip is told."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from requirements.run_uv import environment_for_uv, main, options_for_uv, read_pip_settings

ALWAYS = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}


def test_pips_settings_become_variables() -> None:
    lines = ["global.cert='/a/ca.crt'", "install.no-binary='x'", ":env:.find-links='/b'", "download.dest='/c'", ""]
    assert read_pip_settings(lines) == {"PIP_CERT": "/a/ca.crt", "PIP_NO_BINARY": "x"}


def test_what_is_said_for_installing_counts_more_than_what_is_said_for_all() -> None:
    lines = ["global.index-url='https://mirror.test/all'", "install.index-url='https://mirror.test/install'"]
    assert read_pip_settings(lines) == {"PIP_INDEX_URL": "https://mirror.test/install"}


def test_index_wheels_certificate_and_proxy_are_handed_on(tmp_path: Path) -> None:
    assert environment_for_uv(
        {
            "PIP_INDEX_URL": "https://user:secret@mirror.test/simple",
            "PIP_EXTRA_INDEX_URL": "https://more.test/simple\nfile:///srv/simple",
            "PIP_FIND_LINKS": f"{tmp_path} https://wheels.test/ /nowhere/at/all",
            "PIP_TRUSTED_HOST": "mirror.test\nmore.test",
            "PIP_CERT": "/etc/ca.crt",
            "PIP_CLIENT_CERT": "/etc/client.pem",
            "PIP_PROXY": "http://proxy.test:3128",
            "PIP_DEFAULT_TIMEOUT": "7.5",
            "HOME": "/root",
        }
    ) == ALWAYS | {
        "UV_DEFAULT_INDEX": "https://user:secret@mirror.test/simple",
        "UV_INDEX": "https://more.test/simple file:///srv/simple",
        "UV_FIND_LINKS": f"{tmp_path},https://wheels.test/",
        "UV_INSECURE_HOST": "mirror.test more.test",
        "SSL_CERT_FILE": "/etc/ca.crt",
        "SSL_CLIENT_CERT": "/etc/client.pem",
        "HTTP_PROXY": "http://proxy.test:3128",
        "HTTPS_PROXY": "http://proxy.test:3128",
        "UV_HTTP_TIMEOUT": "8",
    }


def test_a_folder_of_wheels_at_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "wheels").mkdir()
    assert environment_for_uv({"PIP_FIND_LINKS": "~/wheels ~/none"})["UV_FIND_LINKS"] == f"{tmp_path}/wheels"


@pytest.mark.parametrize(("value", "options"), [("True", ["--no-index"]), ("1", ["--no-index"]), ("0", []), ("", [])])
def test_an_index_that_is_not_to_be_asked_is_not_asked(value: str, options: list[str]) -> None:
    assert options_for_uv({"PIP_NO_INDEX": value}) == options


def test_uv_is_carried_out_with_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[tuple[str, ...], dict[str, str]]] = []

    def run(command: tuple[str, ...], *, env: dict[str, str] | None = None, **_: object) -> Any:
        if env is not None:
            done.append((tuple(map(str, command)), env))
        return subprocess.CompletedProcess(
            command, 3, stdout=f"global.no-index='true'\nglobal.find-links='{tmp_path}'\n"
        )

    for name in ("PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "uv").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["run_uv", "pip", "sync", "dev.txt"])
    with pytest.raises(SystemExit, match="3"):
        main()
    [(command, environment)] = done
    assert command[1:] == ("pip", "sync", "dev.txt", "--no-index")
    assert environment["UV_FIND_LINKS"] == str(tmp_path)


def test_without_a_certificate_of_its_own_the_machines_are_trusted() -> None:
    assert environment_for_uv({}) == ALWAYS | {"UV_SYSTEM_CERTS": "1"}
    assert environment_for_uv({"SSL_CERT_FILE": "/etc/ca.crt"}) == ALWAYS
