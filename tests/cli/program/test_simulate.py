"""`simulate`: a day in a moment, by the user's own settings, without a Redis."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from common.jobs.job import JobRules, parse_job
from common.wire.vocabulary import BotState, Reason
from poolmgr.cli.program import simulate as module
from poolmgr.core.decisions import Accept, End, Move
from poolmgr.simulation.cost import AGENT_MB, IN_CALL_MB
from poolmgr.store import record
from tests.cli.conftest import ROOT, CommandLine

SMALL = ("simulate", "--vms", "3", "--jobs-per-day", "150", "--hours", "6")
SWEEP = (*SMALL, "--sweep", "min_idle=0,1,4", "--sweep", "idle_ttl_s=60,900")


@pytest.fixture
def poolmgr() -> CommandLine:
    """With a Redis that is not there."""
    return CommandLine("redis://127.0.0.1:1/0", "nothing")


def runs_of(poolmgr: CommandLine, *arguments: str) -> list[dict[str, Any]]:
    return poolmgr.json(*arguments)["runs"]


def test_the_bare_command_shows_a_day_and_what_to_try_next(poolmgr: CommandLine) -> None:
    result = poolmgr("simulate")
    assert result.exit_code == 0
    assert "20 VMs, 24 hours, 2,000 jobs (calendar)" in result.stdout
    assert "Add --sweep min_idle=0,1,2,4" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("trace", ["calendar", "poisson"])
def test_the_same_seed_gives_the_same_output_byte_for_byte(
    form: tuple[str, ...], trace: str, poolmgr: CommandLine
) -> None:
    first, second, other = (
        poolmgr(*SMALL, "--sweep", "min_idle=0,1", *form, "--trace", trace, "--seed", seed).stdout_bytes
        for seed in ("5", "5", "6")
    )
    assert first == second != other


@pytest.mark.long
def test_the_output_does_not_depend_on_the_process(poolmgr: CommandLine) -> None:
    """In this one words are hashed otherwise, unless it was started with the same seed for them."""
    words = (sys.executable, "-m", "poolmgr", *SMALL, "--json")
    environment = {**os.environ, **poolmgr.environment, "PYTHONHASHSEED": "2"}
    ended = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (ended.stdout, ended.stderr) == (poolmgr(*SMALL, "--json").stdout, "")


def test_settings_come_from_the_file_the_environment_and_the_flags(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[pool]\nmin_idle = 3\nmax_workers = 7\nidle_ttl_s = 100\nmax_age_s = 5000\n")
    result = poolmgr(
        *SMALL,
        "--config",
        str(file),
        "--json",
        "--max-workers",
        "9",
        "--idle-ttl-s",
        "60.5",
        POOLMGR_POOL__MIN_IDLE="4",
    )
    settings = json.loads(result.stdout)["runs"][0]["settings"]
    assert (settings["min_idle"], settings["max_workers"]) == (4, 9)
    assert (settings["idle_ttl_s"], settings["max_age_s"]) == (60.5, 5000)
    assert settings["heartbeat_timeout_s"] == 60  # as it is configured, and not as the simulator bends it


@pytest.mark.long
def test_a_sweep_runs_once_for_each_pair_and_marks_what_no_other_beats(poolmgr: CommandLine) -> None:
    runs = runs_of(poolmgr, *SWEEP)
    pairs = [(run["settings"]["min_idle"], run["settings"]["idle_ttl_s"]) for run in runs]
    assert pairs == [(0, 60), (0, 900), (1, 60), (1, 900), (4, 60), (4, 900)]
    assert {run["jobs"] for run in runs} == {runs[0]["jobs"]}
    best = max(runs, key=lambda run: (run["warm_hits"], -run["idle_worker_h"]))
    cheapest = min(runs, key=lambda run: (run["idle_worker_h"], -run["warm_hits"]))
    assert best["pareto"]
    assert cheapest["pareto"]
    text = poolmgr(*SWEEP).stdout
    assert len(re.findall(r"^[a-f]\* ", text, re.MULTILINE)) == sum(run["pareto"] for run in runs)
    assert "warm hits\n" in text


def test_the_plot_is_an_svg_file(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "plot.svg"
    result = poolmgr(*SWEEP, "--plot", str(file))
    assert result.stderr == f"poolmgr: plot written to {file}\n"
    assert ET.fromstring(file.read_text()).tag.endswith("svg")
    assert "idle_ttl_s 900" in file.read_text()


def test_how_far_it_is_is_said_line_by_line_where_there_is_no_terminal(
    poolmgr: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SHOW_PROGRESS_AFTER_S", 0.0)
    monkeypatch.setattr(module, "_LINE_EVERY_S", 0.0)
    result = poolmgr(*SMALL, "--sweep", "min_idle=0,1")
    lines = result.stderr.splitlines()
    assert lines[0] == "poolmgr: simulating: run 1 of 2, hour 0.0 of 6"
    assert lines[-1] == "poolmgr: simulating: run 2 of 2, hour 6.0 of 6, 0 ms left"
    assert result.stdout == poolmgr(*SMALL, "--sweep", "min_idle=0,1").stdout


def test_without_a_terminal_nothing_is_said_of_what_does_not_take_long(poolmgr: CommandLine) -> None:
    assert poolmgr(*SMALL).stderr == ""


def test_what_a_day_costs_and_what_other_settings_would_save(poolmgr: CommandLine) -> None:
    asked = (*SMALL, "--cost", "0.5")
    costs = json.loads(poolmgr(*asked, "--json").stdout)["costs"]
    assert [each["change"] for each in costs] == [
        *("as it is", "fewer VMs", "min_idle 1", "idle_ttl_s 450", "max_workers 16"),
    ]
    assert (costs[0]["vms"], costs[0]["per_day"]) == (3, 36.0)
    assert costs[0]["vm_memory_mb"] == 1024 + AGENT_MB + 12 * IN_CALL_MB
    assert 0 < costs[1]["per_day"] < 36.0
    assert costs[2]["settings"]["min_idle"] == 1
    assert costs[2]["idle_worker_h"] < costs[0]["idle_worker_h"]
    shown = poolmgr(*asked).stdout
    assert re.search(r"as it is +3 +36\.00 +0\.00 .* 3\.3 +1\.9\n", shown)
    assert "max_workers 16" in shown


def test_what_is_recorded_takes_more_of_a_vm_and_processors_may_be_its_limit(poolmgr: CommandLine) -> None:
    asked = (*SMALL, "--cost", "0.5", "--json")
    plain = json.loads(poolmgr(*asked).stdout)["costs"][0]
    by_tab, by_display = (
        json.loads(poolmgr(*asked, "--pictures", "1", *more).stdout)["costs"][0] for more in ((), ("--displays",))
    )
    assert by_tab["vm_memory_mb"] == plain["vm_memory_mb"] + 12 * 70
    assert by_display["vm_memory_mb"] == by_tab["vm_memory_mb"] + 12 * 70
    assert by_tab["vm_processors"] == pytest.approx(12 * 0.35 / 0.9, abs=0.01)
    narrow = json.loads(poolmgr(*asked, "--pictures", "1", "--processors", "4").stdout)["costs"]
    assert "max_workers 16" not in [each["change"] for each in narrow]


@pytest.mark.long
def test_a_cost_in_which_nobody_is_served_is_shown(poolmgr: CommandLine) -> None:
    """Warm-ups that all fail: there is no wait to tell."""
    shown = poolmgr("simulate", "--vms", "1", "--hours", "4", "--failing-warmups", "1", "--cost", "1").stdout
    assert re.search(r"as it is +1 +24\.00 +0\.00 +0\.00% +0\.00% +0\.00% +– ", shown)


def test_jobs_handed_in_ahead_need_no_idle_browsers(poolmgr: CommandLine) -> None:
    (run,) = runs_of(poolmgr, *SMALL, "--min-idle", "0", "--ahead-minutes", "10")
    assert run["warm_hit_rate"] == 1.0


def test_recordings_take_processors_of_which_there_may_be_too_few(poolmgr: CommandLine) -> None:
    small = (*SMALL, "--max-workers", "12", "--sound", "0.5", "--pictures", "0.5", "--processors")
    (few,), (many,) = runs_of(poolmgr, *small, "1"), runs_of(poolmgr, *small, "64")
    assert few["never_served"] > 0 == many["never_served"]
    assert 0.5 < few["load_peak"] <= 1.0
    assert 0.0 < many["load_mean"] < many["load_peak"] < few["load_peak"]
    assert runs_of(poolmgr, *SMALL)[0]["load_peak"] is None
    shown = poolmgr(*small, "64").stdout
    assert shown.splitlines()[3].split()[-1] == "LOAD"
    both = poolmgr(*SMALL, "--sound", "0.6", "--pictures", "0.6")
    assert (both.exit_code, "together they are more than 1" in both.stderr) == (2, True)


@pytest.mark.long
def test_a_canary_gets_its_share_and_is_taken_out_when_its_joins_fail(poolmgr: CommandLine) -> None:
    options = ("--vms", "20", "--jobs-per-day", "3000", "--canaries", "1", "--canarys-failing-joins", "0.9")
    result = poolmgr("simulate", *options)
    assert result.exit_code == 0, result.stderr
    assert re.search(r"^Canaries got \d+ of 3,000 jobs\.$", result.stdout, re.MULTILINE)
    assert re.search(r"^vm-0 was taken out after [\d.]+ hours: \d+ of \d+ joins failed", result.stdout, re.MULTILINE)
    assert "Canaries" not in poolmgr(*SMALL).stdout


def test_the_labelled_part_of_a_fleet_can_be_sized(poolmgr: CommandLine) -> None:
    def wait(vms: int) -> dict[str, Any]:
        (run,) = runs_of(poolmgr, *SMALL, "--labelled", f"region=eu,gpu=yes:{vms}:0.4")
        assert [each["labels"] for each in run["required"]] == ["", "gpu=yes,region=eu"]
        assert (
            sum(each["served"] + each["never_served"] for each in run["required"]) == run["jobs"] - run["still_waiting"]
        )
        return run["required"][1]

    assert wait(0)["served"] == 0, "no VM has them"
    assert wait(1)["served"] > 0
    assert runs_of(poolmgr, *SMALL)[0]["required"] == []
    shown = poolmgr(*SMALL, "--labelled", "region=eu:1:0.5").stdout
    assert re.search(r"^region=eu: \d+ jobs, [\d.]+% warm hits, wait P99 .*, \d+ never served$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("region:5:0.3", "write NAME=VALUE"),
        ("region=eu:5", "write NAME=VALUE"),
        ("re gion=eu:5:0.3", "write NAME=VALUE"),
        ("region=eu:5:1.5", "a share of 0 to 1"),
        ("region=eu:5:nan", "a share of 0 to 1"),
        ("region=eu:5000:0.1", "more VMs than there are"),
        ("region=eu:1:0.6 --labelled region=us:1:0.6", "together they are more than 1"),
        ("region=eu:1:0.1 --scaling", "does not go with --scaling"),
    ],
)
def test_labels_that_cannot_be_are_told(poolmgr: CommandLine, said: str, why: str) -> None:
    result = poolmgr("simulate", "--labelled", *said.split(" ") if "--" in said else [said])
    assert (result.exit_code, why in result.stderr) == (2, True), result.stderr


def test_what_bots_prints_is_a_trace(poolmgr: CommandLine, tmp_path: Path) -> None:
    """As one array, and as the lines that `jq -c .[]` makes of it."""
    at = 1_795_165_200.0
    job = parse_job(b'{"meeting_link": "http://h/r/a"}', at, JobRules(frozenset({"h"})))
    records: list[dict[str, Any]] = []
    for number in range(3):
        fields = record.accepted(Accept(f"bot-{number}", job, BotState.QUEUED, at + number, number))
        fields |= record.moved(Move(f"bot-{number}", 1, BotState.IN_MEETING, at + 10))
        fields |= record.ended(End(f"bot-{number}", 1, Reason.MEETING_ENDED), at + 1810)
        records.append({name: str(value) for name, value in fields.items()})
    whole, lines = tmp_path / "jobs.json", tmp_path / "jobs.jsonl"
    whole.write_text(json.dumps(records) + "\n")
    lines.write_text("".join(json.dumps(record) + "\n" for record in records))
    outcomes = [runs_of(poolmgr, "simulate", "--trace", str(file)) for file in (whole, lines)]
    assert outcomes[0] == outcomes[1]
    assert (outcomes[0][0]["jobs"], outcomes[0][0]["warm_hits"]) == (3, 3)


def test_every_fault_of_a_trace_is_named_with_its_line(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text('{"created_at": 1}\nnothing\n' + '{"created_at": "soon"}\n' * 20)
    result = poolmgr("simulate", "--trace", str(file))
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"poolmgr: {file}: line 2: is no JSON object")
    assert lines[1].startswith(f"poolmgr: {file}: line 3: created_at is neither")
    assert lines[-1] == f"poolmgr: {file}: and 11 further faults"


def test_a_trace_of_more_than_a_month_needs_hours(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("created_at,stay_s\n0,60\n1700000000,60\n")
    refused = poolmgr("simulate", "--trace", str(file))
    assert refused.exit_code == 2
    assert "say how many of them with --hours" in refused.stderr
    assert runs_of(poolmgr, "simulate", "--trace", str(file), "--hours", "2")[0]["jobs"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--min-idle", "13"), "pool.min_idle: 13 is more than pool.max_workers (12)"),
        (("--sweep", "min_idle=1,40"), "pool.min_idle: 40 is more than pool.max_workers (12)"),
        (("--min-idle", "-1"), "pool.min_idle: expected"),
        (("--sweep", "max_workers=1"), "write KEY=A,B,... with min_idle or idle_ttl_s as KEY"),
        (("--sweep", "min_idle=1,two"), "write whole numbers separated by commas"),
        (("--sweep", "idle_ttl_s=nan"), "write numbers of seconds separated by commas"),
        (("--sweep", "min_idle=1", "--sweep", "min_idle=2"), "give all its values in one"),
        (("--sweep", "min_idle=1", "--min-idle", "2"), "min_idle is both swept and set"),
        (("--sweep", "idle_ttl_s=" + ",".join(map(str, range(1, 60)))), "59 runs: at most 52"),
        (("--jobs-per-day", "9", "--jobs-per-hour", "9"), "give one of them"),
        (("--hours", "nan"), "not a number"),
        (("--hours", "0.01", "--jobs-per-day", "1"), "there is no job in that time: give more"),
        (("--trace", "/nowhere"), "cannot read the trace /nowhere: No such file"),
        (("--trace", "/dev/null"), "/dev/null: there is no job in it"),
        (("--trace", "/dev/null", "--jobs-per-day", "5"), "for made-up jobs: FILE has its own"),
        (("--max-vms", "5"), "--max-vms goes with --scaling"),
        (("--boot-s", "5"), "--boot-s goes with --scaling"),
        (("--scaling", "--vms", "5"), "--scaling goes neither with --sweep nor with --vms"),
        (("--scaling", "--sweep", "min_idle=1,2"), "--scaling goes neither with --sweep nor with --vms"),
        (("--scaling", "--min-vms", "21"), "scaling.min_vms: 21 is more than scaling.max_vms (20)"),
        (("--cost", "0"), "Invalid value for '--cost'"),
        (("--cost", "1", "--sweep", "min_idle=1,2"), "--cost tries other settings by itself: leave --sweep out"),
        (("--cost", "1", "--scaling"), "--scaling says what it costs by itself: leave --cost out"),
        (("--warmup-s", "60"), "--warmup-s has to be less than 60 s (pool.warmup_timeout_s)"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_what_to_change(
    arguments: tuple[str, ...], said: str, poolmgr: CommandLine
) -> None:
    result = poolmgr("simulate", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


SCALED = (
    "simulate",
    "--scaling",
    "--jobs-per-day",
    "400",
    "--hours",
    "4",
    "--max-workers",
    "6",
    "--cool-down-s",
    "600",
)


@pytest.mark.long
def test_a_scaled_fleet_stands_beside_two_fixed_ones(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "plot.svg"
    result = poolmgr(*SCALED, "--plot", str(file))
    assert result.exit_code == 0
    assert "VMs that come and go, 4 hours, " in result.stdout
    names = ("scaled", "fixed, same peak", "fixed, same cost")
    assert [line.split("  ")[0].strip() for line in result.stdout.splitlines() if line.startswith(names)]
    assert re.search(r"^\d+ % fewer VM hours than a fixed fleet of its peak$", result.stdout, re.MULTILINE)
    assert ET.fromstring(file.read_text()).tag.endswith("svg")


def test_what_is_known_of_a_scaled_fleet_as_json(poolmgr: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    hours = '{ begin = "06:00", end = "07:00", min_vms = 2, max_vms = 7, days = ["mon"] }'
    file.write_text(f"[scaling]\nmax_vms = 7\nhours = [{hours}]\n")
    found = poolmgr.json(*SCALED, "--config", str(file), "--headroom", "0.5")
    scaled, same_peak, same_cost = found["fleets"]
    assert [each["fleet"] for each in found["fleets"]] == ["scaled", "fixed, same peak", "fixed, same cost"]
    assert scaled["jobs"] == same_peak["jobs"] == same_cost["jobs"]
    assert same_peak["vm_h"] == scaled["peak_vms"] * 4 > scaled["vm_h"]
    assert abs(same_cost["vm_h"] - scaled["vm_h"]) <= 2
    assert (found["scaling"]["max_vms"], found["scaling"]["headroom"], found["boot_s"]) == (7, 0.5, 90)
    assert found["scaling"]["hours"][0]["min_vms"] == 2
    assert found["vms"][0] == [0, 2]  # the floor of that hour
    assert max(vms for _, vms in found["vms"]) == scaled["peak_vms"]


def test_a_plot_that_cannot_be_written_is_a_failure(poolmgr: CommandLine) -> None:
    result = poolmgr(*SMALL, "--plot", "/nowhere/plot.svg")
    assert result.exit_code == 1
    assert result.stderr == "poolmgr: cannot write the plot /nowhere/plot.svg: No such file or directory\n"
