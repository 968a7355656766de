"""What `./dev watch` starts Prometheus and Grafana with, and what it says of what it finds. All of it together is run
by hand: `./dev watch --once`.
"""

from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from lab.parts import StageError
from lab.watch import dashboards, grafana, prometheus
from lab.watch.__main__ import Seen, draw, look, panels
from lab.watch.prometheus import Prometheus


def test_prometheus_is_configured_as_it_is_deployed_but_for_addresses() -> None:
    made = yaml.safe_load(prometheus.configuration({"poolmgr": "127.0.0.1:1", "poolmgr-worker": "127.0.0.1:2"}, 2))
    assert made["global"]["scrape_interval"] == "2s"
    assert all(Path(file).exists() for file in made["rule_files"])
    assert {job["job_name"]: job["static_configs"][0]["targets"] for job in made["scrape_configs"]} == {
        "poolmgr": ["127.0.0.1:1"],
        "poolmgr-worker": ["127.0.0.1:2"],
    }


def test_where_there_is_no_prometheus_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prometheus, "_TOOLS", tmp_path)
    with pytest.raises(StageError, match="cannot find prometheus"):
        prometheus.find_prometheus()


@pytest.mark.parametrize(("program", "words"), [("grafana", ("server",)), ("grafana-server", ())])
def test_grafana_is_found_with_its_files_and_given_source_and_dashboards(
    tmp_path: Path, program: str, words: tuple[str, ...]
) -> None:
    assert grafana.find_grafana(str(tmp_path)) is None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / program).write_text("#!/bin/sh\n")
    (tmp_path / "bin" / program).chmod(0o755)
    assert grafana.find_grafana(str(tmp_path / "bin")) is None  # without its files it does not start
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "defaults.ini").touch()
    found = grafana.find_grafana(str(tmp_path / "bin"))
    assert found
    assert found == grafana.Grafana((str(tmp_path / "bin" / program), *words), tmp_path)
    command, environment = grafana.provision(found, tmp_path / "state", 3000, "http://127.0.0.1:9090")
    assert command == (*found.command, f"--homepath={tmp_path}")
    provisioning = Path(environment["GF_PATHS_PROVISIONING"])
    [source] = yaml.safe_load((provisioning / "datasources" / "poolmgr.yaml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://127.0.0.1:9090", True)
    [provider] = yaml.safe_load((provisioning / "dashboards" / "poolmgr.yaml").read_text())["providers"]
    assert {path.stem for path in Path(provider["options"]["path"]).glob("*.json")} == set(dashboards.load().DASHBOARDS)


class Answers:
    """Of a Prometheus that has data for all but one query."""

    def __init__(self, without: str) -> None:
        self._without = without

    async def ask(self, query: str) -> list[Any]:
        return [] if query == self._without else [{"metric": {}, "value": [0, "1"]}]

    async def over(self, query: str, start: float, end: float, step_s: float) -> list[Any]:
        return [{"metric": {"state": "idle"}, "values": [[start, "1"], [end, "2"]]}]

    async def targets(self) -> dict[str, str]:
        return {"http://a/metrics": "", "http://b/metrics": "connection refused"}

    async def rules(self) -> dict[str, str]:
        return {"PoolmgrQueueOld": ""}


async def test_what_is_missing_is_named() -> None:
    name, title, [(query, _)] = next(panel for panel in panels() if len(panel[2]) == 1)
    seen = await look(cast("Prometheus", Answers(query)))
    assert seen.faults == ["target http://b/metrics: connection refused", f"no data: {title} ({name})"]
    assert seen.panels == len(panels())
    assert Seen({"a": ""}, {"b": ""}, 1, []).faults == []


async def test_a_dashboard_is_drawn_of_what_its_own_queries_give() -> None:
    svg = await draw(cast("Prometheus", Answers("")), "vm", "of today", 0.0, 100.0)
    assert all(panel.title in svg for panel in dashboards.load().DASHBOARDS["vm"][1])
    assert ">idle<" in svg
    assert "no data" not in svg
