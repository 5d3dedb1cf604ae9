"""Loops as tables in Markdown: what each round heard, labelled and taught, as the docs show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.loop_reports import METRICS, NAMED, crowned, said, share_of_gap

COLUMNS = (
    "", "turns so far", "users served", "labels", "right", "correct", "turns covered", "slots settled, right",
    "intent", "slot F1", "exact match", "gap closed", "champion",
)  # fmt: skip
_BEFORE = COLUMNS.index("intent")  # columns that a launch and a ceiling have nothing in


def tables(reports: Sequence[dict[str, Any]]) -> str:
    """A table of every report of `benchmarks.loop.run_loop`, figures in percent, intervals at 95%.

    `gap closed` is of the three metrics, its intervals after an arm's last round; `champion` says how the round's
    challenger came to be champion: by the gate (yes), on trial, or not (no). One that did not has a line of its own.
    """
    return "\n\n".join("\n".join([_title(report), "", *_lines(report)]) for report in reports) + "\n"


def _title(report: dict[str, Any]) -> str:
    return ", ".join(said(key, report[key]) for key in NAMED)


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield _line(COLUMNS)
    yield "|---" * len(COLUMNS) + "|"
    yield _end("launch", report["launch"])
    for arm in report["arms"]:
        turns = 0
        for row in arm["rounds"]:
            turns += row["turns"]
            yield _line(_round(report, arm, row, turns))
            if figures := row.get("challenger_figures"):
                yield _unserved(report, row["challenger"], figures)
    yield _end("all annotations", report["ceiling"])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _end(name: str, figures: dict[str, Any]) -> str:
    return _line([name, *[""] * (_BEFORE - 1), *_metrics(figures), "", ""])


def _round(report: dict[str, Any], arm: dict[str, Any], row: dict[str, Any], turns: int) -> list[str]:
    name = f"round {row['round']}" if len(report["arms"]) == 1 else f"{arm['name']}, round {row['round']}"
    corrections = row.get("label_corrections")
    return [
        name,
        f"{turns:,}",
        _percent(row.get("success_rate")),
        f"{row['labels']:,}",
        _percent(row.get("label_precision")),
        "" if corrections is None else f"{corrections:,}",
        _percent(row.get("label_coverage")),
        ", ".join(_percent(row.get(key), 0) for key in ("slots_settled", "slot_precision")),
        *_metrics(row),
        _closed(report, row, arm.get("gap_closed_interval") if row is arm["rounds"][-1] else None),
        crowned(row),
    ]


def _unserved(report: dict[str, Any], version: str, figures: dict[str, Any]) -> str:
    name = f"its challenger, version {version.rpartition('/')[2]}"
    return _line([name, *[""] * (_BEFORE - 1), *_metrics(figures), _closed(report, figures), ""])


def _metrics(figures: dict[str, Any]) -> Iterator[str]:
    for name in METRICS:
        yield _percent(figures[name]) + _between(figures.get("interval"), name, 1)


def _closed(report: dict[str, Any], figures: dict[str, Any], intervals: dict[str, Any] | None = None) -> str:
    """The share of the gap that a model closes, of each metric."""
    parts = []
    for name in METRICS:
        share = share_of_gap(report["launch"][name], figures[name], report["ceiling"][name])
        parts.append(_percent(share, 0) + _between(intervals, name, 0))
    return " / ".join(parts)


def _between(intervals: dict[str, Any] | None, name: str, digits: int) -> str:
    """The interval of a metric in brackets; nothing of a report without."""
    if not intervals:
        return ""
    low, high = intervals[name]
    return f" ({_percent(low, digits)}-{_percent(high, digits)})"


def _percent(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}"
