"""interactions -> turns: sessions, normalised text and the friction posterior."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

import mining.friction
import mining.friction_model
import mining.meetings
import mining.sessions
import schemas.normalise
from jobs.lake import Run, Step
from jobs.staged import Kernel, Staged
from mining.fellegi_sunter import pattern_key
from mining.friction import CONFIDENCE, CONTINUED, FEEDBACK, SIZES, evidence_levels
from mining.friction_model import FrictionModel, fit_friction, friction, level_name
from mining.meetings import MET, SEEN, met, seen, users
from mining.sessions import seconds, session_id, sessionise, whole_sessions
from schemas.columns import EVIDENCE
from schemas.normalise import formulation_id, normalise
from schemas.settings import SessionSettings
from schemas.tables import INTERACTIONS, TURNS

_LATER = ("friction", "evidence", "run_id")
_KEYS = [pa.field("pattern", pa.int64()), pa.field("wording", pa.int64())]
_STAGED = pa.schema([*(f for f in TURNS.arrow if f.name not in _LATER), *_KEYS])
_SCORED = pa.schema(
    [
        ("wording", pa.int64()),
        ("friction", pa.float64()),
        ("bits", pa.float64()),
        ("intent_bits", pa.float64()),
        ("intent", pa.string()),
        ("met_by", pa.int64()),
    ]
)
_OWN = pa.schema([("locale", pa.string()), ("pattern", pa.int64()), ("own", EVIDENCE), ("own_bits", pa.float64())])
_FITTED = 500_000  # wordings of a locale that its model is fitted to, a sample by hash
_BROADCAST = 3_000_000  # wordings whose scores every task holds (some 200 MB); more are joined by a shuffle


@lru_cache(maxsize=1 << 17)
def _formulation(locale: str, utterance: str) -> tuple[str, str]:
    """Normalised text and formulation; popular wordings come again and again. At most some 30 MB a worker."""
    text = normalise(utterance)
    return text, formulation_id(locale, text)


def _formulations(table: pa.Table) -> pa.Table:
    locale, said = (table.column(name).combine_chunks().dictionary_encode() for name in ("locale", "utterance"))
    known = len(locale.dictionary)
    both = said.indices.to_numpy().astype(np.int64) * known + locale.indices.to_numpy()
    distinct, place = np.unique(both, return_inverse=True)
    wordings = (part.take(pa.array(at)).to_pylist() for part, at in
                ((locale.dictionary, distinct % known), (said.dictionary, distinct // known)))  # fmt: skip
    found = list(map(_formulation, *wordings))
    rows = pa.array(place)
    columns = (pa.array([one[i] for one in found], pa.string()).take(rows) for i in range(2))
    return pa.table(dict(zip(("text", "formulation_id"), columns, strict=True)))


def _kernel(sessions: SessionSettings, held_out: float) -> Kernel:
    """The first pass: the turns, all but friction, and who met which wording."""

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table | None, pa.Table | None]]:
        for table in whole_sessions(batches, sessions.gap_seconds, sessions.max_turns):
            first, position = sessionise(table, sessions.gap_seconds, sessions.max_turns)
            said = _formulations(table)
            starts, session = np.unique(first, return_inverse=True)
            people, ids = (table.column(name).take(starts).to_pylist() for name in ("user_id", "interaction_id"))
            chosen = [int(user[:8], 16) / 2**32 < held_out for user in people]
            gap = np.diff(seconds(table.column("occurred_at")))
            inside = position[1:] > 0  # the row has a previous turn in its session
            silence = pa.array(gap, mask=~inside) if len(table) > 1 else pa.nulls(0, pa.float64())
            nothing = pa.nulls(1, pa.float64())
            columns = {name: table.column(name) for name in table.schema.names}
            columns |= {
                "session_id": pa.array([session_id(*one) for one in zip(people, ids, strict=True)]).take(session),
                "position": pa.array(position.astype(np.int32)),
                "held_out": pa.array(np.array(chosen, dtype=bool)[session]),
                "seconds_since_previous": pa.concat_arrays([nothing, silence]),
                "seconds_to_next": pa.concat_arrays([silence, nothing]),
                "text": said.column("text"),
                "formulation_id": said.column("formulation_id"),
            }
            turns = pa.table(columns)
            pattern = pattern_key(evidence_levels(turns), SIZES)
            wording, meetings = met(turns, pattern)
            columns |= {"pattern": pa.array(pattern), "wording": pa.array(wording)}
            yield pa.table({name: columns[name] for name in _STAGED.names}).cast(_STAGED), meetings

    return kernel


def _seen(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A partition's wordings, each whole."""
    yield from seen(pa.Table.from_batches(batches, MET)).to_batches()


def _fit(run: Run, wordings: DataFrame) -> dict[str, FrictionModel]:
    """The model of each locale, from at most `_FITTED` wordings of it."""
    many = {row["locale"]: row["count"] for row in wordings.groupBy("locale").count().collect()}
    run.count(wordings=sum(many.values()))
    one_in = F.create_map(*[F.lit(x) for name, n in many.items() for x in (name, -(-n // _FITTED))])
    sample = wordings.where(F.pmod("wording", one_in[F.col("locale")]) == 0) if many else wordings
    alike = sample.groupBy("locale", "answer", "intent", "seen").agg(F.count("*").cast("double").alias("count"))
    # Sums are made in this order: the same log has the same model, however it was partitioned.
    rows = alike.orderBy("locale", "answer", "intent", "seen").toArrow()
    locales, chosen = np.asarray(rows.column("locale").to_pylist(), dtype=object), run.settings.friction
    return {
        locale: fit_friction(
            rows.filter(pa.array(locales == locale)), rows.column("count").to_numpy()[locales == locale],
            prior=chosen.prior, silent_failure=chosen.silent_failure, iterations=chosen.iterations,
        )
        for locale in sorted(many)
    }  # fmt: skip


def _own(models: Mapping[str, FrictionModel]) -> pa.Table:
    """What a turn of each pattern shows of itself."""
    levels = np.array(list(product(*map(range, SIZES))), dtype=np.int64)
    keys, rows = pattern_key(levels, SIZES), []
    for locale, model in models.items():
        weights = model.own(levels)
        for i, (response, confidence, given, went_on) in enumerate(levels.tolist()):
            shown = (level_name(response * len(CONFIDENCE) + confidence), FEEDBACK[given], CONTINUED[went_on])
            pieces = [(name, level, float(w[i])) for (name, w), level in zip(weights.items(), shown, strict=True)]
            rows.append((locale, int(keys[i]), pieces, sum(weight for *_, weight in pieces)))
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(_OWN)
    named = [[dict(zip(("name", "level", "weight"), piece, strict=True)) for piece in own] for own in columns[2]]
    return pa.table([columns[0], columns[1], pa.array(named, EVIDENCE), columns[3]], schema=_OWN)


def _scored(models: Mapping[str, FrictionModel], wordings: DataFrame) -> DataFrame:
    """The odds of each wording's answer, and how many users met it."""

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            table = pa.Table.from_batches([batch])
            for locale in sorted(set(table.column("locale").to_pylist())):
                rows, model = table.filter(pc.equal(table.column("locale"), locale)), models[locale]
                intents, bits = rows.column("intent"), model.bits(rows)
                columns = [rows.column("wording"), friction(bits), bits, model.of_intents(intents.to_pylist()),
                           intents, users(rows)]  # fmt: skip
                yield from pa.table(columns, schema=_SCORED).to_batches()

    return wordings.mapInArrow(score, from_arrow_schema(_SCORED))


def _piece(name: str, level: Column, weight: Column) -> Column:
    return F.struct(F.lit(name).alias("name"), level.alias("level"), weight.alias("weight"))


def _with_friction(run: Run, staged: Staged, wordings: DataFrame, models: Mapping[str, FrictionModel]) -> DataFrame:
    scored = _scored(models, wordings)
    if run.counts["wordings"] <= _BROADCAST:
        scored = F.broadcast(scored)
    others = F.round(F.expr("bits - intent_bits - own_bits"), 6)
    pieces = [
        F.struct(
            F.lit("intent").alias("name"), F.col("of.intent").alias("level"), F.col("intent_bits").alias("weight")
        ),
        F.struct(
            F.lit("others").alias("name"),
            F.concat(F.col("met_by").cast("string"), F.lit(" users met it")).alias("level"),
            others.alias("weight"),
        ),
    ]
    return (
        staged.rows(lambda table: table, _STAGED)
        .join(F.broadcast(run.spark.createDataFrame(_own(models))), ["locale", "pattern"])
        .join(scored.alias("of"), "wording")
        .withColumn("evidence", F.concat("own", F.array(*pieces)))
    )


def _run(run: Run) -> None:
    logged = [n for n in TURNS.names if n in INTERACTIONS.names and n != "run_id"]
    parts = run.partitions("interactions")
    sorted_ = (
        run.read("interactions")
        .select(*logged)
        .repartition(parts, "user_id")
        .sortWithinPartitions("user_id", "occurred_at", "interaction_id")
    )
    staged = Staged(sorted_, _kernel(run.settings.sessions, run.settings.labels.held_out_users), MET)
    wordings = staged.counts().repartition(parts, "wording").mapInArrow(_seen, from_arrow_schema(SEEN)).persist()
    models = _fit(run, wordings)
    with staged.second_pass():
        turns = run.write(TURNS, _with_friction(run, staged, wordings, models))
    run.count(read=run.rows("interactions"), turns=turns)
    run.details["friction"] = {locale: model.to_json() for locale, model in models.items()}
    wordings.unpersist()
    staged.free()


STEP = Step(
    name="turns",
    reads=("interactions",),
    writes=(TURNS,),
    settings=("sessions", "friction", "labels"),
    code=(mining.friction, mining.friction_model, mining.meetings, mining.sessions, schemas.normalise),
    run=_run,
)
