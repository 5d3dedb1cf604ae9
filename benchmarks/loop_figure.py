"""The loop's curves in one HTML file that needs no network: each metric by round and by turns of traffic."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.rounds import METRICS

_COLOURS = ("#2a9d8f", "#e76f51", "#264653", "#e9a820", "#7b5ea7", "#4f86c6", "#9a6b4f")
_WIDTH, _HEIGHT, _LEFT, _TOP = 430, 250, 40, 26
_TURNS = (1_000, 10_000, 100_000, 1_000_000)


def _polyline(points: list[tuple[float, float]], colour: str, name: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.8" fill="{colour}"/>' for x, y in points)
    title = f"<title>{escape(name)}</title>"
    return f'<g><polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2">{title}</polyline>{dots}</g>'


def _plot(told: dict[str, Any], metric: str, *, by_turns: bool) -> str:
    across, high = _WIDTH - _LEFT - 14, _HEIGHT - _TOP - 34
    most = max((len(arm["rounds"]) for arm in told["arms"]), default=1)
    ends = [sum(r["turns"] for r in arm["rounds"]) for arm in told["arms"]] or [_TURNS[0]]
    low, top = 3.0, max(4.0, math.log10(max(ends)) + 0.05)

    def x(rounds: int, turns: int) -> float:
        share = (math.log10(max(turns, 10**low)) - low) / (top - low) if by_turns else rounds / max(most, 1)
        return _LEFT + share * across

    def y(value: float) -> float:
        return _TOP + (1 - value) * high

    label = f"{metric.replace('_', ' ')}, by {'turns of traffic (log)' if by_turns else 'round'}"
    parts = [f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(label)}">']
    parts.append(f'<text x="{_LEFT}" y="14" style="font-weight:600">{escape(label)}</text>')
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 14}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#e3e9ec"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick * 100:.0f}</text>')
    marks = [(x(0, t), f"{t:,}") for t in _TURNS if math.log10(t) <= top] if by_turns else []
    marks = marks or [(x(r, 0), "launch" if r == 0 else str(r)) for r in range(most + 1)]
    for place, text in marks:
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - 14}" text-anchor="middle">{text}</text>')
    for name, value in (("launch", told["launch"][metric]), ("all annotations", told["ceiling"][metric])):
        at = y(value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 14}" y1="{at:.1f}" y2="{at:.1f}" stroke="#8a979e" '
            'stroke-dasharray="5 4"/>'
            f'<text x="{_WIDTH - 14}" y="{at - 4:.1f}" text-anchor="end">{name}</text>'
        )
    for arm, colour in zip(told["arms"], _COLOURS, strict=False):
        points, turns = [(x(0, 0), y(told["launch"][metric]))], 0
        for row in arm["rounds"]:
            turns += row["turns"]
            points.append((x(row["round"], turns), y(row[metric])))
        parts.append(_polyline(points[1:] if by_turns else points, colour, arm["name"]))
    return "".join([*parts, "</svg>"])


def write_figure(told: dict[str, Any], path: Path) -> None:
    """Write the curves of a report of `benchmarks.loop.run_loop`."""
    key = " &nbsp; ".join(
        f'<span style="color:{colour}">&#9632;</span> {escape(arm["name"])}'
        for arm, colour in zip(told["arms"], _COLOURS, strict=False)
    )
    plots = "".join(_plot(told, metric, by_turns=turns) for metric in METRICS for turns in (False, True))
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Closed loop, {escape(told["locale"])}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:940px;margin:32px auto;color:#1d2b33}}
svg text{{font:11px system-ui,sans-serif;fill:#4a5a63}}</style>
<h1>What users of {escape(told["locale"])} teach</h1>
<p>{told["seed_labels"]} seed labels, {told["users"]} simulated users a round, seed {told["seed"]}, population
{escape(told["population"])}; {told["test_utterances"]} test utterances in wordings that no user spoke. Users are
simulated, and from the second round on each arm's traffic is its own.</p><p>{key}</p>{plots}</html>""",
        encoding="utf-8",
    )
