"""Frames of what annotated utterances say of near formulations: the mature language's and the launch language's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.encoder import encoder_of
from jobs.lake import Run, digest
from jobs.utterances import encoder_model
from jobs.variant_edges import vectors_of
from mining.encoder import embed
from mining.gold_neighbours import told_by_gold
from mining.neighbours import Ints, fixed_point
from schemas.annotated import Annotated
from schemas.columns import list_of
from schemas.errors import InputError
from schemas.normalise import normalise

_MOST = 50_000  # annotated wordings that are compared with
_NAMED, _LEAST = 5, 0.01  # intents that are kept of each formulation
_TOLD = pa.schema(
    [
        ("formulation_id", pa.string()),
        ("annotated", list_of(pa.struct([("intent", pa.string()), ("weight", pa.float64())]))),
    ]
)


def _kernel(
    gold: NDArray[np.int16], numbers: Ints, intents: Sequence[str]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if not len(batch):
                continue
            told = told_by_gold(vectors_of(pa.Table.from_batches([batch])), gold, numbers, len(intents))
            best = np.argsort(-told, axis=1, kind="stable")[:, :_NAMED]
            weight = np.round(np.take_along_axis(told, best, axis=1), 6)
            named = [
                [{"intent": intents[i], "weight": w} for i, w in zip(row, weights, strict=True) if w >= _LEAST]
                for row, weights in zip(best.tolist(), weight.tolist(), strict=True)
            ]
            yield pa.RecordBatch.from_arrays(
                [batch.column("formulation_id"), pa.array(named, _TOLD.field("annotated").type)], schema=_TOLD
            )

    return kernel


def _embedded(run: Run, texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of the texts, kept beside the encoder: a large model takes minutes for them.

    Raises:
        InputError: the formulations were embedded by another encoder than the lake has now.
    """
    path, fingerprint = encoder_of(run.lake)
    embedded = run.lake.dataset("utterances", run.inputs["utterances"])
    if embedded.count_rows(filter=pc.field("encoder") != fingerprint):
        raise InputError(
            "the encoder has changed since the formulations were embedded: run the step `utterances` first"
        )
    kept = run.lake.encoders / f"gold-{digest(fingerprint, *texts)}.npy"
    if not kept.is_file():
        vectors = embed(encoder_model(path, run.settings.encoder), texts, run.settings.encoder.batch_size)
        kept.parent.mkdir(parents=True, exist_ok=True)
        for old in kept.parent.glob("gold-*"):
            old.unlink()
        making = Path(f"{kept}.making")
        with making.open("wb") as file:
            np.save(file, vectors)
        making.rename(kept)
    return np.asarray(np.load(kept), dtype=np.float32)


def told_by_annotated(run: Run, gold: Sequence[Annotated]) -> DataFrame:
    """What annotated train utterances, of whatever locale, say of each formulation's intent.

    Args:
        gold: these utterances.

    Returns:
        formulation_id, annotated (intent, weight): the likeliest; no rows where nothing is annotated.

    Raises:
        InputError: see `_embedded`.

    Cost: `told_by_gold`'s for all formulations and up to 50,000 annotated wordings, whose vectors every task holds.
    """
    every = {(normalise(row.utterance), row.interpretation.intent) for row in gold}
    known = sorted(pair for pair in every if pair[0])
    if len(known) > _MOST:
        drawn = np.sort(np.random.default_rng(run.settings.seed).choice(len(known), _MOST, replace=False))
        known = [known[i] for i in drawn.tolist()]
    run.count(annotated_neighbours=len(known), annotated_left_out=len(every) - len(known))
    if not known:
        return run.spark.createDataFrame([], from_arrow_schema(_TOLD))
    intents = sorted({intent for _, intent in known})
    numbers = np.searchsorted(intents, [intent for _, intent in known]).astype(np.int64)
    vectors = fixed_point(_embedded(run, [text for text, _ in known]))  # once, not batch by batch
    kernel = _kernel(vectors, numbers, intents)
    chosen = run.read("utterances").select("formulation_id", "embedding")
    return chosen.mapInArrow(kernel, from_arrow_schema(_TOLD))
