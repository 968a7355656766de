"""uv is told what pip is told."""

from pathlib import Path

from requirements.run_uv import environment_for_uv, read_pip_settings

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
            "PIP_DEFAULT_TIMEOUT": "180",
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
        "UV_HTTP_TIMEOUT": "180",
    }


def test_without_a_certificate_of_its_own_the_machines_are_trusted() -> None:
    assert environment_for_uv({}) == ALWAYS | {"UV_SYSTEM_CERTS": "1"}
    assert environment_for_uv({"SSL_CERT_FILE": "/etc/ca.crt"}) == ALWAYS
