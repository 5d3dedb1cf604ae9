"""One pass over made-up traffic while the launch model trains: a JVM is several times slower where it runs first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from jobs.ingest import ingest
from jobs.pipeline import mine
from schemas.lake import Lake
from schemas.settings import Settings
from simulator.synthetic import SyntheticTraffic, block, json_lines

_TURNS = 1000


def rehearse(settings: Settings, folder: Path, enough: Callable[[], bool]) -> None:
    """Start Spark, ingest synthetic turns into a lake in `folder` and mine them until `enough`; remove the folder."""
    traffic = SyntheticTraffic(seed=settings.seed, locale=settings.locale or "en-US")
    raw = folder / "raw.jsonl"
    folder.mkdir(parents=True)
    raw.write_text("\n".join(json_lines(traffic, 0, block(traffic, 0, _TURNS)[0]).to_pylist()) + "\n", encoding="utf-8")
    scratch = settings.model_copy(update={"lake": folder / "lake"})
    lake = Lake(scratch.lake).open(create=True)
    ingest(lake, scratch, [str(raw)])
    for _ in mine(lake, scratch):
        if enough():
            break
    shutil.rmtree(folder)
