"""Loops' reports read together: their tables, value per turn, and what holds over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sayagain.show import metric_rows, percent, write_json, write_text

Reports = Annotated[list[Path], typer.Argument(help="Reports of loops, JSON.")]


def add_to(bench: typer.Typer) -> None:
    """Register the commands in the group of benchmarks."""
    bench.command("curves")(curves)
    bench.command("seeds")(seeds)
    bench.command("tables")(tables)


def curves(reports: Reports, out: Annotated[Path, typer.Option(help="The picture, SVG.")]) -> None:
    """Value per turn: what several loops closed of their gaps, by turns of traffic, in one picture."""
    from benchmarks.learning_curves import curves_of, draw
    from benchmarks.loop_reports import METRICS, read_reports
    from benchmarks.pictures import as_svg

    found = curves_of(read_reports(reports))
    write_text(out, as_svg(draw(found), "Share of the gap closed, by turns of traffic"))
    rows = [
        (curve.name if n == 0 else "", f"{turns:,}", *(percent(shares[m]) for m in METRICS))
        for curve in found
        for n, (turns, shares) in enumerate(curve.points)
    ]
    metric_rows("Share of the gap closed, percent", ("", "turns so far", "intent", "slot F1", "exact match"), rows)


def seeds(
    reports: Reports,
    out: Annotated[Path | None, typer.Option(help="The summary, JSON.")] = None,
) -> None:
    """What holds over seeds: each arm's share of the gap closed, and how far ours is ahead, with intervals."""
    from benchmarks.loop_reports import METRICS, read_reports
    from benchmarks.loop_seeds import over_seeds

    told = over_seeds(read_reports(reports))
    write_json(out, told)
    columns = ("", "seeds", "intent", "slot F1", "exact match")
    for experiment in dict.fromkeys(row["experiment"] for row in told):
        rows = [row for row in told if row["experiment"] == experiment]
        title = f"{experiment}, {rows[0]['rounds']} rounds; percent: mean (worst to best seed; 95% interval of it)"
        lines: list[tuple[object, ...]] = [
            (row["arm"], len(row["seeds"]), *(_spread(row["gap_closed"][m]) for m in METRICS)) for row in rows
        ]
        metric_rows(f"Share of the gap closed: {title}", columns, lines)
        ahead = [row for row in rows if "ours_minus" in row]
        if ahead:
            lines = [("ours - " + r["arm"], "", *(_spread(r["ours_minus"][m]) for m in METRICS)) for r in ahead]
            metric_rows(f"Ours ahead, seed by seed: {title}", columns, lines)


def tables(
    reports: Reports,
    out: Annotated[Path | None, typer.Option(help="The tables, Markdown; without it they are printed.")] = None,
) -> None:
    """Every round of each loop as a table in Markdown, as docs/learning.md has them."""
    from benchmarks.loop_reports import read_reports
    from benchmarks.loop_tables import tables

    told = tables(read_reports(reports))
    if out is None:
        typer.echo(told, nl=False)
    else:
        write_text(out, told)


def _spread(found: dict[str, Any]) -> str:
    said = f"{percent(found['low'])} to {percent(found['high'])}"
    if found["interval"] is None:
        return percent(found["mean"])
    return f"{percent(found['mean'])} ({said}; {' to '.join(map(percent, found['interval']))})"
