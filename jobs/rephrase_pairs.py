"""turns -> rephrase_pairs: what a user said instead of what failed, chosen over the whole session."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

import mining.choice
import mining.comparisons
import mining.fellegi_sunter
import mining.sessions
import mining.tokens
import schemas.normalise
from jobs.lake import Run, Step
from jobs.patterns import counted, score, scored
from jobs.staged import Kernel, Staged
from mining.choice import COUNTS, CappedCounts, Ints, choose, looked_up
from mining.comparisons import SIZES, candidates, fit_linkage
from mining.fellegi_sunter import pattern_key
from mining.sessions import whole_sessions
from mining.tokens import TokenWeights, slot_token_counts, token_counts, value_tokens
from schemas.settings import RephraseSettings, SessionSettings
from schemas.tables import REPHRASE_PAIRS

_MOST_TOKENS = 20_000  # of a locale, whose frequency is told to the kernel; the rarer ones weigh as unseen
# Of the turns, what the kernels read: the evidence and what was logged beside it stay where they are.
_READ = (
    "interaction_id", "session_id", "user_id", "held_out", "locale", "occurred_at", "utterance", "text",
    "formulation_id", "interpretation", "model_version", "response", "requested_slot", "friction",
    "confidence", "feedback", "rewritten_from",
)  # fmt: skip
_NOT_KEPT = ("response", "requested_slot", "text", "confidence", "feedback", "rewritten_from")
_CHOSEN = pa.schema(
    [
        *(f for f in REPHRASE_PAIRS.arrow if f.name not in ("features", "match_weight", "posterior", "run_id")),
        pa.field("pattern", pa.int64()),
    ]
)
_COUNTS = COUNTS.append(pa.field("failed", pa.int64()))  # turns with a candidate; on rows of their own


def _pair_id(source: str, target: str) -> str:
    return hashlib.blake2b(f"{source}\x1f{target}".encode(), digest_size=8).hexdigest()


def _kernel(sessions: SessionSettings, rephrase: RephraseSettings, weights: dict[str, TokenWeights]) -> Kernel:
    """The first pass: candidate pairs of failed turns, beside the turns they are made of; and counts of all."""

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table | None, pa.Table | None]]:
        counts, failed = CappedCounts(rephrase.max_pairs_per_user), 0
        for turns in whole_sessions(batches, sessions.gap_seconds, sessions.max_turns):
            found = candidates(
                turns,
                weights,
                max_gap_seconds=rephrase.max_gap_seconds,
                lookahead=rephrase.lookahead,
                min_source_friction=rephrase.min_source_friction,
            )
            if not len(found.source):
                continue
            pattern, source = pattern_key(found.levels, SIZES), pa.array(found.source)
            counts.add(
                turns.column("user_id").take(source), turns.column("locale").take(source), found.answered, pattern
            )
            open_ = ~found.answered
            failed += len(np.unique(found.source[open_]))
            pairs = {"source": found.source[open_], "target": found.target[open_], "pattern": pattern[open_]}
            pairs["steps"] = pairs["target"] - pairs["source"]
            if len(pairs["source"]):
                yield _beside(turns, pairs), None
        seen = counts.table()
        rows = {name: [*seen.column(name).to_pylist(), None] for name in COUNTS.names}
        yield None, pa.table(rows | {"failed": [None] * len(seen) + [failed]}, schema=_COUNTS)

    return kernel


def _beside(turns: pa.Table, pairs: dict[str, Ints]) -> pa.Table:
    """The turns that pairs are made of, and the pairs as lists on the first of them: one table to be staged."""
    used, place = np.unique(np.concatenate([pairs["source"], pairs["target"]]), return_inverse=True)
    half = len(pairs["source"])
    table = turns.take(pa.array(used)).drop_columns(list(_NOT_KEPT))
    numbers = pairs | {"source": place[:half], "target": place[half:]}
    offsets = pa.array(np.minimum(np.arange(len(used) + 1), 1) * half, pa.int32())
    for name, values in numbers.items():
        table = table.append_column(f"pair_{name}", pa.ListArray.from_arrays(offsets, pa.array(values, pa.int64())))
    return table


def _finish(posterior: dict[tuple[str, int], float], min_posterior: float) -> Callable[[pa.Table], pa.Table]:
    """The second pass: the target of each source, where one is believed."""

    def finish(turns: pa.Table) -> pa.Table:
        lists = (turns.column(f"pair_{name}").combine_chunks() for name in ("source", "target", "pattern", "steps"))
        numbers = (column.flatten() for column in lists)
        source, target, pattern, steps = (np.asarray(column.to_numpy(), dtype=np.int64) for column in numbers)
        acceptance = 1 - turns.column("friction").to_numpy()[target]
        believed = looked_up(turns.column("locale").take(pa.array(source)), pattern, posterior)
        at = turns.column("occurred_at").cast(pa.int64()).to_numpy()
        said = turns.column("formulation_id").combine_chunks().dictionary_encode().indices.to_numpy()
        chosen, none = choose(source, steps, believed, acceptance, min_posterior, said[source] == said[target])
        source, target = source[chosen], target[chosen]
        one, other = turns.take(pa.array(source)), turns.take(pa.array(target))
        ids = [side.column("interaction_id").to_pylist() for side in (one, other)]
        again = pc.equal(one.column("formulation_id"), other.column("formulation_id"))
        columns = {
            "pair_id": pa.array([_pair_id(s, t) for s, t in zip(*ids, strict=True)], pa.string()),
            "source": one.column("interaction_id"),
            "target": other.column("interaction_id"),
            "kind": pc.if_else(again, "repeat", "rephrase"),
            **{name: one.column(name) for name in ("session_id", "user_id", "held_out", "locale")},
            "source_formulation": one.column("formulation_id"),
            "target_formulation": other.column("formulation_id"),
            "source_utterance": one.column("utterance"),
            "target_utterance": other.column("utterance"),
            "target_interpretation": other.column("interpretation"),
            "model_version": other.column("model_version"),
            "gap_seconds": (at[target] - at[source]) / 1e6,
            "steps": steps[chosen].astype(np.int32),
            "none_posterior": none,
            "source_friction": one.column("friction"),
            "target_acceptance": acceptance[chosen],
            "pattern": pattern[chosen],
        }
        return pa.table({name: columns[name] for name in _CHOSEN.names})

    return finish


_ALL = ""  # no token is empty, so this one counts the formulations


_TOKENS = ("locale", "token", "n", "understood", "in_slots")


def _count_tokens(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        texts: dict[str, list[tuple[str, str | None]]] = {}
        for locale, text, said in zip(*(batch.column(name).to_pylist() for name in batch.schema.names), strict=True):
            texts.setdefault(locale, []).append((text, said))
        rows = []
        for locale, mine in texts.items():
            there, inside = slot_token_counts(*zip(*mine, strict=True))
            rows += [(locale, t, n, there[t], inside[t]) for t, n in token_counts(text for text, _ in mine).items()]
            rows.append((locale, _ALL, len(mine), 0, 0))
        if rows:
            yield pa.RecordBatch.from_arrays([pa.array(c) for c in zip(*rows, strict=True)], list(_TOKENS))


def token_weights(turns: DataFrame) -> dict[str, TokenWeights]:
    """Token weights of each locale over its distinct formulations; at most 20,000 tokens a locale."""
    values = F.array_join(F.transform("interpretation.slots", lambda slot: slot["value"]), " ")
    understood = F.when(F.col("response") != "no_match", values)
    formulations = turns.groupBy("locale", "text").agg(F.max(understood).alias("values"))
    counts = formulations.mapInArrow(
        _count_tokens, "locale string, token string, n long, understood long, in_slots long"
    )
    best = Window.partitionBy("locale").orderBy(F.desc("n"), "token")
    kept = (
        counts.groupBy("locale", "token")
        .agg(*(F.sum(name).alias(name) for name in _TOKENS[2:]))
        .withColumn("rank", F.row_number().over(best))
        .where(F.col("rank") <= _MOST_TOKENS)
        .collect()
    )
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for row in kept:
        found.setdefault(row["locale"], {})[row["token"]] = (row["n"], row["understood"], row["in_slots"])
    made = {}
    for locale, of_token in found.items():
        formulations_seen = of_token.pop(_ALL)[0]
        n, there, inside = ({token: seen[i] for token, seen in of_token.items()} for i in range(3))
        made[locale] = TokenWeights(formulations_seen, n, value_tokens(there, inside))
    return made


def _run(run: Run) -> None:
    settings = run.settings.rephrase
    turns = run.read("turns")
    sorted_ = (
        turns.select(*_READ)
        .repartition(run.partitions("turns"), "user_id")
        .sortWithinPartitions("user_id", "occurred_at", "interaction_id")
    )
    staged = Staged(sorted_, _kernel(run.settings.sessions, settings, token_weights(turns)), _COUNTS)
    seen = staged.counts().groupBy("locale", "answered", "pattern")
    table = seen.agg(
        F.round(F.sum("count"), 6).alias("count"), F.sum("pairs").alias("pairs"), F.sum("failed")
    ).toArrow()
    failed = pc.sum(table.column("sum(failed)")).as_py() or 0
    table = table.filter(pc.is_valid(table.column("locale")))
    both = table.group_by(["locale", "pattern"]).aggregate([("count", "sum")])
    counts = counted(both.rename_columns(["locale", "pattern", "count"]), SIZES)
    models = {locale: fit_linkage(patterns, n, settings.iterations) for locale, (patterns, n) in counts.items()}
    scores = score(counts, models, SIZES, name="posterior", evidence="features")
    keys = zip(scores.column("locale").to_pylist(), scores.column("pattern").to_pylist(), strict=True)
    posterior = dict(zip(keys, scores.column("posterior").to_pylist(), strict=True))
    chosen = staged.rows(_finish(posterior, settings.min_posterior), _CHOSEN)
    written = run.write(REPHRASE_PAIRS, chosen.join(F.broadcast(scored(run.spark, scores)), ["locale", "pattern"]))
    by_kind = run.tally(REPHRASE_PAIRS.name, "kind")
    candidates_seen = pc.sum(table.filter(~pc.field("answered")).column("pairs")).as_py() or 0
    below = pc.sum(table.filter(pc.field("answered")).column("pairs")).as_py() or 0
    rewritten = run.rows("turns", pc.field("rewritten_from").is_valid())
    run.count(below_min_source_friction=below, rewritten_targets_left_out=rewritten)
    run.count(candidates=candidates_seen, failed_turns=failed, pairs=written, no_rephrase_found=failed - written)
    run.count(rephrases=by_kind["rephrase",], repeats=by_kind["repeat",])
    run.details["linkage"] = {locale: model.to_json() for locale, model in models.items()}
    staged.free()


STEP = Step(
    name="rephrase_pairs",
    reads=("turns",),
    writes=(REPHRASE_PAIRS,),
    settings=("sessions", "rephrase"),
    code=(
        mining.choice,
        mining.comparisons,
        mining.fellegi_sunter,
        mining.sessions,
        mining.tokens,
        schemas.normalise,
    ),
    run=_run,
)
