"""Writes the Grafana dashboards: `python deploy/grafana/dashboards.py`. A test sees to it that all is written.

A panel is a title, a unit and its queries; where it stands follows from the order.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT, _ACROSS = 8, 7, 3


class Panel(NamedTuple):
    """`queries`: PromQL, each with its legend. `unit`: in Grafana's words. `kind`: timeseries or stat."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    description: str = ""


def quantiles(metric: str, by: str = "") -> tuple[tuple[str, str], ...]:
    """Median and 95th of a hundred of a histogram."""
    labels = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return tuple(
        (f"histogram_quantile({share}, sum by ({labels}) (rate({metric}[5m])))", f"{legend}p{int(share * 100)}")
        for share in (0.5, 0.95)
    )


FLEET = (
    Panel("Managers that lead", "short", (("sum(poolmgr_leader)", "lead"),), "stat"),
    Panel("Bots in meetings", "short", (('sum(poolmgr_bots{state="in_meeting"})', "bots"),), "stat"),
    Panel(
        "Idle of wanted",
        "percentunit",
        (('sum(poolmgr_workers{state="idle"}) / sum(poolmgr_idle_target)', "idle"),),
        "stat",
    ),
    Panel("Bots by state", "short", (("sum by (state) (poolmgr_bots)", "{{state}}"),)),
    Panel(
        "Workers by state",
        "short",
        (("sum by (state) (poolmgr_workers)", "{{state}}"), ("sum(poolmgr_idle_target)", "idle target")),
    ),
    Panel("VMs by state", "short", (("sum by (state) (poolmgr_vms)", "{{state}}"),)),
    Panel(
        "Queue",
        "short",
        (("max(poolmgr_queue_depth)", "bots that wait"), ("max(poolmgr_intake_backlog)", "jobs not taken")),
    ),
    Panel("Longest wait", "s", (("max(poolmgr_queue_longest_wait_seconds)", "longest wait"),)),
    Panel("Warm hits", "percentunit", (("poolmgr:warm_hits:ratio_rate5m", "of first assignments"),)),
    Panel("From job to order", "s", quantiles("poolmgr_dispatch_seconds_bucket")),
    Panel("Joining, the lobby included", "s", quantiles("poolmgr_join_seconds_bucket")),
    Panel(
        "Joins slower than a minute",
        "percentunit",
        (("poolmgr:join_slow:ratio_rate5m", "5 min"), ("poolmgr:join_slow:ratio_rate1h", "1 h")),
    ),
    Panel("Jobs", "reqps", (("sum(rate(poolmgr_jobs_accepted_total[5m]))", "accepted"),)),
    Panel("Ends by reason", "reqps", (("sum by (reason) (rate(poolmgr_bots_ended_total[5m])) > 0", "{{reason}}"),)),
    Panel("Warm-ups", "reqps", (("sum by (reason) (rate(poolmgr_warmups_ordered_total[5m]))", "ordered: {{reason}}"),)),
    Panel(
        "Webhooks",
        "short",
        (
            ("max(poolmgr_webhooks_pending)", "bots with some"),
            ("max(poolmgr_webhook_oldest_due_seconds)", "overdue, s"),
        ),
    ),
    Panel(
        "API",
        "reqps",
        (("sum by (code) (rate(poolmgr_api_requests_total[5m]))", "{{code}}"),),
    ),
    Panel(
        "Redis' memory",
        "bytes",
        (("max(poolmgr_redis_memory_bytes)", "held"), ("max(poolmgr_redis_memory_limit_bytes)", "limit")),
    ),
    Panel(
        "Recorded sound, and what is missing of it",
        "short",
        (
            ("sum(rate(poolmgr_recording_seconds_total[5m]))", "seconds of finished recordings, a second"),
            ("sum(rate(poolmgr_recording_missing_seconds_total[5m]))", "missing"),
        ),
    ),
    Panel("Managers' loop lag", "s", quantiles("poolmgr_loop_lag_seconds_bucket")),
    Panel("Heartbeats", "reqps", (("sum(rate(poolmgr_heartbeats_total[1m]))", "heard"),)),
    Panel("Caught by a backstop", "short", (("sum by (step) (increase(poolmgr_overdue_total[1h]))", "{{step}}"),)),
)

PLATFORM = (
    Panel(
        "Screens",
        "reqps",
        (
            (
                'sum by (screen) (rate(poolmgr_screens_seen_total{platform=~"$platform"}[5m]))',
                "{{screen}}",
            ),
        ),
    ),
    Panel(
        "Screens that no rule recognised",
        "percentunit",
        (('poolmgr:screens_unknown:ratio_rate30m{platform=~"$platform"}', "{{platform}}"),),
        description="A platform that changes its page shows here first.",
    ),
    Panel(
        "Rules",
        "reqps",
        (
            (
                'topk(20, sum by (rule) (rate(poolmgr_screens_seen_total{platform=~"$platform"}[5m])))',
                "{{rule}}",
            ),
        ),
    ),
    Panel(
        "Screens by VM",
        "reqps",
        (
            (
                'topk(10, sum by (instance) (rate(poolmgr_worker_screens_seen_total{platform=~"$platform"}[5m])))',
                "{{instance}}",
            ),
        ),
    ),
    Panel(
        "Ends that pages cause, all platforms",
        "reqps",
        (
            (
                'sum by (reason) (rate(poolmgr_bots_ended_total{reason=~"ui_element_not_found|page_load_failed'
                '|captcha|platform_blocked|sign_in_required|unexpected_redirect"}[5m]))',
                "{{reason}}",
            ),
        ),
    ),
    Panel(
        "Probes that met another page",
        "short",
        (('max by (probe) (poolmgr_probe_page_changed{platform=~"$platform"})', "{{probe}}"),),
        description="1: nothing on it was recognised, or by a rule that no earlier probe met.",
    ),
    Panel(
        "Probes that got in",
        "short",
        (('max by (probe) (poolmgr_probe_in_meeting{platform=~"$platform"})', "{{probe}}"),),
    ),
    Panel(
        "Joining, latest probe",
        "s",
        (('max by (probe) (poolmgr_probe_join_seconds{platform=~"$platform"})', "{{probe}}"),),
    ),
    Panel(
        "Page time-outs, all platforms", "reqps", (("sum(rate(poolmgr_worker_page_timeouts_total[5m]))", "time-outs"),)
    ),
)

_OF = '{instance=~"$instance"}'
VM = (
    Panel("Workers", "short", ((f"sum by (state) (poolmgr_worker_workers{_OF})", "{{state}}"),)),
    Panel("Room for more", "short", ((f"sum by (instance) (poolmgr_worker_room{_OF})", "{{instance}}"),)),
    Panel(
        "Memory",
        "bytes",
        (
            (f"sum by (state) (poolmgr_worker_browser_memory_bytes{_OF})", "browsers, {{state}}"),
            (f"sum(poolmgr_worker_memory_available_bytes{_OF})", "available"),
            (f"max(poolmgr_worker_browser_memory_largest_bytes{_OF})", "largest browser"),
        ),
    ),
    Panel(
        "Processors of browsers",
        "short",
        ((f"sum by (state) (rate(poolmgr_worker_browser_cpu_seconds_total{_OF}[1m]))", "{{state}}"),),
    ),
    Panel(
        "Warm-up, median by step",
        "s",
        (
            (
                f"histogram_quantile(0.5, sum by (le, step) (rate(poolmgr_worker_warmup_seconds_bucket{_OF}[5m])))",
                "{{step}}",
            ),
        ),
    ),
    Panel("Browsers gone", "reqps", ((f"sum by (cause) (rate(poolmgr_worker_gone_total{_OF}[5m]))", "{{cause}}"),)),
    Panel("Ends here", "reqps", ((f"sum by (reason) (rate(poolmgr_worker_bots_ended_total{_OF}[5m]))", "{{reason}}"),)),
    Panel("Not begun", "reqps", ((f"sum by (cause) (rate(poolmgr_worker_refused_total{_OF}[5m]))", "{{cause}}"),)),
    Panel(
        "Page time-outs, driver restarts",
        "short",
        (
            (f"sum(increase(poolmgr_worker_page_timeouts_total{_OF}[5m]))", "time-outs"),
            (f"sum(increase(poolmgr_worker_driver_restarts_total{_OF}[1h]))", "restarts in an hour"),
        ),
    ),
    Panel("Events on disk", "short", ((f"sum by (instance) (poolmgr_worker_events_waiting{_OF})", "{{instance}}"),)),
    Panel("Recordings on disk", "bytes", ((f"sum by (instance) (poolmgr_worker_spool_bytes{_OF})", "{{instance}}"),)),
    Panel("Clock offset", "s", ((f"poolmgr_worker_clock_offset_seconds{_OF}", "{{instance}}"),)),
    Panel("Loop lag, worst of a minute", "s", ((f"poolmgr_worker_loop_lag_worst_seconds{_OF}", "{{instance}}"),)),
)

DASHBOARDS = {
    "fleet": ("poolmgr: fleet", FLEET, ()),
    "platform": ("poolmgr: platform", PLATFORM, (("platform", "label_values(poolmgr_screens_seen_total, platform)"),)),
    "vm": ("poolmgr: VM", VM, (("instance", "label_values(poolmgr_worker_room, instance)"),)),
}


def queries() -> Iterator[tuple[str, str]]:
    """Every panel's title and every query of it, the dashboard's variables standing for all."""
    for _, panels, variables in DASHBOARDS.values():
        for panel in panels:
            for query, _ in panel.queries:
                yield panel.title, filled(query, variables)


def filled(query: str, variables: Sequence[tuple[str, str]]) -> str:
    """The query, the dashboard's variables standing for all."""
    for name, _ in variables:
        query = query.replace(f"${name}", ".*")
    return query


def document(name: str) -> str:
    """The dashboard as JSON, as Grafana imports it."""
    title, panels, variables = DASHBOARDS[name]
    made = {
        "uid": f"poolmgr-{name}",
        "title": title,
        "tags": ["poolmgr"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_source(), *(_variable(name, query) for name, query in variables)]},
        "links": [{"type": "dashboards", "tags": ["poolmgr"], "title": "poolmgr", "includeVars": False}],
        "panels": list(_placed(panels)),
    }
    return json.dumps(made, indent=1) + "\n"


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
    }


def _placed(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    for number, panel in enumerate(panels):
        yield {
            "id": number + 1,
            "type": panel.kind,
            "title": panel.title,
            "description": panel.description,
            "datasource": _SOURCE,
            "gridPos": {
                "x": number % _ACROSS * _WIDTH,
                "y": number // _ACROSS * _HEIGHT,
                "w": _WIDTH,
                "h": _HEIGHT,
            },
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "options": {"legend": {"showLegend": True, "displayMode": "list"}} if panel.kind == "timeseries" else {},
            "targets": [
                {"refId": chr(65 + place), "expr": query, "legendFormat": legend, "datasource": _SOURCE}
                for place, (query, legend) in enumerate(panel.queries)
            ],
        }


if __name__ == "__main__":
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(document(name))
