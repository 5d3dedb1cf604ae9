"""report.html: the demo's figures as curves, a table and example pairs, in one file that needs no network."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

METRICS = (("intent_accuracy", "intent accuracy"), ("slot_f1", "slot F1"), ("exact_match", "exact match"))
_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 190, 38, 26
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1040px;margin:32px auto;padding:0 16px;color:#1d2b33}
h1{font-size:26px;margin-bottom:4px} h2{font-size:19px;margin-top:34px} .plots{display:flex;flex-wrap:wrap;gap:14px}
table{border-collapse:collapse;width:100%;font-size:13.5px} th,td{padding:5px 8px;text-align:right}
th{border-bottom:2px solid #2a9d8f;font-weight:600} td{border-bottom:1px solid #e3e9ec}
td:first-child,th:first-child,td.l,th.l{text-align:left} .wrong{color:#b5392f} .note{color:#5b6b75}
svg text{font:11px system-ui,sans-serif;fill:#4a5a63}
"""


def percent(value: float) -> str:
    """A fraction of 1 as a percentage with one decimal."""
    return f"{100 * value:.1f}"


def _plot(title: str, values: list[float], low_high: list[tuple[float, float]] | None, ceiling: float | None) -> str:
    """A curve over launch and rounds, its interval as a band and the ceiling as a dashed line."""
    across = (_WIDTH - _LEFT - 12) / max(len(values) - 1, 1)
    high = _HEIGHT - _TOP - 26

    def at(i: int, v: float) -> str:
        return f"{_LEFT + i * across:.1f},{_TOP + (1 - v) * high:.1f}"

    parts = [f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(title)}">']
    parts.append(f'<text x="{_LEFT}" y="14" style="font-weight:600;fill:#1d2b33">{escape(title)}</text>')
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = _TOP + (1 - tick) * high
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e9ec"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick * 100:.0f}</text>')
    if low_high:
        band = [at(i, h) for i, (_, h) in enumerate(low_high)]
        band += [at(i, low_high[i][0]) for i in reversed(range(len(low_high)))]
        parts.append(f'<polygon points="{" ".join(band)}" fill="#2a9d8f" opacity="0.18"/>')
    if ceiling is not None:
        y = _TOP + (1 - ceiling) * high
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e76f51" stroke-dasharray="5 4"/>'
            f'<text x="{_WIDTH - 12}" y="{y - 4:.1f}" text-anchor="end" style="fill:#e76f51">all annotations</text>'
        )
    line = " ".join(at(i, v) for i, v in enumerate(values))
    parts.append(f'<polyline points="{line}" fill="none" stroke="#2a9d8f" stroke-width="2.2"/>')
    for i, v in enumerate(values):
        x, _, height = at(i, v).partition(",")
        label = "launch" if low_high and i == 0 else f"r{i if low_high else i + 1}"
        parts.append(f'<circle cx="{x}" cy="{height}" r="3.2" fill="#2a9d8f"><title>{percent(v)}</title></circle>')
        parts.append(f'<text x="{x}" y="{_HEIGHT - 8}" text-anchor="middle">{label}</text>')
    return "".join([*parts, "</svg>"])


def _curves(report: dict[str, Any]) -> str:
    stages = [report["launch"], *report["rounds"]]
    plots = [
        _plot(
            title,
            [stage[name] for stage in stages],
            [tuple(stage["interval"][name]) for stage in stages],
            report["ceiling"][name],
        )
        for name, title in METRICS
    ]
    for name, title in (
        ("success_rate", "users served (by the round's model)"),
        ("rephrase_rate", "turns that say it again"),
        ("pair_precision", "precision of mined pairs"),
        ("label_precision", "precision of labels (intent)"),
        ("label_coverage", "turns covered by labels"),
    ):
        plots.append(_plot(title, [row[name] for row in report["rounds"]], None, None))
    return "\n".join(plots)


def _table(report: dict[str, Any]) -> str:
    names = [name for name, _ in METRICS]
    head = (
        "<tr><th>stage</th><th>served</th><th>said again</th><th>pairs</th><th>precision</th><th>recall</th>"
        "<th>labels</th><th>precision</th><th>coverage</th><th>intent</th><th>slot F1</th><th>exact</th>"
        "<th class=l>promoted</th></tr>"
    )

    def metrics(stage: dict[str, Any]) -> str:
        cells = []
        for name in names:
            low, high = stage["interval"][name]
            cells.append(f'<td title="95% interval {percent(low)} to {percent(high)}">{percent(stage[name])}</td>')
        return "".join(cells)

    rows = [f"<tr><td>launch</td>{'<td></td>' * 8}{metrics(report['launch'])}<td></td></tr>"]
    for row in report["rounds"]:
        shares = [percent(row["success_rate"]), percent(row["rephrase_rate"]), f"{row['pairs']:,}"]
        shares += [percent(row["pair_precision"]), percent(row["pair_recall"]), f"{row['labels']:,}"]
        shares += [percent(row["label_precision"]), percent(row["label_coverage"])]
        cells = "".join(f"<td>{share}</td>" for share in shares)
        gate = escape(row["gate"], quote=True)
        promoted = f'<td class=l title="{gate}">{"yes" if row["promoted"] else "no"}</td>'
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
<h2>Round by round</h2><div class=plots>{_curves(report)}</div>
<h2>The figures</h2>{_table(report)}
<p class=note>Percentages. "Served" and "said again" are under the model that served the round; intent, slot F1 and
exact match are of the champion after it. Hover over a figure for its interval,
over "promoted" for the gate's reason.</p>
<h2>Pairs that were mined</h2>{_examples(report)}
<p class=note>A random choice of the sure ones, and some that the truth calls wrong.
The pipeline itself never sees the truth.</p>
</html>""",
        encoding="utf-8",
    )
