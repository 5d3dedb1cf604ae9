"""interactions -> turns: sessions, normalised text and the friction posterior."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import mining.friction
import mining.friction_model
import mining.meetings
import mining.sessions
import mining.voices
import schemas.normalise
from jobs.cells import in_order, packed, tables_of
from jobs.files import WRITTEN, writes
from jobs.lake import Run, Step
from jobs.scores import SCORED, Scores, put
from jobs.staged import Kernel, Staged, few_at_once
from mining.choice import looked_up
from mining.fellegi_sunter import pattern_key
from mining.friction import CONFIDENCE, CONTINUED, FEEDBACK, SIZES, evidence_levels
from mining.friction_model import FrictionModel, fit_friction, friction, level_name
from mining.meetings import FirstMeetings, alike, met, seen, together, users
from mining.sessions import seconds, session_id, sessionise, whole_sessions
from mining.voices import Voices, whole_users
from schemas.columns import EVIDENCE
from schemas.normalise import formulation_id, normalise
from schemas.settings import LabelSettings, SessionSettings
from schemas.tables import INTERACTIONS, TURNS

_LATER = ("friction", "evidence", "run_id")
_KEYS = [pa.field("pattern", pa.int64()), pa.field("wording", pa.int64())]
_STAGED = pa.schema([*(f for f in TURNS.arrow if f.name not in _LATER), *_KEYS])
_OWN = pa.schema([("locale", pa.string()), ("pattern", pa.int64()), ("own", EVIDENCE), ("own_bits", pa.float64())])
_FITTED = 500_000  # wordings of a locale that its model is fitted to, a sample by hash
_OWN_PIECES = 3  # of a turn's own evidence: answer, feedback, continued


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


def _kernel(sessions: SessionSettings, labels: LabelSettings) -> Kernel:
    """The first pass: the turns, all but friction, and who met which wording."""

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table | None, pa.Table | None]]:
        voices = Voices(labels.voice_wordings)
        for table in whole_users(whole_sessions(batches, sessions.gap_seconds, sessions.max_turns)):
            first, position = sessionise(table, sessions.gap_seconds, sessions.max_turns)
            said = _formulations(table)
            starts, session = np.unique(first, return_inverse=True)
            people, ids = (table.column(name).take(starts).to_pylist() for name in ("user_id", "interaction_id"))
            chosen = [int(user[:8], 16) / 2**32 < labels.held_out_users for user in people]
            gap = np.diff(seconds(table.column("occurred_at")))
            inside = position[1:] > 0  # the row has a previous turn in its session
            silence = pa.array(gap, mask=~inside) if len(table) > 1 else pa.nulls(0, pa.float64())
            nothing = pa.nulls(1, pa.float64())
            columns = {name: table.column(name) for name in table.schema.names}
            columns |= {
                "session_id": pa.array([session_id(*one) for one in zip(people, ids, strict=True)]).take(session),
                "position": pa.array(position.astype(np.int32)),
                "held_out": pa.array(np.array(chosen, dtype=bool)[session]),
                "heard": pa.array(voices.of(table.column("user_id"), said.column("formulation_id"))),
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


def _counted(batches: Kernel, rows: int = 100_000) -> Kernel:
    """A kernel whose meetings are counted by wording, as far as it has seen them: fewer rows to be shuffled."""

    def kernel(tables: Iterable[pa.Table]) -> Iterator[tuple[pa.Table | None, pa.Table | None]]:
        first, held = FirstMeetings(), list[pa.Table]()
        for turns, meetings in batches(tables):
            held.append(first.of(meetings))
            if sum(map(len, held)) >= rows:
                yield turns, seen(pa.concat_tables(held))
                held = []
            else:
                yield turns, None
        if held:
            yield None, seen(pa.concat_tables(held))

    return kernel


def _wordings(tables: Iterable[pa.Table]) -> Iterator[tuple[pa.Table | None, pa.Table | None]]:
    """A part's wordings, each whole; and how many of each locale."""
    rows = list(tables)
    if rows:
        whole = together(pa.concat_tables(rows))
        yield whole, whole.group_by("locale", use_threads=False).aggregate([([], "count_all")])


def _fit(run: Run, wordings: Staged) -> dict[str, FrictionModel]:
    """The model of each locale, from at most `_FITTED` wordings of it."""
    counts = wordings.counts()
    many = Counter[str]()
    for row in counts.to_pylist() if counts else []:
        many[row["locale"]] += row["count_all"]
    run.count(wordings=sum(many.values()))
    one_in = {locale: -(-n // _FITTED) for locale, n in many.items()}

    def sample(tables: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
        for rows in tables:
            rows = rows.filter(rows.column("heard"))
            step = np.array([one_in[locale] for locale in rows.column("locale").to_pylist()], dtype=np.int64)
            chosen = rows.filter(pa.array(rows.column("wording").to_numpy() % step == 0))
            yield pa.RecordBatch.from_arrays([pa.array([packed(alike(chosen))])], names=["cell"])

    parts = list(tables_of(wordings.rows(sample, pa.schema([("cell", pa.binary())])).toArrow().to_batches()))
    if not parts:
        return {}
    kinds = pa.concat_tables(parts)
    # Sums are made in this order: the same log has the same model, however it was partitioned.
    rows = alike(kinds, kinds.column("count").to_numpy())
    locales, chosen = np.asarray(rows.column("locale").to_pylist(), dtype=object), run.settings.friction
    return {
        locale: fit_friction(
            rows.filter(pa.array(locales == locale)),
            rows.column("count").to_numpy()[locales == locale].astype(np.float64),
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


def _scores(models: Mapping[str, FrictionModel], folder: Path, parts: int) -> Callable[..., Iterator[pa.RecordBatch]]:
    """The odds of each wording's answer, and how many users met it, into the file of its part."""

    def score(tables: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
        for table in tables:
            made = []
            for locale in sorted(set(table.column("locale").to_pylist())):
                rows, model = table.filter(pc.equal(table.column("locale"), locale)), models[locale]
                bits, intents = model.bits(rows), model.of_intents(rows.column("intent").to_pylist())
                columns = [rows.column("wording"), friction(bits), bits, intents, users(rows)]
                made.append(pa.table(columns, schema=SCORED))
            put(pa.concat_tables(made), folder, parts)
            yield pa.RecordBatch.from_arrays([pa.array([len(table)])], names=["wordings"])

    return score


def _with_friction(own: pa.Table, scores: Scores, run_id: str) -> Callable[[pa.Table], pa.Table]:
    """The second pass: friction with its evidence, beside the staged columns."""
    places = {
        key: i for i, key in enumerate(zip(*(own.column(n).to_pylist() for n in ("locale", "pattern")), strict=True))
    }
    shown = own.column("own").combine_chunks().flatten()
    names = [*(shown.field("name").to_pylist()[:_OWN_PIECES]), "intent", "others"]
    levels, weights = shown.field("level"), shown.field("weight").to_numpy().reshape(-1, _OWN_PIECES)
    own_bits = own.column("own_bits").to_numpy()

    def finish(staged: pa.Table) -> pa.Table:
        rows = len(staged)
        place = looked_up(staged.column("locale"), staged.column("pattern").to_numpy(), places).astype(np.int64)
        of = scores.of(staged.column("wording").to_numpy())
        intent = pc.fill_null(pc.struct_field(staged.column("interpretation").combine_chunks(), "intent"), "")
        intents, (met_by, people) = intent.dictionary_encode(), np.unique(of["met_by"], return_inverse=True)
        pool = pa.concat_arrays(
            [levels, intents.dictionary, pa.array([f"{n} users met it" for n in met_by.tolist()], pa.string())]
        )
        at = np.empty((rows, len(names)), dtype=np.int64)
        at[:, :_OWN_PIECES] = place[:, None] * _OWN_PIECES + np.arange(_OWN_PIECES)
        at[:, -2] = len(levels) + intents.indices.to_numpy()
        at[:, -1] = len(levels) + len(intents.dictionary) + people
        others = np.round(of["bits"] - of["intent_bits"] - own_bits[place], 6) + 0.0  # no negative zero
        bits = np.concatenate([weights[place], np.stack([of["intent_bits"], others], axis=1)], axis=1)
        each = pa.array(np.tile(np.arange(len(names)), rows))
        pieces = [pa.array(names).take(each), pool.take(pa.array(at.ravel())), pa.array(bits.ravel())]
        evidence = pa.ListArray.from_arrays(
            pa.array(np.arange(rows + 1) * len(names), pa.int32()),
            pa.StructArray.from_arrays(pieces, fields=list(EVIDENCE.value_type)),
        ).cast(EVIDENCE)
        columns = {name: staged.column(name) for name in staged.column_names}
        columns |= {"friction": pa.array(of["friction"]), "evidence": evidence, "run_id": pa.repeat(run_id, rows)}
        return pa.table({name: columns[name] for name in TURNS.names})

    return finish


def _run(run: Run) -> None:
    logged = [n for n in TURNS.names if n in INTERACTIONS.names and n != "run_id"]
    parts, folder = run.partitions("interactions"), run.lake.scratch(run.run_id)
    first = _kernel(run.settings.sessions, run.settings.labels)
    table = run.lake.table(TURNS.name)
    with few_at_once(run.spark):
        cells = run.cells("interactions", logged, "user_id")
        staged = Staged(run.keep, cells, _counted(lambda tables: first(in_order(tables))), "wording", parts)
        wordings = Staged(run.keep, staged.spread(), _wordings)
        models = _fit(run, wordings)
        try:
            wordings.rows(_scores(models, folder, parts), pa.schema([("wordings", pa.int64())])).toArrow()
            finish, write = _with_friction(_own(models), Scores(folder, parts), run.run_id), writes(TURNS, table)
            turns = run.commit(TURNS, staged.rows(lambda tables: write(map(finish, tables)), WRITTEN))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    unheard = run.rows(TURNS.name, ~pc.field("heard"))
    run.count(read=run.rows("interactions"), turns=turns, turns_of_unheard_users=unheard)
    run.details["friction"] = {locale: model.to_json() for locale, model in models.items()}


STEP = Step(
    name="turns",
    reads=("interactions",),
    writes=(TURNS,),
    settings=("sessions", "friction", "labels"),
    code=(mining.friction, mining.friction_model, mining.meetings, mining.sessions, mining.voices, schemas.normalise),
    run=_run,
)
