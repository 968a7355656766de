"""A dashboard's picture: what is drawn of what Prometheus answers, and that those in the documents are of today."""

import math
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from lab.watch import dashboards
from lab.watch.__main__ import PICTURES
from lab.watch.pictures import Shown, draw, named, written

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter(f"{SVG}text")]


def test_series_are_called_what_the_legend_says() -> None:
    answer: list[Any] = [
        {"metric": {"state": "idle"}, "values": [[1.0, "2"], [2.0, "NaN"]]},
        {"metric": {"state": "<b>"}, "values": [[1.0, "3"]]},
    ]
    found = named("{{state}} workers", answer)
    assert found["idle workers"][0] == (1.0, 2.0)
    assert math.isnan(found["idle workers"][1][1])
    assert found["<b> workers"] == [(1.0, 3.0)]


def test_each_panel_is_drawn_with_its_numbers() -> None:
    panels = [
        Shown(
            "Workers", "short", "timeseries", {"idle": [(0.0, 1.0), (5.0, math.nan), (10.0, 4.0)], "<x>": [(0.0, 0.0)]}
        ),
        Shown("Idle of wanted", "percentunit", "stat", {"idle": [(0.0, 0.5), (10.0, 0.75)]}),
        Shown("Nothing", "s", "timeseries", {}),
        Shown("Many", "s", "timeseries", {f"s{number}": [(0.0, 1.0), (10.0, 2.0)] for number in range(10)}),
    ]
    svg = draw("Fleet <all>", "of today", panels, 0.0, 10.0)
    said = words(svg)
    assert said[:2] == ["Fleet <all>", "of today"]
    assert {"Workers", "75 %", "no data", "<x>", "00:00:10"} <= set(said)
    assert [word for word in said if "(+2)" in word]
    lines = [each.get("points", "").split() for each in ET.fromstring(svg).iter(f"{SVG}polyline")]
    assert len(lines) == 3 + 8  # a line that is broken by what is no number is two
    top, bottom = lines[1][0], lines[0][0]
    assert float(top.split(",")[1]) < float(bottom.split(",")[1])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.25, "percentunit", "25 %"), (0.0123, "s", "12.3 ms"), (12.0, "s", "12 s"), (0.0, "s", "0 s"),
        (3 * 2**20, "bytes", "3 MiB"), (1500.0, "short", "1.5 k"), (0.2, "reqps", "0.2/s"), (math.nan, "s", "–"),
    ],
)  # fmt: skip
def test_a_value_is_written_in_its_unit(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


@pytest.mark.parametrize("name", dashboards.load().DASHBOARDS)
def test_the_pictures_in_the_documents_show_the_panels_of_today_with_data(name: str) -> None:
    title, panels, _ = dashboards.load().DASHBOARDS[name]
    said = words((PICTURES / f"{name}.svg").read_text())
    assert said[0] == title
    assert said[1].startswith("./dev watch --pictures, 20")
    assert [panel.title for panel in panels if panel.title not in said] == [], "run: ./dev watch --pictures"
    assert "no data" not in said
