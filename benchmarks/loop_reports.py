"""Reports that `sayagain bench loop` wrote: reading them, and naming what tells one loop from another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.errors import InputError

TITLES = {"intent_accuracy": "intent accuracy", "slot_f1": "slot F1", "exact_match": "exact match"}
METRICS = tuple(TITLES)
NAMED = ("locale", "seed_labels", "users", "seed")  # what tells one loop from another, in this order
_HELD = {*NAMED, "launch", "ceiling", "arms"}


def read_reports(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Reports that `sayagain bench loop` wrote.

    Raises:
        InputError: names every file that is none.
    """
    told, faults = [], []
    for path in paths:
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            faults.append(f"{path}: {error}")
            continue
        if not isinstance(report, dict) or not report.keys() >= _HELD:
            faults.append(f"{path}: no report of a loop")
        else:
            told.append(report)
    if faults:
        raise InputError("\n".join([*faults, "give JSON files that `sayagain bench loop --out` wrote"]))
    return told


def crowned(row: dict[str, Any]) -> str:
    """Whether a round has a new champion: yes (the gate passed its challenger), trial (the users did the one on trial),
    or no."""
    passed = any(trial["result"] == "passed" for trial in trials_of(row))
    return "yes" if row["promoted"] else "trial" if passed else "no"


def trials_of(row: dict[str, Any]) -> list[dict[str, str]]:
    """What became of challengers on trial in a round, and of that of a last round in the turns after it; none of an
    older program's."""
    return [trial for heard in (row, row.get("closing") or {}) if (trial := heard.get("trial"))]


def told_of_trial(trial: dict[str, str]) -> str:
    """What became of a challenger on trial in a round, in a sentence."""
    became = {"passed": "became champion", "worse": "was taken off trial", "open": "stayed on trial"}[trial["result"]]
    return f"{trial['challenger']} {became}: {trial['reason']}"


def said(key: str, value: Any) -> str:
    """One of `NAMED` as people read it: 300 seed labels."""
    if key == "locale":
        return str(value)
    return f"seed {value}" if key == "seed" else f"{value:,} {key.replace('_', ' ')}"


def share_of_gap(launch: float, now: float, best: float) -> float:
    """Share of the way from launch to ceiling; 0 where there is no way to go."""
    return (now - launch) / (best - launch) if best > launch else 0.0
