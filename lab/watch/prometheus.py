"""Starts a Prometheus with the configuration of deploy/prometheus, except addresses and the scrape interval, and reads
its answers.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from lab.parts import StageError
from lab.parts.stage import ROOT

RULES: Final[Path] = ROOT / "deploy" / "prometheus"
_TOOLS: Final[Path] = ROOT / ".venv" / "tools"


class NotUnderstoodError(StageError):
    """Prometheus rejects a query."""


def find_prometheus() -> str:
    """The program's path. Raises: StageError if it is not installed."""
    if found := shutil.which("prometheus") or shutil.which("prometheus", path=str(_TOOLS)):
        return found
    raise StageError("cannot find prometheus: ./dev watch fetches it on Debian and Ubuntu; else put it into the PATH")


def configuration(targets: Mapping[str, str], every_s: int) -> str:
    """deploy/prometheus/prometheus.yml with an address for each job of it, and a scrape every `every_s`."""
    config: dict[str, Any] = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": f"{every_s}s", "evaluation_interval": f"{every_s}s"}
    config["rule_files"] = [str(RULES / file) for file in config["rule_files"]]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    return yaml.safe_dump(config)


def command(program: str, folder: Path, port: int) -> tuple[str, ...]:
    """Start it with the configuration in `folder`/prometheus.yml, and its data beside that."""
    return (
        *(program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
        f"--web.listen-address=127.0.0.1:{port}",
    )


class Prometheus:
    """Asks a Prometheus. `base`: its address."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self.base = base
        self._session = session

    async def is_ready(self) -> bool:
        try:
            async with self._session.get(f"{self.base}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def ask(self, query: str) -> list[Any]:
        """The series of an instant query. Raises: NotUnderstoodError."""
        return (await self._get("query", query=query))["result"]

    async def number(self, query: str) -> float:
        """The first series' value; NaN if there is none."""
        found = await self.ask(query)
        return float(found[0]["value"][1]) if found else float("nan")

    async def over(self, query: str, start: float, end: float, step_s: float) -> list[Any]:
        """The series from `start` to `end` (epoch seconds). Raises: NotUnderstoodError."""
        return (await self._get("query_range", query=query, start=start, end=end, step=step_s))["result"]

    async def targets(self) -> dict[str, str]:
        """What is wrong with each target, by its address; empty: it is up."""
        active: list[Any] = (await self._get("targets", state="active"))["activeTargets"]
        return {
            each["scrapeUrl"]: "" if each["health"] == "up" else each["lastError"] or "not scraped yet"
            for each in active
        }

    async def rules(self) -> dict[str, str]:
        """What is wrong with each rule, by its name; empty: it was evaluated."""
        groups: list[Any] = (await self._get("rules"))["groups"]
        return {
            rule["name"]: "" if rule["health"] == "ok" else rule.get("lastError") or "not evaluated yet"
            for group in groups
            for rule in group["rules"]
        }

    async def _get(self, what: str, **params: str | float) -> Any:
        async with self._session.get(f"{self.base}/api/v1/{what}", params=params) as answer:
            said = await answer.json()
        if said["status"] != "success":
            raise NotUnderstoodError(f"{said.get('error')}: {params}")
        return said["data"]
