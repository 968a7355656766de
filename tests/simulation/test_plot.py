"""Plots are well-formed, show every run, and stay inside their frame."""

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from poolmgr.simulation.plot import MOST_POINTS, Point, letter, svg, terminal_plot


def rounded(most: float) -> st.SearchStrategy[float]:
    return st.floats(0, most).map(lambda value: round(value, 6))


points = st.lists(
    st.builds(
        Point,
        series=st.sampled_from(["idle_ttl_s 60", "a<b&c"]),
        label=st.sampled_from(["1", "2", "10"]),
        idle_worker_h=rounded(1e7),
        warm_hit_rate=rounded(1),
        wait_p99_s=rounded(1e5),
        is_best=st.booleans(),
    ),
    min_size=1,
    max_size=MOST_POINTS,
)


@given(points)
def test_every_run_is_a_circle_in_both_panels_of_the_svg(runs: list[Point]) -> None:
    root = ET.fromstring(svg(runs, "20 VMs & <more>"))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    circles = root.findall("{*}circle")
    legend = len({run.series for run in runs}) + 1
    assert len(circles) == 2 * len(runs) + legend
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height


@given(points)
def test_the_terminals_plot_has_straight_edges_and_the_letters_of_the_table(runs: list[Point]) -> None:
    drawn = terminal_plot(runs, width=40, height=10).splitlines()
    assert len(drawn) == 13
    assert all(len(line) <= 50 for line in drawn)
    rows = [line[10:] for line in drawn[1:11]]
    seen = set("".join(rows).replace(" ", ""))
    assert seen
    assert seen <= {letter(number) for number in range(len(runs))}


def test_better_is_higher_and_dearer_is_further_right() -> None:
    runs = [Point("s", "1", 0.0, 0.0, 9.0, True), Point("s", "2", 100.0, 1.0, 0.0, True)]
    rows = [line[10:] for line in terminal_plot(runs, width=40, height=10).splitlines()[1:11]]
    assert rows[-1][0] == "a"
    assert rows[0] == " " * 39 + "b"


def test_axes_are_marked_with_round_numbers() -> None:
    drawn = svg([Point("s", "1", 310.0, 0.97, 1.3, True), Point("s", "2", 2930.0, 0.99, 0.2, True)], "")
    marks = re.findall(r'class="small">([\d.,]+)</text>', drawn)
    assert {"0", "1,000", "3,000"} <= set(marks)
    assert {"97", "98", "99"} <= set(marks)
