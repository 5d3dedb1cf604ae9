"""Trains the embedded encoder from the lake, or names the configured one. Owns `<lake>/_encoders`, and no table.

An encoder that was trained on nearly the same log is kept: trained anew it would be another one, all vectors with it,
and wordings near a threshold would change places for nothing that users did.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

import mining.encoder
import mining.pieces
import mining.positives
from jobs.lake import Run, Step, digest, source_of
from mining.encoder import fingerprint, train_embedded
from mining.positives import Positive, gold_positives, halves
from schemas.annotated import read_annotated
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.normalise import normalise
from schemas.parallel import read_parallel
from schemas.settings import Settings

_MOST_TEXTS, _MOST_PAIRS, _MOST_GOLD = 200_000, 100_000, 50_000
SURE, SERVED = 0.8, 0.5  # posterior and acceptance of the mined pairs that are learnt from


def gold_stamp(lake: Lake, settings: Settings) -> list[tuple[str, int, int]]:
    """What tells one state of the gold files from another: names, sizes and times of change."""
    stamps = []
    for path in settings.training.gold:
        if not path.is_file():
            raise InputError(f"training.gold: no file at {path}")
        stamps.append((str(path), path.stat().st_size, path.stat().st_mtime_ns))
    return stamps


def _parallel(paths: tuple[Path, ...]) -> Iterator[Positive]:
    for path in paths:
        for left, right in read_parallel(path):
            yield Positive(normalise(left), normalise(right))


def _run(run: Run) -> None:
    chosen, seed = run.settings.encoder, run.settings.seed
    if chosen.model != "embedded":
        space = fingerprint(chosen.model, chosen.prompt, chosen.truncate_dimensions, chosen.half_precision)
        run.details |= {"path": chosen.model, "fingerprint": space}
        return
    wordings = run.read("turns").select("text").distinct()
    sure = (
        run.read("rephrase_pairs")
        .where((F.col("kind") == "rephrase") & ~F.col("held_out"))
        .where((F.col("posterior") >= SURE) & (F.col("target_acceptance") >= SERVED))
    )
    held = {"wordings": wordings.count(), "sure_pairs": sure.count()}
    run.count(**held)
    recipe = digest(
        source_of(STEP),
        chosen.model_dump(mode="json", exclude={"keep_until"}),
        seed,
        gold_stamp(run.lake, run.settings),
    )
    if kept := _kept(run.lake, recipe, held, chosen.keep_until):
        run.details |= kept
        run.count(kept=1)
        return
    texts = [r["text"] for r in wordings.orderBy(F.xxhash64("text")).limit(_MOST_TEXTS).collect()]
    mined = sure.orderBy("pair_id").limit(_MOST_PAIRS).select("source_utterance", "target_utterance").collect()
    annotated = [row for path in run.settings.training.gold for row in read_annotated(path, ("train",))]
    gold = gold_positives(annotated, seed=seed, most=_MOST_GOLD)
    parallel = list(_parallel(chosen.parallel))
    users = [Positive(normalise(r["source_utterance"]), normalise(r["target_utterance"])) for r in mined]
    halved = halves(texts, seed=seed, most=_MOST_PAIRS)
    folder = run.lake.encoders / run.run_id
    making = folder.with_name(f".{folder.name}")
    shutil.rmtree(making, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    train_embedded(
        [*texts, *(p.left for p in gold), *(p.left for p in parallel), *(p.right for p in parallel)],
        [*gold, *parallel, *users],
        making,
        first=halved,
        dimensions=chosen.dimensions,
        vocabulary=chosen.vocabulary,
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        seed=seed,
    )
    making.rename(folder)
    path = str(folder.relative_to(run.lake.path))
    run.details |= {"path": path, "fingerprint": fingerprint(folder), "recipe": recipe, "trained_on": held}
    run.count(
        texts=len(texts),
        gold_positives=len(gold),
        parallel_positives=len(parallel),
        mined_positives=len(users),
        halved_texts=len(halved),
    )


def _kept(lake: Lake, recipe: str, held: dict[str, int], keep_until: float) -> dict[str, Any] | None:
    """Details of the published encoder, where it was made by this recipe and the log has not outgrown it."""
    last = lake.manifest("encoder")
    if last is None or last.details.get("recipe") != recipe or not (lake.path / last.details["path"]).is_dir():
        return None
    before = last.details["trained_on"]
    grown = any(held[name] >= keep_until * max(before[name], 1) for name in held)
    return None if grown else last.details


def encoder_of(lake: Lake) -> tuple[str, str]:
    """Path or name, and fingerprint, of the encoder that the last run of this step published.

    Raises:
        InputError: the step has not run.
    """
    manifest = lake.manifest("encoder")
    if manifest is None:
        raise InputError(f"the lake at {lake.path} has no encoder yet: run the step `encoder` first")
    inside = lake.path / manifest.details["path"]
    return str(inside if inside.is_dir() else manifest.details["path"]), manifest.details["fingerprint"]


STEP = Step(
    name="encoder",
    reads=("turns", "rephrase_pairs"),
    writes=(),
    settings=("encoder",),
    code=(mining.encoder, mining.pieces, mining.positives),
    run=_run,
    also=gold_stamp,
)
