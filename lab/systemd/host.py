"""What this machine knows about package servers, for use in another Debian: apt's sources and options, pip's settings,
proxies, certificates.

This project contains no address of a package server: where this machine can install packages, the other one can, too.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from lab.systemd.report import FleetError
from requirements.run_uv import read_pip_settings

SUITE: Final = "bookworm"
MIRROR_VARIABLE: Final = "POOLMGR_FLEET_MIRROR"
CARRIED: Final = "/mnt/host"
"""The folder in which the other machine sees files of this one. It hides none of its own files."""

_VARIABLES: Final = re.compile(r"PIP_.+|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(?i:(https?|ftp|no)_proxy)")
_NOT_OURS: Final = re.compile(r"PIP_(REQUIRE_VIRTUALENV|TARGET|PREFIX|USER|CACHE_DIR|CONFIG_FILE|PYTHON|LOG)")
_PATH: Final = re.compile(r"(?<![^\s=])(file://)?(/[^\s]+)")


class Source(NamedTuple):
    """One line of a sources.list."""

    uri: str
    suite: str
    component: str

    def __str__(self) -> str:
        return f"deb {self.uri} {self.suite} {self.component}"


class Carried(NamedTuple):
    """`environment`: for the other machine. `binds`: paths there -> paths here."""

    environment: dict[str, str]
    binds: dict[str, str]


def sources() -> list[Source]:
    """The sources of Debian 12 that this machine's apt uses; the suite itself comes first. Raises: FleetError."""
    if mirror := os.environ.get(MIRROR_VARIABLE):
        return [Source(mirror, SUITE, "main")]
    wanted = "$(CODENAME) $(REPO_URI) $(COMPONENT) $(ORIGIN)"
    listed = _ask("apt-get", "indextargets", "--format", wanted, "Created-By: Packages")
    found = read_sources(listed.splitlines())
    if not found or found[0].suite != SUITE:
        raise FleetError(
            f"cannot build a Debian 12: apt of this machine has no source of {SUITE}; name a mirror in"
            f" {MIRROR_VARIABLE}"
        )
    return found


def read_sources(lines: Iterable[str]) -> list[Source]:
    """The sources in lines of codename, address, component and origin, each once."""
    found: dict[Source, None] = {}
    for line in lines:
        match line.split():
            case [suite, uri, "main", "Debian"] if suite == SUITE or suite.startswith(f"{SUITE}-"):
                found[Source(uri, suite, "main")] = None
            case _:
                pass
    return sorted(found, key=lambda source: (source.suite != SUITE, source.suite))


def apt_options() -> str:
    """How this machine's apt fetches packages (proxies, certificates, patience), as a file for apt.conf.d."""
    dumped = _ask("apt-config", "dump", "Acquire").splitlines()
    # Settings about its own credentials and lists are left out.
    kept = [line for line in dumped if re.match(r"Acquire::(https?|ftp|Retries|Check-|Allow|Languages|By-Hash)", line)]
    return "\n".join([*kept, 'APT::Get::Assume-Yes "true";', ""])


def proxies_of_apt(options: str) -> dict[str, str]:
    """The same as environment variables, for programs other than apt."""
    found = re.findall(r'^Acquire::(https?)::Proxy "(\S+)";$', options, re.MULTILINE)
    return {f"{scheme}_proxy": address for scheme, address in found if address != "DIRECT"}


def carried() -> Carried:
    """The environment and files with which pip and apt of this machine fetch packages."""
    listed = _ask(sys.executable, "-m", "pip", "config", "list").splitlines()
    return carry({**read_pip_settings(listed), **os.environ})


def carry(environment: Mapping[str, str]) -> Carried:
    """Those of the settings that are about fetching, with every file that they name at its place on the other
    machine.
    """
    carried = Carried({}, {})
    for name, value in environment.items():
        if _VARIABLES.fullmatch(name) and not _NOT_OURS.fullmatch(name):
            carried.environment[name] = _PATH.sub(lambda found: _move(found, carried.binds), value)
    return carried


def _move(found: re.Match[str], binds: dict[str, str]) -> str:
    scheme, path = found[1] or "", Path(found[2])
    if not path.exists():
        return found[0]
    # An index of local files names them relative to itself, mostly beside it.
    root = path.parent if scheme and path.parent != Path("/") else path
    binds[str(root)] = f"{CARRIED}{root}"
    return f"{scheme}{CARRIED}{path}"


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", "") or error
        raise FleetError(f"cannot ask this machine: {' '.join(command[:3])}: {words}") from error
