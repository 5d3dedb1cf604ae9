"""report.html: the demo's figures as curves, a table and example pairs, in one file that needs no network."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.loop_reports import TITLES, crowned, told_of_trial
from benchmarks.pictures import COLOURS, as_svg, in_percent, panels

_OF_ROUNDS = {
    "success_rate": "users served",
    "rephrase_rate": "turns that say it again",
    "pair_precision": "precision of mined pairs",
    "label_precision": "precision of labels (intent)",
    "label_coverage": "turns covered by labels",
}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1040px;margin:32px auto;padding:0 16px;color:#1d2b33}
h1{font-size:26px;margin-bottom:4px} h2{font-size:19px;margin-top:34px}
table{border-collapse:collapse;width:100%;font-size:13.5px} th,td{padding:5px 8px;text-align:right}
th{border-bottom:2px solid #2a9d8f;font-weight:600} td{border-bottom:1px solid #e3e9ec}
td:first-child,th:first-child,td.l,th.l{text-align:left} .wrong{color:#b5392f} .note{color:#5b6b75}
svg{max-width:100%;height:auto}
"""


def percent(value: float) -> str:
    """A fraction of 1 as a percentage with one decimal."""
    return f"{100 * value:.1f}"


def curves(report: dict[str, Any]) -> Figure:
    """The champion's metrics with intervals and the ceiling, then what the rounds' traffic and labels were like."""
    with panels(len(TITLES) + len(_OF_ROUNDS), 4, width=255, height=190) as (figure, axes):
        for panel in axes:
            in_percent(panel)
        rounds = [f"r{row['round']}" for row in report["rounds"]]
        stages = [report["launch"], *report["rounds"]]
        for panel, (name, title) in zip(axes, TITLES.items(), strict=False):
            low, high = zip(*(stage["interval"][name] for stage in stages), strict=True)
            panel.set_title(title)
            panel.fill_between(range(len(stages)), low, high, color=COLOURS[0], alpha=0.18, linewidth=0)
            panel.plot([stage[name] for stage in stages], color=COLOURS[0], marker="o")
            panel.set_xticks(range(len(stages)), ["launch", *rounds])
            panel.axhline(report["ceiling"][name], color=COLOURS[1], linestyle="--", linewidth=1)
            ceiling = (0.98, report["ceiling"][name] + 0.02)
            panel.annotate("all annotations", ceiling, xycoords=("axes fraction", "data"), ha="right", color=COLOURS[1])
        for panel, (name, title) in zip(axes[len(TITLES) :], _OF_ROUNDS.items(), strict=True):
            panel.set_title(title)
            panel.plot([row[name] for row in report["rounds"]], color=COLOURS[0], marker="o")
            panel.set_xticks(range(len(rounds)), rounds)
    return figure


def _table(report: dict[str, Any]) -> str:
    head = (
        "<tr><th>stage</th><th>served</th><th>said again</th><th>pairs</th><th>precision</th><th>recall</th>"
        "<th>labels</th><th>precision</th><th>coverage</th><th>intent</th><th>slot F1</th><th>exact</th>"
        "<th class=l>promoted</th></tr>"
    )

    def metrics(stage: dict[str, Any]) -> str:
        cells = []
        for name in TITLES:
            low, high = stage["interval"][name]
            cells.append(f'<td title="95% interval {percent(low)} to {percent(high)}">{percent(stage[name])}</td>')
        return "".join(cells)

    rows = [f"<tr><td>launch</td>{'<td></td>' * 8}{metrics(report['launch'])}<td></td></tr>"]
    for row in report["rounds"]:
        shares = [percent(row["success_rate"]), percent(row["rephrase_rate"]), f"{row['pairs']:,}"]
        shares += [percent(row["pair_precision"]), percent(row["pair_recall"]), f"{row['labels']:,}"]
        shares += [percent(row["label_precision"]), percent(row["label_coverage"])]
        cells = "".join(f"<td>{share}</td>" for share in shares)
        trial = f"on trial in the round: {told_of_trial(row['trial'])}; then: " if row.get("trial") else ""
        gate = escape(f"{trial}{row['gate']}", quote=True)
        promoted = f'<td class=l title="{gate}">{crowned(row)}</td>'
        rows.append(f"<tr><td>round {row['round']}</td>{cells}{metrics(row)}{promoted}</tr>")
    rows.append(f"<tr><td>all annotations</td>{'<td></td>' * 8}{metrics(report['ceiling'])}<td></td></tr>")
    return f"<table>{head}{''.join(rows)}</table>"


def _examples(report: dict[str, Any]) -> str:
    rows = [
        f'<tr class="{"right" if e["right"] else "wrong"}"><td>{escape(e["said"])}</td>'
        f"<td class=l>{escape(e['said_again'])}</td><td class=l>{escape(e['understood'] or 'nothing')}</td>"
        f"<td>{e['posterior']:.3f}</td><td class=l>{'right' if e['right'] else 'wrong'}</td></tr>"
        for e in report["examples"]
    ]
    head = (
        "<tr><th>said</th><th class=l>said again</th><th class=l>understood then</th><th>posterior</th>"
        "<th class=l>truth</th></tr>"
    )
    return f"<table>{head}{''.join(rows)}</table>"


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write the report as one HTML file."""
    what = "the project's own phrasebook" if report["data"] == "phrasebook" else "utterances of a MASSIVE-format folder"
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Sayagain: what {report["locale"]} learnt</title>
<style>{_STYLE}</style>
<h1>What {report["locale"]} learnt from its users</h1>
<p class=note>Simulated users (population <b>{escape(report["population"])}</b>, {report["users"]:,} a round, seed
{report["seed"]}) speak {what}. The launch model knows {report["source"]} and {report["seed_labels"]} annotated
utterances of {report["locale"]}; everything after that it learnt from people saying it again. Intent, slot F1 and
exact match are on {report["test_utterances"]:,} utterances in wordings that no user spoke, read once at the end;
bands are 95% bootstrap intervals. {report["seconds"]:,.0f} seconds in all.</p>
<h2>Round by round</h2>{as_svg(curves(report), "The champion's metrics and the rounds' traffic and labels")}
<h2>The figures</h2>{_table(report)}
<p class=note>Percentages. "Served" and "said again" are under the model that served the round; intent, slot F1 and
exact match are of the champion after it. Hover over a figure for its interval,
over "promoted" for the gate's reason. "Trial": not the round's own challenger was promoted, but the one before, which
had served a share of the round's users.</p>
<h2>Pairs that were mined</h2>{_examples(report)}
<p class=note>A random choice of the sure ones, and some that the truth calls wrong.
The pipeline itself never sees the truth.</p>
</html>""",
        encoding="utf-8",
    )
