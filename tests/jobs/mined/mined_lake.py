"""A planted log, mined: the lake that the tests of the steps look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from planted_log import LOCALE, Log, plant, read

from jobs.lake import Result
from jobs.pipeline import STEPS, mine
from schemas.lake import Lake
from schemas.settings import Settings, load_settings
from schemas.tables import BY_NAME

FLOOR = 4
TABLES = [table.name for step in STEPS.values() for table in step.writes]


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Settings of a lake in the folder, with its gold file; dots in names are written `__`."""
    empty = folder / "empty.toml"
    empty.write_text("")
    flags = {
        "locale": LOCALE,
        "encoder.dimensions": 32,
        "encoder.vocabulary": 500,
        "encoder.epochs": 1,
        "labels.vote_floor": FLOOR,
        "training.gold": [str(folder / "gold.jsonl")],
        "training.max_per_cluster": 3,
    }
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return load_settings(flags | changed, empty)


# One wording that users teach as well, with another intent; one of the source language, one of a third.
GOLD = (
    ("train", LOCALE, "gold_intent", "weka kengele ya saa moja", "weka kengele ya [time : saa moja]"),
    ("dev", LOCALE, "music_play", "cheza nyimbo", "cheza nyimbo"),
    ("test", LOCALE, "music_play", "siri ya test", "siri ya test"),
    ("train", "en-US", "alarm_set", "wake me at seven", "wake me at [time : seven]"),
    ("train", "de-DE", "alarm_set", "weck mich", "weck mich"),
)


def write_gold(folder: Path) -> None:
    names = ("partition", "locale", "intent", "utt", "annot_utt")
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in GOLD]
    (folder / "gold.jsonl").write_text("\n".join(lines) + "\n")


class Mined:
    """A mined lake, its log and what the steps said."""

    def __init__(self, folder: Path, log: Log) -> None:
        folder.mkdir(exist_ok=True)
        write_gold(folder)
        self.folder, self.log = folder, log
        self.lake = plant(folder / "lake", log.rows)
        self.settings = settings_for(folder)
        self.results: dict[str, Result] = {r.step: r for r in mine(self.lake, self.settings)}

    def rows(self, table: str) -> list[dict[str, Any]]:
        return read(self.lake, table)


def versions(lake: Lake) -> dict[str, int]:
    return {name: DeltaTable(lake.table(name)).version() for name in TABLES}


def agree(one: Any, other: Any, where: str) -> None:
    """Equal, doubles to 1e-6."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            agree(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            agree(a, b, f"{where}[{i}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, abs=1e-6), where
    else:
        assert one == other, where


def same_tables(one: Lake, other: Lake, tables: list[str] = TABLES, without: tuple[str, ...] = ()) -> None:
    for name in tables:
        key = BY_NAME[name].key
        first, second = (
            sorted(
                ({k: v for k, v in row.items() if k not in without} for row in read(lake, name)),
                key=lambda row: [str(row.get(k)) for k in key],
            )
            for lake in (one, other)
        )
        agree(first, second, name)


Remade = tuple[Lake, dict[str, str]]
