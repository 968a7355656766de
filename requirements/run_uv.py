"""Runs uv with the package index, the folders of wheels and the certificates that pip is configured with.

    .venv/bin/python -m requirements.run_uv pip sync ...

uv reads none of pip's files and variables. What it is handed goes by the environment: an address may hold a password.
Standard library only, for it runs before anything is installed.
"""

import ast
import math
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

_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
"""As pip reads a switch."""


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
    if places := [place for word in pip.get("PIP_FIND_LINKS", "").split() if (place := _place(word))]:
        told["UV_FIND_LINKS"] = ",".join(places)
    if seconds := told.get("UV_HTTP_TIMEOUT"):
        told["UV_HTTP_TIMEOUT"] = str(math.ceil(float(seconds)))  # uv takes whole ones only
    if "SSL_CERT_FILE" not in told and "SSL_CERT_FILE" not in pip:
        told["UV_SYSTEM_CERTS"] = "1"  # an organisation's own certificate stands there
    return told


def options_for_uv(pip: Mapping[str, str]) -> list[str]:
    """What uv has no variable for."""
    return ["--no-index"] if pip.get("PIP_NO_INDEX", "").strip().lower() in _TRUE else []


def _place(word: str) -> str:
    """Of wheels: an address, or a folder. Empty: pip passes over a folder that is none; uv would not begin."""
    if re.match(r"\w+:", word):
        return word
    folder = Path(word).expanduser()
    return str(folder) if folder.exists() else ""


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
    command = (uv, *sys.argv[1:], *options_for_uv(settings))
    done = subprocess.run(command, env={**os.environ, **environment_for_uv(settings)}, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
