"""Grafana, where it is installed, with Prometheus as its source and the dashboards of deploy/grafana, without a sign-in
for users of this machine. It is never downloaded, because nothing else of this project needs it.
"""

import os
import shutil
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from lab.watch.dashboards import FOLDER

_HOMES: Final = ("/usr/share/grafana",)
"""Where Grafana's packages install its files. The archive has them in the folder above its program."""


class Grafana(NamedTuple):
    """`command`: starts it. `home`: the folder with its conf/defaults.ini."""

    command: tuple[str, ...]
    home: Path


def find_grafana(path: str | None = None) -> Grafana | None:
    """The program of Grafana 9.4 or newer (`grafana server`), or of an older one; None: it is not installed. `path`:
    where to look, as PATH.
    """
    places = path or os.pathsep.join([os.environ.get("PATH", os.defpath), *(f"{home}/bin" for home in _HOMES)])
    for name, words in (("grafana", ("server",)), ("grafana-server", ())):
        if program := shutil.which(name, path=places):
            for home in (Path(program).resolve().parents[1], *map(Path, _HOMES)):
                if (home / "conf" / "defaults.ini").exists():
                    return Grafana((program, *words), home)
    return None


def provision(grafana: Grafana, folder: Path, port: int, prometheus: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Write its configuration into `folder`. Returns its command and its environment."""
    source = {"name": "Prometheus", "type": "prometheus", "access": "proxy", "url": prometheus, "isDefault": True}
    provider = {"name": "poolmgr", "type": "file", "options": {"path": str(FOLDER)}}
    provisioning = folder / "provisioning"
    for what, said in (
        ("datasources", {"apiVersion": 1, "datasources": [source]}),
        ("dashboards", {"apiVersion": 1, "providers": [provider]}),
        ("plugins", {"apiVersion": 1}),
        ("alerting", {"apiVersion": 1}),
    ):
        (provisioning / what).mkdir(parents=True)
        (provisioning / what / "poolmgr.yaml").write_text(yaml.safe_dump(said))
    environment = {
        "GF_PATHS_DATA": str(folder / "data"),
        "GF_PATHS_LOGS": str(folder / "log"),
        "GF_PATHS_PLUGINS": str(folder / "plugins"),
        "GF_PATHS_PROVISIONING": str(provisioning),
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Editor",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
    }
    return (*grafana.command, f"--homepath={grafana.home}"), environment
