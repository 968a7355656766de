"""The picture of a scaled fleet is well-formed, stays inside its frame, and shows the highest of each column."""

import re
from xml.etree import ElementTree as ET

import pytest

from poolmgr.simulation.scaled import Moment
from poolmgr.simulation.timeline import timeline


@pytest.mark.parametrize("hours", [3.0, 30.0, 168.0])
def test_the_lines_stay_inside(hours: float) -> None:
    moments = [Moment(hours * n / 2000, 1 + n % 7, 1, n % 50) for n in range(2000)]
    root = ET.fromstring(timeline(moments, hours, 7, 3, "VMs & <more>"))
    lines = [path.attrib["d"] for path in root.findall("{*}path") if path.attrib.get("stroke-width") == "1.2"]
    assert len(lines) == 2
    for line in lines:
        numbers = [float(number) for number in re.findall(r"[0-9.]+", line)]
        assert 70 <= min(numbers[::2]) <= max(numbers[::2]) <= 950
        assert 90 <= min(numbers[1::2]) <= max(numbers[1::2]) <= 500
    assert "VMs & <more>" in [text.text for text in root.findall("{*}text")]


def test_a_short_peak_is_not_left_out() -> None:
    flat = [Moment(n / 100, 2, 2, 0) for n in range(10_000)]
    flat[5000] = flat[5000]._replace(vms=9)
    drawn = timeline(flat, 100, 1, 1, "")
    assert len(set(re.findall(r"L\d+ ([0-9.]+)", drawn.partition('stroke-width="1.2"')[2].partition("/>")[0]))) == 2
