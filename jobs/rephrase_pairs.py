"""turns and reviews -> rephrase_pairs: what a user said instead of what failed, chosen over the whole session; and what
looked like it and was another request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

import jobs.reviews
import mining.choice
import mining.comparisons
import mining.edits
import mining.fellegi_sunter
import mining.recalibration
import mining.sessions
import mining.tokens
import mining.value_words
import schemas.normalise
from jobs.cells import in_order, tables_of
from jobs.files import WRITTEN, writes
from jobs.lake import Run, Step
from jobs.patterns import counted, score
from jobs.reviews import Review, calibrations, read_reviews, stamp
from jobs.staged import Keep, Kernel, Staged, few_at_once
from mining.choice import COUNTS, CappedCounts, Floats, Ints, choose, looked_up, new_requests, nothing_of
from mining.comparisons import SIZES, candidates, fit_linkage
from mining.edits import edit_type
from mining.fellegi_sunter import pattern_key
from mining.sessions import whole_sessions
from mining.tokens import TokenWeights, slot_token_counts, token_counts
from mining.value_words import DRAWN, drawn, tagged_values, varying_values
from schemas.normalise import words
from schemas.settings import RephraseSettings, SessionSettings
from schemas.tables import REPHRASE_PAIRS

_MOST_TOKENS = 20_000  # of a locale, whose frequency is told to the kernel; the rarer ones weigh as unseen
# Of the turns, what the kernels read: the evidence and what was logged beside it stay where they are.
_READ = (
    "interaction_id", "session_id", "user_id", "held_out", "heard", "locale", "occurred_at", "utterance", "text",
    "formulation_id", "interpretation", "model_version", "response", "requested_slot", "friction",
    "confidence", "feedback", "rewritten_from",
)  # fmt: skip
_NOT_KEPT = ("heard", "response", "requested_slot", "confidence", "feedback", "rewritten_from")
_CHOSEN = pa.schema(
    [
        *(f for f in REPHRASE_PAIRS.arrow if f.name not in ("features", "match_weight", "run_id")),
        pa.field("pattern", pa.int64()),
    ]
)
_TEXTS = ("locale", "text", "response", "interpretation", "heard")  # what tokens are counted in
_SAID = ("locale", "text", "values")
_COUNTS = COUNTS.append(pa.field("failed", pa.int64()))  # turns with a candidate; on rows of their own


def _pair_id(source: str, target: str) -> str:
    return hashlib.blake2b(f"{source}\x1f{target}".encode(), digest_size=8).hexdigest()


def _kernel(sessions: SessionSettings, rephrase: RephraseSettings, weights: dict[str, TokenWeights]) -> Kernel:
    """The first pass: candidate pairs of failed turns, beside the turns they are made of; and counts of all."""

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table | None, pa.Table | None]]:
        counts, failed = CappedCounts(rephrase.max_pairs_per_user), 0
        for every in whole_sessions(batches, sessions.gap_seconds, sessions.max_turns):
            turns = every.filter(every.column("heard"))
            if not len(turns):
                continue
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
    table = turns.take(pa.array(used))
    meant = table.schema.get_field_index("interpretation")
    table = table.set_column(meant, table.schema.field(meant), _understood(table)).drop_columns(list(_NOT_KEPT))
    numbers = pairs | {"source": place[:half], "target": place[half:]}
    offsets = pa.array(np.minimum(np.arange(len(used) + 1), 1) * half, pa.int32())
    for name, values in numbers.items():
        table = table.append_column(f"pair_{name}", pa.ListArray.from_arrays(offsets, pa.array(values, pa.int64())))
    return table


Scores = dict[tuple[str, int], float]


def _overruled(ids: list[pa.ChunkedArray], said: dict[tuple[str, str], str], *scores: Floats) -> pa.Array:
    """Put people's verdicts in place of the two posteriors, and return them beside the pairs."""
    verdicts: list[str | None] = [None] * len(ids[0])
    if said:
        sources = pa.array(sorted({source for source, _ in said}))
        for row in np.flatnonzero(pc.is_in(ids[0], value_set=sources).to_numpy()).tolist():
            verdict = said.get((ids[0][row].as_py(), ids[1][row].as_py()))
            if verdict is not None:
                verdicts[row] = verdict
                for posterior, of in zip(scores, ("same_wish", "new_request"), strict=True):
                    posterior[row] = float(verdict == of)
    return pa.array(verdicts, pa.string())


def _finish(
    posterior: Scores, changed: Scores, min_posterior: float, reviews: list[Review]
) -> Callable[[pa.Table], pa.Table]:
    """The second pass: what each source was followed by, where something is believed."""
    said_of = {(review.source, review.target): review.verdict for review in reviews}

    def finish(turns: pa.Table) -> pa.Table:
        lists = (turns.column(f"pair_{name}").combine_chunks() for name in ("source", "target", "pattern", "steps"))
        numbers = (column.flatten() for column in lists)
        source, target, pattern, steps = (np.asarray(column.to_numpy(), dtype=np.int64) for column in numbers)
        acceptance = 1 - turns.column("friction").to_numpy()[target]
        locale = turns.column("locale").take(pa.array(source))
        again, other = looked_up(locale, pattern, posterior), looked_up(locale, pattern, changed)
        ids = [turns.column("interaction_id").take(pa.array(side)) for side in (source, target)]
        review = _overruled(ids, said_of, again, other)
        at = turns.column("occurred_at").cast(pa.int64()).to_numpy()
        said = turns.column("formulation_id").combine_chunks().dictionary_encode().indices.to_numpy()
        same = said[source] == said[target]
        chosen, _ = choose(source, steps, again, acceptance, min_posterior, same)
        changes = new_requests(source, steps, other, chosen, min_posterior)
        kind = np.concatenate([np.where(same[chosen], "repeat", "rephrase"), np.full(len(changes), "new_request")])
        chosen, none = np.concatenate([chosen, changes]), nothing_of(source, again)
        source, target = source[chosen], target[chosen]
        first, later = turns.take(pa.array(source)), turns.take(pa.array(target))
        names = [column.take(pa.array(chosen)) for column in ids]
        texts = [map(words, side.column("text").to_pylist()) for side in (first, later)]
        columns = {
            "pair_id": pa.array(
                [_pair_id(s, t) for s, t in zip(*(n.to_pylist() for n in names), strict=True)], pa.string()
            ),
            "source": names[0],
            "target": names[1],
            "kind": kind,
            "edit": pa.array([edit_type(s, t) for s, t in zip(*texts, strict=True)], pa.string()),
            **{name: first.column(name) for name in ("session_id", "user_id", "held_out", "locale")},
            "source_formulation": first.column("formulation_id"),
            "target_formulation": later.column("formulation_id"),
            "source_utterance": first.column("utterance"),
            "target_utterance": later.column("utterance"),
            "target_interpretation": later.column("interpretation"),
            "model_version": later.column("model_version"),
            "gap_seconds": (at[target] - at[source]) / 1e6,
            "steps": steps[chosen].astype(np.int32),
            "posterior": again[chosen],
            "new_request": other[chosen],
            "none_posterior": none[chosen],
            "source_friction": first.column("friction"),
            "target_acceptance": acceptance[chosen],
            "review": review.take(pa.array(chosen)),
            "pattern": pattern[chosen],
        }
        return pa.table({name: columns[name] for name in _CHOSEN.names}, schema=_CHOSEN)

    return finish


def _understood(turns: pa.Table) -> pa.Array:
    """What was understood: of a `no_match` nothing, whatever a log writes beside it."""
    meant = turns.column("interpretation").combine_chunks()
    return pc.if_else(_matched(turns), meant, pa.scalar(None, meant.type))


def _matched(turns: pa.Table) -> pa.Array:
    return pc.fill_null(pc.not_equal(turns.column("response"), "no_match"), False)


def _explained(scores: pa.Table, run_id: str) -> Callable[[pa.Table], pa.Table]:
    """The pairs with what their pattern weighs and why."""
    places = {
        key: i for i, key in enumerate(zip(*(scores.column(n).to_pylist() for n in ("locale", "pattern")), strict=True))
    }

    def explain(pairs: pa.Table) -> pa.Table:
        at = looked_up(pairs.column("locale"), pairs.column("pattern").to_numpy(), places).astype(np.int64)
        why = scores.select(["features", "match_weight"]).take(pa.array(at))
        columns = {name: pairs.column(name) for name in pairs.column_names} | dict(
            zip(why.column_names, why, strict=True)
        )
        return pa.table(columns | {"run_id": pa.repeat(run_id, len(pairs))})

    return explain


_ALL = ""  # no token is empty, so this one counts the formulations


_TOKENS = pa.schema(
    [
        ("locale", pa.string()),
        ("token", pa.string()),
        ("n", pa.int64()),
        ("understood", pa.int64()),
        ("in_slots", pa.int64()),
        ("text", pa.string()),  # of a row that tells no token: one of those that may be drawn
    ]
)


def _said(turns: pa.Table) -> pa.Table:
    """The distinct texts of users who are heard, and where one was understood its slot values, parted by spaces; the
    last by the alphabet."""
    turns = turns.filter(turns.column("heard"))
    slots = pc.struct_field(turns.column("interpretation").combine_chunks(), "slots")
    lengths = pc.fill_null(pc.list_value_length(slots), 0).to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    each = pc.fill_null(pc.struct_field(pc.list_flatten(slots), "value"), "")
    values = pc.binary_join(pa.ListArray.from_arrays(offsets, each), " ")
    understood = pc.and_(slots.is_valid(), _matched(turns))
    columns = [
        turns.column("locale"),
        turns.column("text"),
        pc.if_else(understood, values, pa.scalar(None, pa.string())),
    ]
    return _distinct(pa.table(columns, names=list(_SAID)))


def _distinct(said: pa.Table) -> pa.Table:
    found = said.group_by(["locale", "text"], use_threads=False).aggregate([("values", "max")])
    return found.rename_columns(list(_SAID))


def _count_tokens(parts: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Tokens of a part's formulations, each formulation once; and texts from which those of the locale are drawn."""
    share = 2 * DRAWN // parts + 200  # parts are cut by a hash, so that each has about its share of the drawn

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables, said = list(tables_of(batches)), dict[str, dict[str, str | None]]()
        for locale, text, values in (
            zip(*_distinct(pa.concat_tables(tables)).to_pydict().values(), strict=True) if tables else ()
        ):
            said.setdefault(locale, {})[text] = values
        for locale, texts in said.items():
            there, inside = slot_token_counts(texts, texts.values())
            rows: list[tuple[str | int | None, ...]] = [(locale, _ALL, len(texts), 0, 0, None)]
            rows += [(locale, token, n, there[token], inside[token], None) for token, n in token_counts(texts).items()]
            rows += [(locale, None, 0, 0, 0, text) for text in drawn(texts, share)]
            columns = [pa.array(c, field.type) for c, field in zip(zip(*rows, strict=True), _TOKENS, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=_TOKENS)

    return kernel


def token_weights(keep: Keep, cells: DataFrame, parts: int) -> dict[str, TokenWeights]:
    """Token weights of each locale over its distinct formulations; at most 20,000 tokens a locale.

    Args:
        keep: caches a frame until the step ends.
        cells: of turns, by their text.
        parts: into how many they are cut.
    """
    counts = keep(cells.mapInArrow(_count_tokens(parts), from_arrow_schema(_TOKENS)), StorageLevel.DISK_ONLY)
    best = Window.partitionBy("locale").orderBy(F.desc("n"), "token")
    kept = (
        counts.where("token is not null")
        .groupBy("locale", "token")
        .agg(*(F.sum(name).alias(name) for name in ("n", "understood", "in_slots")))
        .withColumn("rank", F.row_number().over(best))
        .where(F.col("rank") <= _MOST_TOKENS)
        .collect()
    )
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for row in kept:
        found.setdefault(row["locale"], {})[row["token"]] = (row["n"], row["understood"], row["in_slots"])
    texts: dict[str, list[str]] = {}
    first = Window.partitionBy("locale").orderBy(F.crc32(F.col("text").cast("binary")), "text")  # as `drawn`
    sample = counts.where("text is not null").withColumn("rank", F.row_number().over(first))
    for row in sample.where(F.col("rank") <= DRAWN).select("locale", "text").collect():
        texts.setdefault(row["locale"], []).append(row["text"])
    made = {}
    for locale, of_token in found.items():
        formulations_seen = of_token.pop(_ALL)[0]
        n, there, inside = ({token: seen[i] for token, seen in of_token.items()} for i in range(3))
        values = tagged_values(formulations_seen, there, inside) | varying_values(texts[locale])
        made[locale] = TokenWeights(formulations_seen, n, values)
    return made


def _run(run: Run) -> None:
    settings = run.settings.rephrase
    with few_at_once(run.spark):
        said = run.cells("turns", _TEXTS, "text", _said)
        weights = token_weights(run.keep, said, run.partitions("turns"))
        first = _kernel(run.settings.sessions, settings, weights)
        staged = Staged(run.keep, run.cells("turns", _READ, "user_id"), lambda tables: first(in_order(tables)))
        _second_pass(run, staged)


def _second_pass(run: Run, staged: Staged) -> None:
    settings, empty = run.settings.rephrase, _COUNTS.empty_table()
    seen = (staged.counts() or empty).group_by(["locale", "answered", "pattern"], use_threads=False)
    table = seen.aggregate([(name, "sum") for name in ("count", "pairs", "failed")])
    failed = pc.sum(table.column("failed_sum")).as_py() or 0
    table = table.filter(pc.is_valid(table.column("locale")))
    table = table.set_column(3, "count", pc.round(table.column("count_sum"), 6))
    both = table.group_by(["locale", "pattern"], use_threads=False).aggregate([("count", "sum")])
    counts = counted(both.rename_columns(["locale", "pattern", "count"]), SIZES)
    models = {locale: fit_linkage(patterns, n, settings.iterations) for locale, (patterns, n) in counts.items()}
    reviews = read_reviews(run.lake)
    calibration, incomparable = calibrations(reviews, models)
    scores = score(counts, models, SIZES, name="posterior", evidence="features", calibrations=calibration)
    keys = list(zip(scores.column("locale").to_pylist(), scores.column("pattern").to_pylist(), strict=True))
    posterior, changed = (
        dict(zip(keys, scores.column(name).to_pylist(), strict=True)) for name in ("posterior", "new_request")
    )
    finish = _finish(posterior, changed, settings.min_posterior, reviews)
    explain, write = _explained(scores, run.run_id), writes(REPHRASE_PAIRS, run.lake.table(REPHRASE_PAIRS.name))
    written = run.commit(REPHRASE_PAIRS, staged.rows(lambda tables: write(map(explain, map(finish, tables))), WRITTEN))
    kinds = run.tally(REPHRASE_PAIRS.name, "kind")
    candidates_seen = pc.sum(table.filter(~pc.field("answered")).column("pairs_sum")).as_py() or 0
    below = pc.sum(table.filter(pc.field("answered")).column("pairs_sum")).as_py() or 0
    rewritten = run.rows("turns", pc.field("rewritten_from").is_valid())
    unheard = run.rows("turns", ~pc.field("heard"))
    run.count(below_min_source_friction=below, rewritten_targets_left_out=rewritten, turns_of_unheard_users=unheard)
    run.count(
        candidates=candidates_seen, turns_with_candidates=failed, pairs=written, nothing_believed=failed - written
    )
    run.count(rephrases=kinds["rephrase",], repeats=kinds["repeat",], new_requests=kinds["new_request",])
    run.count(reviews=len(reviews), reviews_no_longer_comparable=incomparable)
    run.details["calibration"] = {locale: vars(one) for locale, one in calibration.items()}
    run.details["linkage"] = {locale: model.to_json() for locale, model in models.items()}


STEP = Step(
    name="rephrase_pairs",
    reads=("turns",),
    writes=(REPHRASE_PAIRS,),
    settings=("sessions", "rephrase"),
    code=(
        jobs.reviews,
        mining.choice,
        mining.comparisons,
        mining.edits,
        mining.fellegi_sunter,
        mining.recalibration,
        mining.sessions,
        mining.tokens,
        mining.value_words,
        schemas.normalise,
    ),
    run=_run,
    also=stamp,
)
