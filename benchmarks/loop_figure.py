"""The loop's report as one HTML file that needs no network: what was closed, curves by round and turns, each round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.loop_reports import METRICS

COLOURS = (
    "#2a9d8f", "#e76f51", "#264653", "#e9a820", "#7b5ea7", "#4f86c6", "#9a6b4f", "#6b8e23", "#c2255c", "#868e96",
)  # fmt: skip
_WIDTH, _HEIGHT, _LEFT, _TOP, _BELOW, _RIGHT = 460, 250, 40, 26, 34, 92
TITLES = {"intent_accuracy": "intent accuracy", "slot_f1": "slot F1", "exact_match": "exact match"}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:32px auto;padding:0 16px;color:#1d2b33}
h1{font-size:26px;margin-bottom:4px} h2{font-size:19px;margin-top:34px}
svg text{font:11px system-ui,sans-serif;fill:#4a5a63}
table{border-collapse:collapse;width:100%;font-size:13.5px} th,td{padding:5px 8px;text-align:right;white-space:nowrap}
th{border-bottom:2px solid #2a9d8f;font-weight:600} td{border-bottom:1px solid #e3e9ec}
td.l,th.l{text-align:left} .note{color:#5b6b75} small{color:#5b6b75}
"""


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(value: float, low_high: Sequence[float]) -> str:
    low, high = low_high
    return f"{_percent(value)} <small>{_percent(low)} to {_percent(high)}</small>"


def _coloured(told: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    return list(zip(told["arms"], cycle(COLOURS), strict=False))


class _Axes:
    """Where a round, a number of turns and a figure lie in a plot; the figures' axis holds what is drawn, in tens."""

    def __init__(self, told: dict[str, Any], metric: str, *, by_turns: bool) -> None:
        rows = [row for arm in told["arms"] for row in arm["rounds"]]
        drawn: list[float] = [told[end][metric] for end in ("launch", "ceiling")]
        drawn += [bound for row in rows for bound in row["interval"][metric]]
        self.bottom, self.top = math.floor(10 * min(drawn)) / 10, math.ceil(10 * max(drawn)) / 10
        self.ticks = [n / 10 for n in range(round(10 * self.bottom), round(10 * self.top) + 1)]
        self.rounds = max((len(arm["rounds"]) for arm in told["arms"]), default=1)
        turns = [row["turns"] for row in rows if row["round"] == 1] or [1000]
        ends = [sum(row["turns"] for row in arm["rounds"]) for arm in told["arms"]] or [1000]
        self.first, self.last = math.floor(math.log10(min(turns))), math.ceil(math.log10(max(ends)))
        self._by_turns = by_turns

    def x(self, rounds: int, turns: int) -> float:
        span = max(self.last - self.first, 1)
        share = (math.log10(max(turns, 1)) - self.first) / span if self._by_turns else rounds / max(self.rounds, 1)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.bottom) / max(self.top - self.bottom, 1e-9)
        return _TOP + (1 - share) * (_HEIGHT - _TOP - _BELOW)

    def marks(self) -> list[tuple[float, str]]:
        """Names along the bottom, and where."""
        if self._by_turns:
            return [(self.x(0, n), f"{n:,}") for n in (int(10**power) for power in range(self.first, self.last + 1))]
        return [(self.x(r, 0), "launch" if r == 0 else str(r)) for r in range(self.rounds + 1)]


def _curve(points: list[tuple[float, float, float, float]], colour: str, name: str) -> str:
    """Points (x, y, top and bottom of the interval) as a line with whiskers."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    dots = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{high:.1f}" y2="{low:.1f}" stroke="{colour}" opacity="0.45"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.8" fill="{colour}"/>'
        for x, y, high, low in points
    )
    title = f"<title>{escape(name)}</title>"
    return f'<g><polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2">{title}</polyline>{dots}</g>'


def _plot(told: dict[str, Any], metric: str, *, by_turns: bool) -> str:
    axes = _Axes(told, metric, by_turns=by_turns)
    end = _WIDTH - _RIGHT
    label = f"{TITLES[metric]}, by {'turns of traffic (log)' if by_turns else 'round'}"
    parts = [f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(label)}">']
    parts.append(f'<text x="{_LEFT}" y="14" style="font-weight:600">{escape(label)}</text>')
    for tick in axes.ticks:
        y = axes.y(tick)
        parts.append(f'<line x1="{_LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e9ec"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick * 100:.0f}</text>')
    for place, text in axes.marks():
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - 14}" text-anchor="middle">{text}</text>')
    for name, value in (("launch", told["launch"][metric]), ("all annotations", told["ceiling"][metric])):
        y = axes.y(value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8a979e" stroke-dasharray="5 4"/>'
            f'<text x="{end + 6}" y="{y + 4:.1f}">{name}</text>'
        )
    for arm, colour in _coloured(told):
        points, turns = [], 0
        if not by_turns:  # before any traffic; a logarithm has no place for it
            start = axes.y(told["launch"][metric])
            points.append((axes.x(0, 0), start, start, start))
        for row in arm["rounds"]:
            turns += row["turns"]
            low, high = row["interval"][metric]
            points.append((axes.x(row["round"], turns), axes.y(row[metric]), axes.y(high), axes.y(low)))
        parts.append(_curve(points, colour, arm["name"]))
    return "".join([*parts, "</svg>"])


def _closed(told: dict[str, Any]) -> str:
    """Share of the gap that each arm closed, and what ours is ahead of it by."""
    ahead = told.get("ours_minus", {})
    head = "".join(f"<th>{TITLES[name]}</th>" for name in METRICS)
    head = f"<tr><th class=l>arm</th><th>turns</th>{head}" + (head if ahead else "") + "</tr>"
    over = "<th colspan=3>ours ahead by</th>" if ahead else ""
    groups = f"<tr><th></th><th></th><th colspan=3>gap closed</th>{over}</tr>"
    rows = []
    for arm, colour in _coloured(told):
        cells = "".join(
            f"<td>{_interval(arm['gap_closed'][name], arm['gap_closed_interval'][name])}</td>" for name in METRICS
        )
        if ahead:
            found = ahead.get(arm["name"])
            cells += "".join(f"<td>{' to '.join(map(_percent, found[n])) if found else ''}</td>" for n in METRICS)
        turns = sum(row["turns"] for row in arm["rounds"])
        mark = f'<span style="color:{colour}">&#9632;</span>'
        rows.append(f"<tr><td class=l>{mark} {escape(arm['name'])}</td><td>{turns:,}</td>{cells}</tr>")
    return f"<table>{groups}{head}{''.join(rows)}</table>"


def _rounds(told: dict[str, Any]) -> str:
    """Every round of every arm: traffic, labels, the champion after it and why the gate decided so."""
    head = (
        "<tr><th class=l>arm</th><th>round</th><th>turns</th><th>served</th><th>labels</th><th>right</th>"
        f"<th>coverage</th>{''.join(f'<th>{TITLES[name]}</th>' for name in METRICS)}<th class=l>gate</th></tr>"
    )

    def metrics(stage: dict[str, Any]) -> str:
        return "".join(f"<td>{_percent(stage[name])}</td>" for name in METRICS)

    rows = [f"<tr><td class=l>launch</td>{'<td></td>' * 6}{metrics(told['launch'])}<td></td></tr>"]
    for arm in told["arms"]:
        for row in arm["rounds"]:
            shares = [f"{row['turns']:,}", _percent(row["success_rate"]), f"{row['labels']:,}"]
            shares += [_percent(row["label_precision"]), _percent(row["label_coverage"])]
            cells = "".join(f"<td>{share}</td>" for share in shares)
            reason, decided = escape(row["gate"], quote=True), "promoted" if row["promoted"] else "refused"
            rows.append(
                f"<tr><td class=l>{escape(arm['name'])}</td><td>{row['round']}</td>{cells}{metrics(row)}"
                f'<td class=l title="{reason}">{decided}</td></tr>'
            )
    rows.append(f"<tr><td class=l>all annotations</td>{'<td></td>' * 6}{metrics(told['ceiling'])}<td></td></tr>")
    refused = [
        f"<li>{escape(arm['name'])}, round {row['round']}: {escape(row['gate'])}</li>"
        for arm in told["arms"]
        for row in arm["rounds"]
        if not row["promoted"]
    ]
    why = f"<p class=note>Refused by the gate:</p><ul class=note>{''.join(refused)}</ul>" if refused else ""
    return f"<table>{head}{''.join(rows)}</table>{why}"


def write_figure(told: dict[str, Any], path: Path) -> None:
    """Write a report of `benchmarks.loop.run_loop` as a page."""
    plots = "".join(_plot(told, metric, by_turns=turns) for metric in METRICS for turns in (False, True))
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Closed loop, {escape(told["locale"])}</title>
<style>{_STYLE}</style>
<h1>What users of {escape(told["locale"])} teach</h1>
<p class=note>{told["seed_labels"]:,} seed labels, {told["users"]:,} simulated users a round, seed {told["seed"]},
population {escape(told["population"])}; {told["test_utterances"]:,} test utterances in wordings that no user spoke.
Users are simulated, and from the second round on each arm's traffic is its own. Percentages; small figures and whiskers
are 95% bootstrap intervals over test utterances.</p>
<h2>What was closed of the way from launch to all annotations</h2>{_closed(told)}
<h2>Round by round, and turn by turn</h2>{plots}
<h2>Every round</h2>{_rounds(told)}
<p class=note>"Served" is under the model that served the round; intent, slot F1 and exact match are of the champion
after it. Hover over what the gate decided for its reason.</p></html>""",
        encoding="utf-8",
    )
