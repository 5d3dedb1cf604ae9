"""interactions -> turns: sessions, normalised text and the friction posterior."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

import mining.fellegi_sunter
import mining.friction
import mining.sessions
import schemas.normalise
from jobs.lake import Run, Step
from jobs.patterns import counted, score, scored
from jobs.staged import Kernel, Staged
from mining.fellegi_sunter import fit, pattern_key
from mining.friction import comparisons, evidence_levels
from mining.sessions import seconds, session_id, sessionise, whole_sessions
from schemas.normalise import formulation_id, normalise
from schemas.settings import SessionSettings
from schemas.tables import INTERACTIONS, TURNS

_LATER = ("friction", "evidence", "run_id")
_STAGED = pa.schema([*(f for f in TURNS.arrow if f.name not in _LATER), pa.field("pattern", pa.int64())])
_COUNTS = pa.schema([("locale", pa.string()), ("pattern", pa.int64()), ("count", pa.int64())])


@lru_cache(maxsize=1 << 17)
def _formulation(locale: str, utterance: str) -> tuple[str, str]:
    """Normalised text and formulation; popular wordings come again and again. At most some 30 MB a worker."""
    text = normalise(utterance)
    return text, formulation_id(locale, text)


def _formulations(table: pa.Table) -> pa.Table:
    found = map(_formulation, table.column("locale").to_pylist(), table.column("utterance").to_pylist())
    texts, ids = zip(*found, strict=True)
    return pa.table({"text": pa.array(texts, pa.string()), "formulation_id": pa.array(ids, pa.string())})


def _kernel(sessions: SessionSettings, held_out: float, sizes: tuple[int, ...]) -> Kernel:
    """The first pass: the turns, all but friction, and how often each pattern of evidence was seen."""

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table | None, pa.Table | None]]:
        for table in whole_sessions(batches, sessions.gap_seconds, sessions.max_turns):
            first, position = sessionise(table, sessions.gap_seconds, sessions.max_turns)
            said = _formulations(table)
            starts, session = np.unique(first, return_inverse=True)
            users, ids = (table.column(name).take(starts).to_pylist() for name in ("user_id", "interaction_id"))
            chosen = [int(user[:8], 16) / 2**32 < held_out for user in users]
            gap = np.diff(seconds(table.column("occurred_at")))
            inside = position[1:] > 0  # the row has a previous turn in its session
            silence = pa.array(gap, mask=~inside) if len(table) > 1 else pa.nulls(0, pa.float64())
            nothing = pa.nulls(1, pa.float64())
            columns = {name: table.column(name) for name in table.schema.names}
            columns |= {
                "session_id": pa.array([session_id(*one) for one in zip(users, ids, strict=True)]).take(session),
                "position": pa.array(position.astype(np.int32)),
                "held_out": pa.array(np.array(chosen, dtype=bool)[session]),
                "seconds_since_previous": pa.concat_arrays([nothing, silence]),
                "seconds_to_next": pa.concat_arrays([silence, nothing]),
                "text": said.column("text"),
                "formulation_id": said.column("formulation_id"),
            }
            levels = evidence_levels(pa.table(columns))
            columns["pattern"] = pa.array(pattern_key(levels, sizes))
            made = pa.table({name: columns[name] for name in _STAGED.names}).cast(_STAGED)
            yield (
                made,
                made.group_by(["locale", "pattern"]).aggregate([([], "count_all")]).rename_columns(_COUNTS.names),
            )

    return kernel


def _run(run: Run) -> None:
    beliefs = comparisons(run.settings.friction.silent_failure)
    sizes = tuple(len(c.levels) for c in beliefs)
    logged = [n for n in TURNS.names if n in INTERACTIONS.names and n != "run_id"]
    sorted_ = (
        run.read("interactions")
        .select(*logged)
        .repartition(run.partitions("interactions"), "user_id")
        .sortWithinPartitions("user_id", "occurred_at", "interaction_id")
    )
    staged = Staged(sorted_, _kernel(run.settings.sessions, run.settings.labels.held_out_users, sizes), _COUNTS)
    seen = staged.counts().groupBy("locale", "pattern").agg(F.sum("count").cast("double").alias("count"))
    counts = counted(seen.toArrow(), sizes)
    friction = run.settings.friction
    models = {
        locale: fit(beliefs, patterns, n, prior=friction.prior, iterations=friction.iterations)
        for locale, (patterns, n) in counts.items()
    }
    posterior = scored(run.spark, score(counts, models, sizes, name="friction", evidence="evidence"))
    turns = staged.rows(lambda table: table, _STAGED).join(F.broadcast(posterior), ["locale", "pattern"])
    run.count(read=sum(int(n.sum()) for _, n in counts.values()))
    run.count(turns=run.write(TURNS, turns))
    run.details["friction"] = {locale: model.to_json() for locale, model in models.items()}
    staged.free()


STEP = Step(
    name="turns",
    reads=("interactions",),
    writes=(TURNS,),
    settings=("sessions", "friction", "labels"),
    code=(mining.fellegi_sunter, mining.friction, mining.sessions, schemas.normalise),
    run=_run,
)
