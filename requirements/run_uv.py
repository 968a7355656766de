"""Runs uv with the package index, the folders of wheels and the certificates that pip is configured with.

    .venv/bin/python -m requirements.run_uv pip sync ...

uv reads none of pip's files and variables. What it is handed goes by the environment: an address may hold a password.
Standard library only, for it runs before anything is installed.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_ASK_S: Final = 60.0
_LISTS: Final = {"PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_TRUSTED_HOST": "UV_INSECURE_HOST"}
_SINGLE: Final = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX",),
    "PIP_CERT": ("SSL_CERT_FILE",),
    "PIP_CLIENT_CERT": ("SSL_CLIENT_CERT",),
    "PIP_PROXY": ("HTTP_PROXY", "HTTPS_PROXY"),
    "PIP_TIMEOUT": ("UV_HTTP_TIMEOUT",),
    "PIP_DEFAULT_TIMEOUT": ("UV_HTTP_TIMEOUT",),
}


def read_pip_settings(lines: Iterable[str]) -> dict[str, str]:
    """From lines of `pip config list`, as the environment variables that mean the same."""
    settings: dict[str, str] = {}
    for line in lines:
        name, is_setting, value = line.partition("=")
        section, _, key = name.partition(".")
        if is_setting and section in ("global", "install"):
            settings[f"PIP_{key.upper().replace('-', '_')}"] = str(ast.literal_eval(value))
    return settings


def environment_for_uv(pip: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell uv what `pip`, variables of pip, tell pip."""
    # Every file is held against its hash, so whichever index offers it will do: as with pip.
    told = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}
    for theirs, ours in _LISTS.items():
        if words := pip.get(theirs, "").split():
            told[ours] = " ".join(words)
    for theirs, several in _SINGLE.items():
        if value := pip.get(theirs, "").strip():
            told |= dict.fromkeys(several, value)
    if folders := [place for place in pip.get("PIP_FIND_LINKS", "").split() if _may_be_there(place)]:
        told["UV_FIND_LINKS"] = ",".join(folders)
    if "SSL_CERT_FILE" not in told and "SSL_CERT_FILE" not in pip:
        told["UV_SYSTEM_CERTS"] = "1"  # an organisation's own certificate stands there
    return told


def _may_be_there(place: str) -> bool:
    """A folder that is none is passed over by pip; uv would refuse to begin."""
    return re.match(r"\w+:", place) is not None or Path(place).expanduser().exists()


def main() -> None:
    pip = subprocess.run(
        (sys.executable, "-m", "pip", "config", "list"), capture_output=True, text=True, timeout=_ASK_S, check=True
    )
    settings = {**read_pip_settings(pip.stdout.splitlines()), **os.environ}
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        sys.exit(
            f"cannot find uv: {sys.executable} -m pip install --require-hashes -r requirements/uv.txt puts it there"
        )
    done = subprocess.run((uv, *sys.argv[1:]), env={**os.environ, **environment_for_uv(settings)}, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
