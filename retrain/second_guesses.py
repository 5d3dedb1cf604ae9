"""What the champion makes of wordings that other models answered: a second guess, by a model that knows more by now.

A wording that one user said once was answered by the champion of that day, and that guess is most of what speaks for
its intent. A later champion has learnt from others; where it was not taught this very wording, its guess is news. (Of
what it was taught it is none: `jobs.taught`.) So the guesses of self-training (Scudder 1965; Yarowsky 1995) enter the
posterior beside what users did, and are no labels by themselves.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable, write_deltalake

from retrain import registry
from retrain.predictor import TorchPredictor
from retrain.tables import read_table
from schemas.errors import InputError
from schemas.lake import Lake, Manifest
from schemas.normalise import formulation_id, normalise
from schemas.settings import Settings
from schemas.training_tables import SECOND_GUESSES

STEP = "second_guesses"
_AT_ONCE = 10_000  # wordings predicted together
_WAITING = 500_000  # wordings of batches, at least, before they are merged
_NO_WORDINGS = pa.table(
    {
        "formulation_id": pa.array([], pa.string()),
        "utterance": pa.array([], pa.string()),
        "answered": pa.array([], pa.bool_()),
    }
)


@dataclass(frozen=True)
class SecondGuesses:
    """What a run did. `unchanged`: the champion and the turns are those of the last run, and nothing was read."""

    champion: str | None
    unchanged: bool
    counts: dict[str, int]


def guess_again(settings: Settings, lake: Lake) -> SecondGuesses:
    """Let the launch locale's champion read every wording of the log that it neither answered nor was taught, and
    replace the locale's rows of `second_guesses`. What it has guessed before is kept. Without a champion nothing is
    done.

    Raises:
        InputError: no launch locale in the settings, or no turns in the lake yet.

    Cost: one scan of four columns of `turns`, memory of the distinct wordings; some 5,000 wordings a second on two
    cores.
    """
    locale = settings.locale
    if locale is None:
        raise InputError("no launch locale: set `locale` in sayagain.toml, or give --locale")
    turns = lake.version("turns")
    version = registry.version_of(lake, locale, registry.CHAMPION)
    if version is None:
        return SecondGuesses(None, True, {})
    log = lake.manifest("turns")
    last = lake.manifest(STEP)
    states: dict[str, list[str]] = dict(last.details["read"]) if last else {}
    state = [version, log.run_id if log else ""]
    if last is not None and states.get(locale) == state:
        return SecondGuesses(version, True, last.counts)
    states[locale] = state
    run_id = hashlib.blake2b(json.dumps(states, sort_keys=True).encode(), digest_size=8).hexdigest()
    said = _wordings(lake, locale, version)
    taught = _taught(lake, locale, version)
    others = said.filter(pc.invert(said.column("answered")))
    open_ = others.filter(pc.invert(pc.is_in(others.column("formulation_id"), value_set=pa.array(taught, pa.string()))))
    kept = _kept(lake, locale, version, open_.column("formulation_id"))
    new = open_.filter(pc.invert(pc.is_in(open_.column("formulation_id"), value_set=kept.column("formulation_id"))))
    made = _guessed(registry.load(lake, version), locale, new)
    written = _write(lake, locale, pa.concat_tables([kept.cast(made.schema), made]), run_id)
    counts = {
        "wordings": len(said),
        "answered_by_the_champion": len(said) - len(others),
        "taught_to_the_champion": len(others) - len(open_),
        "guessed": len(open_),
        "of_them_new": len(new),
    }
    lake.publish(Manifest(STEP, run_id, {"turns": turns}, {STEP: written}, counts, {"read": states}))
    return SecondGuesses(version, False, counts)


def _wordings(lake: Lake, locale: str, version: str) -> pa.Table:
    """Each wording of the log in one spelling, and whether the champion answered it: formulation_id, utterance,
    answered."""
    columns = ["formulation_id", "utterance", "model_version"]
    keep = (ds.field("locale") == locale) & (ds.field("text") != "")
    found, parts, waiting = _NO_WORDINGS, list[pa.Table](), 0
    for batch in lake.dataset("turns").to_batches(columns=columns, filter=keep):
        answered = pc.fill_null(pc.equal(batch.column("model_version"), version), False)
        said = pa.table([batch.column("formulation_id"), batch.column("utterance"), answered], schema=found.schema)
        parts.append(_once(said))
        waiting += len(parts[-1])
        if waiting > max(len(found), _WAITING):  # merged as seldom as what is merged doubles
            found, parts, waiting = _once(pa.concat_tables([found, *parts])), [], 0
    return _once(pa.concat_tables([found, *parts])).sort_by("formulation_id")


def _once(said: pa.Table) -> pa.Table:
    grouped = said.group_by("formulation_id", use_threads=False)
    seen = grouped.aggregate([("utterance", "max"), ("answered", "max")])
    return seen.select(["formulation_id", "utterance_max", "answered_max"]).rename_columns(said.column_names)


def _taught(lake: Lake, locale: str, version: str) -> list[str]:
    """Wordings whose label or divided evidence the model was trained on; none for a model of gold alone."""
    published = lake.published().get("training_sets")
    if published is None:
        return []
    runs = read_table(lake, "model_runs", where=[("model_version", "=", version)])
    mined = ds.field("source").isin(["pseudo_label", "contested"]) & (ds.field("locale") == locale)
    of_model = mined & ds.field("snapshot_id").isin(sorted({run["snapshot_id"] for run in runs}))
    texts = lake.dataset("training_sets", published).to_table(["utterance"], filter=of_model).column(0).to_pylist()
    return sorted({formulation_id(locale, normalise(text)) for text in texts})


def _kept(lake: Lake, locale: str, version: str, open_: pa.ChunkedArray) -> pa.Table:
    """The champion's earlier guesses of wordings that it may still guess."""
    names = [name for name in SECOND_GUESSES.names if name != "run_id"]
    if STEP not in lake.published():
        return SECOND_GUESSES.arrow.empty_table().select(names)
    its = (ds.field("model_version") == version) & (ds.field("locale") == locale)
    before = lake.dataset(STEP).to_table(names, filter=its)
    return before.filter(pc.is_in(before.column("formulation_id"), value_set=open_))


def _guessed(champion: TorchPredictor, locale: str, wordings: pa.Table) -> pa.Table:
    schema = pa.schema([f for f in SECOND_GUESSES.arrow if f.name != "run_id"])
    tables = [schema.empty_table()]
    for first in range(0, len(wordings), _AT_ONCE):
        part = wordings.slice(first, _AT_ONCE).to_pydict()
        rows = []
        for name, found in zip(part["formulation_id"], champion.predict(part["utterance"], locale), strict=True):
            best = [(found.interpretation, found.confidence), *found.alternatives]
            guesses = [{"intent": i.intent, "probability": round(p, 6)} for i, p in best]
            rows.append({"formulation_id": name, "locale": locale, "model_version": champion.version,
                         "guesses": guesses})  # fmt: skip
        tables.append(pa.Table.from_pylist(rows, schema=schema))
    return pa.concat_tables(tables)


def _write(lake: Lake, locale: str, rows: pa.Table, run_id: str) -> int:
    """Replace the locale's rows in one commit; returns the table's version."""
    full = rows.append_column("run_id", pa.array([run_id] * len(rows), pa.string())).cast(SECOND_GUESSES.arrow)
    path = str(lake.table(STEP))
    there = DeltaTable.is_deltatable(path)
    write_deltalake(path, full, mode="overwrite", partition_by=list(SECOND_GUESSES.partition_by),
                    predicate=f"locale = '{locale}'" if there else None)  # fmt: skip
    return int(DeltaTable(path).version())
