"""The loop's report as one HTML file that needs no network: what was closed, curves by round and turns, each round."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import accumulate
from math import ceil, floor
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.loop_reports import METRICS, TITLES, crowned, told_of_trial, trials_of
from benchmarks.pictures import QUIET, as_svg, in_percent, in_powers_of_ten, looks, panels

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:32px auto;padding:0 16px;color:#1d2b33}
h1{font-size:26px;margin-bottom:4px} h2{font-size:19px;margin-top:34px}
svg{max-width:100%;height:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px} th,td{padding:5px 8px;text-align:right;white-space:nowrap}
th{border-bottom:2px solid #2a9d8f;font-weight:600} td{border-bottom:1px solid #e3e9ec}
td.l,th.l{text-align:left} .note{color:#5b6b75} small{color:#5b6b75}
"""


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(value: float, low_high: Sequence[float]) -> str:
    low, high = low_high
    return f"{_percent(value)} <small>{_percent(low)} to {_percent(high)}</small>"


def _with_looks(told: dict[str, Any]) -> list[tuple[dict[str, Any], tuple[str, str]]]:
    return list(zip(told["arms"], looks(len(told["arms"])), strict=True))


def curves(told: dict[str, Any]) -> Figure:
    """Each metric by round (left) and by turns so far (right): a line for each arm, whiskers for its intervals.

    The launch is every line's start by round; before any traffic there is no place for it on a logarithm of turns.
    """
    ends = {"launch": told["launch"], "all annotations": told["ceiling"]}
    turns = {arm["name"]: list(accumulate(row["turns"] for row in arm["rounds"])) for arm in told["arms"]}
    least, most = min(n[0] for n in turns.values()), max(n[-1] for n in turns.values())
    rounds = range(1 + max(len(n) for n in turns.values()))
    with panels(2 * len(METRICS), 2, width=480, height=270) as (figure, axes):
        for metric, by_round, by_turns in zip(METRICS, axes[::2], axes[1::2], strict=True):
            drawn = [bound for arm in told["arms"] for row in arm["rounds"] for bound in row["interval"][metric]]
            drawn += [end[metric] for end in ends.values()]
            for panel, along in ((by_round, "round"), (by_turns, "turns so far")):
                panel.set(title=TITLES[metric], xlabel=along)
                in_percent(panel, low=floor(10 * min(drawn)) / 10, high=ceil(10 * max(drawn)) / 10, step=0.1)
                for name, end in ends.items():
                    panel.axhline(end[metric], color=QUIET, linestyle="--", linewidth=1)
                    panel.annotate(f" {name}", (1, end[metric]), xycoords=("axes fraction", "data"), va="center")
            by_round.set_xticks(rounds, ["launch", *map(str, rounds[1:])])
            in_powers_of_ten(by_turns, least, most)
            for arm, (colour, dash) in _with_looks(told):
                stages = [told["launch"], *arm["rounds"]]
                values = [stage[metric] for stage in stages]
                bounds = [(values[0], values[0]), *(row["interval"][metric] for row in arm["rounds"])]
                whiskers = [[abs(bound[side] - v) for bound, v in zip(bounds, values, strict=True)] for side in (0, 1)]
                look: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": "o", "elinewidth": 1}
                by_round.errorbar(rounds[: len(stages)], values, whiskers, label=arm["name"], **look)
                by_turns.errorbar(turns[arm["name"]], values[1:], [side[1:] for side in whiskers], **look)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def _closed(told: dict[str, Any]) -> str:
    """Share of the gap that each arm closed, and what ours is ahead of it by."""
    ahead = told.get("ours_minus", {})
    head = "".join(f"<th>{TITLES[name]}</th>" for name in METRICS)
    head = f"<tr><th class=l>arm</th><th>turns</th>{head}" + (head if ahead else "") + "</tr>"
    over = "<th colspan=3>ours ahead by</th>" if ahead else ""
    groups = f"<tr><th></th><th></th><th colspan=3>gap closed</th>{over}</tr>"
    rows = []
    for arm, (colour, _) in _with_looks(told):
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
        "<th>correcting</th><th>coverage</th>"
        f"{''.join(f'<th>{TITLES[name]}</th>' for name in METRICS)}<th class=l>gate</th></tr>"
    )

    def metrics(stage: dict[str, Any]) -> str:
        return "".join(f"<td>{_percent(stage[name])}</td>" for name in METRICS)

    rows = [f"<tr><td class=l>launch</td>{'<td></td>' * 7}{metrics(told['launch'])}<td></td></tr>"]
    for arm in told["arms"]:
        for row in arm["rounds"]:
            shares = [f"{row['turns']:,}", _percent(row["success_rate"]), f"{row['labels']:,}"]
            correcting = (
                f"{row['label_corrections']:,}" if "label_corrections" in row else ""
            )  # not of an older program
            shares += [_percent(row["label_precision"]), correcting, _percent(row["label_coverage"])]
            cells = "".join(f"<td>{share}</td>" for share in shares)
            decided = {"yes": "promoted", "trial": "refused, but the one on trial promoted", "no": "refused"}[
                crowned(row)
            ]
            reason = escape(row["gate"], quote=True)
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
    trials = [
        f"<li>{escape(arm['name'])}, round {row['round']}: {escape(told_of_trial(trial))}</li>"
        for arm in told["arms"]
        for row in arm["rounds"]
        for trial in trials_of(row)
    ]
    if trials:
        why += (
            "<p class=note>On trial in the round, before its labels, and after the last round:</p>"
            f"<ul class=note>{''.join(trials)}</ul>"
        )
    return f"<table>{head}{''.join(rows)}</table>{why}"


def write_figure(told: dict[str, Any], path: Path) -> None:
    """Write a report of `benchmarks.loop.run_loop` as a page."""
    plots = as_svg(curves(told), "Intent accuracy, slot F1 and exact match of each arm, by round and by turns so far")
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
