"""Ways to find rephrase pairs in one log, ours and others', behind one interface: turns in, `Chosen` pairs out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.process import cpdist

from benchmarks.pair_scoring import Chosen, Floats, Gold, Ints
from mining.choice import new_requests
from mining.comparisons import COMPARISONS, SIZES, Candidates, candidates, fit_linkage
from mining.fellegi_sunter import from_pattern_key, pattern_key
from mining.friction import SIZES as SIZES_OF_FRICTION
from mining.friction import evidence_levels
from mining.friction_model import fit_friction, friction
from mining.meetings import met, seen
from mining.sessions import answers, seconds, sessionise
from mining.tokens import TokenWeights, slot_token_counts, token_counts
from mining.value_words import drawn, tagged_values, varying_values
from mining.voices import Voices
from schemas.normalise import formulation_id, normalise
from schemas.settings import Settings
from schemas.tables import TURNS

ADJACENT_SECONDS = 60.0
SEEN, AGREED = 10, 0.8  # MARUPA's filter: a pair is kept where it was seen so often, and with so much agreement
PARAPHRASE = 0.5  # similarity, 0 to 1, above which adjacency + levenshtein, cosine and MARUPA believe a pair


@dataclass(frozen=True)
class Log:
    """A log's turns by user, then time, with what the pipeline would know of them.

    Args:
        turns: columns of the `turns` table that mining reads; friction fitted as the pipeline does.
        session: row of the first turn of each turn's session.
        settings: of the pipeline.
    """

    turns: pa.Table
    session: Ints
    settings: Settings

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]], settings: Settings) -> Log:
        """From records of the input contract. O(turns) in memory; meant for logs of up to a few 100,000 turns."""
        rows = [dict(r, occurred_at=datetime.fromisoformat(str(r["occurred_at"]))) for r in records]
        rows.sort(key=lambda r: (r["user_id"], r["occurred_at"], r["interaction_id"]))
        wanted = [f for f in TURNS.arrow if f.name in _LOGGED]
        schema = pa.schema([pa.field(f.name, f.type) for f in wanted])
        turns = pa.Table.from_pylist(
            [{f.name: r.get(f.name) for f in wanted} | {"feedback": r.get("feedback") or []} for r in rows], schema
        )
        first, _ = sessionise(turns, settings.sessions.gap_seconds, settings.sessions.max_turns)
        ids, texts = turns.column("interaction_id").to_pylist(), [normalise(r["utterance"]) for r in rows]
        turns = turns.append_column("session_id", pa.array([ids[i] for i in first], pa.string()))
        turns = turns.append_column("text", pa.array(texts, pa.string()))
        said = [formulation_id(r["locale"], text) for r, text in zip(rows, texts, strict=True)]
        turns = turns.append_column("formulation_id", pa.array(said, pa.string()))
        voices = Voices(settings.labels.voice_wordings)
        heard = voices.of(turns.column("user_id"), turns.column("formulation_id"))
        turns = turns.append_column("heard", pa.array(heard))
        return cls(turns.append_column("friction", pa.array(_friction(turns, settings))), first, settings)

    @cached_property
    def texts(self) -> list[str]:
        """Normalised texts."""
        return [str(text) for text in self.turns.column("text").to_pylist()]

    @cached_property
    def user(self) -> Ints:
        """Number of each turn's user."""
        codes = self.turns.column("user_id").combine_chunks().dictionary_encode().indices
        return np.asarray(codes.to_numpy(zero_copy_only=False), dtype=np.int64)

    @cached_property
    def heard(self) -> NDArray[np.bool_]:
        """Whether the pipeline hears each turn's user (`mining.voices`)."""
        return np.asarray(self.turns.column("heard").to_numpy(), dtype=bool)

    @cached_property
    def friction(self) -> Floats:
        """Friction of each turn."""
        return np.asarray(self.turns.column("friction").to_numpy(), dtype=np.float64)

    @cached_property
    def candidates(self) -> Candidates:
        """The candidate pairs, as the pipeline compares them."""
        chosen = self.settings.rephrase
        return candidates(
            self.turns,
            token_weights(self.turns.filter(self.turns.column("heard"))),
            max_gap_seconds=chosen.max_gap_seconds,
            lookahead=chosen.lookahead,
            min_source_friction=chosen.min_source_friction,
        )

    def same_words(self, source: Ints, target: Ints) -> NDArray[np.bool_]:
        """Whether both turns are one formulation."""
        said = np.asarray(self.turns.column("formulation_id").to_pylist(), dtype=object)
        return np.asarray(said[source] == said[target], dtype=bool)

    @cached_property
    def following(self) -> tuple[Ints, Ints, Floats]:
        """Each turn and the next of its session, neither an answer nor called off; and the seconds between."""
        times = seconds(self.turns.column("occurred_at"))
        cancelled = np.asarray(self.turns.column("response").to_pylist(), dtype=object) == "cancelled"
        aside = answers(self.turns) | cancelled
        i = np.flatnonzero((self.session[1:] == self.session[:-1]) & ~aside[1:] & ~aside[:-1])
        return i, i + 1, times[i + 1] - times[i]


_LOGGED = (
    "interaction_id", "user_id", "locale", "occurred_at", "utterance", "interpretation", "confidence",
    "model_version", "rewritten_from", "response", "requested_slot", "feedback",
)  # fmt: skip


def _friction(turns: pa.Table, settings: Settings) -> Floats:
    """As the step `turns` fits it; nobody is held out."""
    nobody = pa.array(np.zeros(len(turns), dtype=bool))
    pattern = pattern_key(evidence_levels(turns), SIZES_OF_FRICTION)
    wording, meetings = met(turns.append_column("held_out", nobody), pattern)
    rows, chosen = seen(meetings), settings.friction
    locales = np.asarray(rows.column("locale").to_pylist(), dtype=object)
    scores = np.zeros(len(rows))
    for locale in sorted(set(locales)):
        mine = rows.filter(pa.array(locales == locale))
        heard = mine.filter(mine.column("heard"))
        model = fit_friction(
            heard, np.ones(len(heard)),
            prior=chosen.prior, silent_failure=chosen.silent_failure, iterations=chosen.iterations,
        )  # fmt: skip
        scores[locales == locale] = friction(model.bits(mine))
    found = scores[np.searchsorted(rows.column("wording").to_numpy(), wording)]
    return np.asarray(found, dtype=np.float64)


def token_weights(turns: pa.Table) -> dict[str, TokenWeights]:
    """What the step `rephrase_pairs` knows of each locale's tokens."""
    said: dict[str, dict[str, str | None]] = defaultdict(dict)
    columns = (turns.column(name).to_pylist() for name in ("locale", "text", "response", "interpretation"))
    for locale, text, response, meant in zip(*columns, strict=True):
        values = " ".join(s["value"] for s in meant["slots"] or ()) if meant and response != "no_match" else None
        known = said[locale].setdefault(text, values)
        if values is not None and (known is None or values > known):
            said[locale][text] = values
    made = {}
    for locale, texts in said.items():
        there, inside = slot_token_counts(texts, texts.values())
        value_words = tagged_values(len(texts), there, inside) | varying_values(drawn(texts))
        made[locale] = TokenWeights(len(texts), token_counts(texts), value_words)
    return made


def choose(log: Log, source: Ints, target: Ints, posterior: Floats, min_posterior: float) -> Chosen:
    """The pipeline's choice: of each source the believed target in other words that served best, else its best."""
    same = log.same_words(source, target)
    believed = posterior >= min_posterior
    served = np.round(posterior * (1 - 0.5 * log.friction[target]), 6)
    rank = np.where(believed, served + np.where(same, 10, 20), posterior)
    return _first(log, source, target, posterior, believed, rank)


def _first(log: Log, source: Ints, target: Ints, score: Floats, believed: NDArray[np.bool_], rank: Floats) -> Chosen:
    order = np.lexsort((target, -rank, source))
    source, target = source[order], target[order]
    top = order[np.diff(source, prepend=-1) > 0]
    keep = np.diff(source, prepend=-1) > 0
    return Chosen(source[keep], target[keep], score[top], believed[top], log.same_words(source[keep], target[keep]))


def _posteriors(log: Log, without: str | None = None) -> tuple[Floats, Floats]:
    """Of each candidate pair the posterior of a rephrase and of another request in like words."""
    found = log.candidates
    columns = [i for i, c in enumerate(COMPARISONS) if c.name != without]
    sizes = [SIZES[i] for i in columns]
    levels = found.levels[:, columns]
    posterior, changed = np.zeros(len(levels)), np.zeros(len(levels))
    locales = np.asarray(log.turns.column("locale").to_pylist(), dtype=object)[found.source]
    keys, chosen = pattern_key(levels, sizes), log.settings.rephrase
    for locale in sorted(set(locales)):
        mine = np.flatnonzero((locales == locale) & log.heard[found.source])
        # A busy user's pairs count for `max_pairs_per_user` in all.
        busy = np.bincount(log.user[found.source])
        weight = np.minimum(1.0, chosen.max_pairs_per_user / busy[log.user[found.source[mine]]])
        distinct, place = np.unique(keys[mine], return_inverse=True)
        patterns = from_pattern_key(distinct, sizes)
        counts = np.bincount(place, weight).astype(np.float64)
        model = fit_linkage(patterns, counts, chosen.iterations, [COMPARISONS[i] for i in columns])
        again = np.round(model.posterior(patterns), 9)
        posterior[mine] = again[place]
        changed[mine] = model.alike_posterior(patterns, again)[place]
    return posterior, changed


def ours(log: Log, without: str | None = None) -> Chosen:
    """The pipeline's model, fitted to this log; `without` one comparison for the ablation."""
    found, chosen = log.candidates, log.settings.rephrase
    posterior, _ = _posteriors(log, without)
    open_ = ~found.answered & log.heard[found.source]
    return choose(log, found.source[open_], found.target[open_], posterior[open_], chosen.min_posterior)


def outcomes(log: Log) -> NDArray[np.str_]:
    """What the pipeline says of each turn: rephrase, repeat, new_request, or nothing."""
    found, least = log.candidates, log.settings.rephrase.min_posterior
    said = np.full(len(log.turns), "nothing", dtype="<U11")
    chosen = ours(log)
    said[chosen.source[chosen.believed]] = np.where(chosen.same_words, "repeat", "rephrase")[chosen.believed]
    open_ = np.flatnonzero(~found.answered & log.heard[found.source] & (said[found.source] == "nothing"))
    source, target = found.source[open_], found.target[open_]
    taken = np.zeros(0, dtype=np.int64)
    changes = new_requests(source, target - source, _posteriors(log)[1][open_], taken, least)
    said[source[changes]] = "new_request"
    return said


def adjacency(log: Log) -> Chosen:
    """Each turn and the next within a minute; the quicker, the likelier."""
    source, target, gap = log.following
    near = gap <= ADJACENT_SECONDS
    source, target, gap = source[near], target[near], gap[near]
    score = 1 - gap / (2 * ADJACENT_SECONDS)
    return Chosen(source, target, score, np.ones(len(source), dtype=bool), log.same_words(source, target))


def _spelt_alike(log: Log, source: Ints, target: Ints) -> Floats:
    left, right = [log.texts[i] for i in source], [log.texts[j] for j in target]
    return np.asarray(cpdist(left, right, scorer=fuzz.ratio, dtype=np.float64) / 100)


def adjacency_levenshtein(log: Log) -> Chosen:
    """The same, where the texts are spelt alike."""
    found = adjacency(log)
    alike = _spelt_alike(log, found.source, found.target)
    return Chosen(found.source, found.target, alike, alike >= PARAPHRASE, found.same_words)


def cosine(log: Log) -> Chosen:
    """Of the candidates of each turn the one with the highest cosine of letter n-grams (tf-idf), nothing else."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(log.texts)
    found = log.candidates
    cosines = np.asarray(vectors[found.source].multiply(vectors[found.target]).sum(axis=1)).ravel()
    same = log.same_words(found.source, found.target)
    return _first(log, found.source, found.target, cosines, cosines >= PARAPHRASE, cosines - 2 * same)


def marupa(log: Log) -> Chosen:
    """Falke et al. 2020, "Leveraging user paraphrasing behavior in dialog systems to automatically collect annotations
    for long-tail utterances" (COLING industry track): a paraphrase after friction that ends without, its pair of
    formulations seen `SEEN` times with `AGREED` agreement of the source's targets.
    """
    found = adjacency(log)
    alike = _spelt_alike(log, found.source, found.target)
    good = (alike >= PARAPHRASE) & (log.friction[found.source] >= 0.5) & (log.friction[found.target] < 0.5)
    good &= ~found.same_words
    said = log.turns.column("formulation_id").to_pylist()
    pairs = [(said[i], said[j]) for i, j in zip(found.source.tolist(), found.target.tolist(), strict=True)]
    seen = Counter(pair for pair, is_good in zip(pairs, good, strict=True) if is_good)
    of_source: Counter[str] = Counter()
    for (one, _), n in seen.items():
        of_source[one] += n
    agreed = np.array([seen[p] / of_source[p[0]] if of_source[p[0]] else 0.0 for p in pairs])
    enough = np.array([seen[p] >= SEEN for p in pairs], dtype=bool)
    score = np.where(good, agreed * np.minimum([seen[p] / SEEN for p in pairs], 1.0), 0.0)
    return Chosen(found.source, found.target, score, good & enough & (agreed >= AGREED), found.same_words)


def classifier(log: Log, gold: Gold, seed: int) -> Chosen:
    """The ceiling: gradient-boosted trees trained *with* the truth on our comparisons, cross-fitted by user."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import GroupKFold

    found = log.candidates
    pairs = zip(found.source.tolist(), found.target.tolist(), strict=True)
    right = np.array([j in gold.targets.get(i, ()) for i, j in pairs], dtype=bool)
    groups, posterior = log.user[found.source], np.zeros(len(right))
    features = found.levels.astype(np.float64)
    usable = gold.is_judged[found.source]
    for train, test in GroupKFold(5).split(features, right, groups):
        train = train[usable[train]]
        model = HistGradientBoostingClassifier(max_iter=120, random_state=seed)
        model.fit(features[train], right[train])
        posterior[test] = model.predict_proba(features[test])[:, 1]
    open_ = ~found.answered
    return choose(log, found.source[open_], found.target[open_], posterior[open_], log.settings.rephrase.min_posterior)


UNTAUGHT: dict[str, Callable[[Log], Chosen]] = {
    "adjacency 60 s": adjacency,
    "adjacency + levenshtein": adjacency_levenshtein,
    "cosine": cosine,
    "MARUPA filter": marupa,
    "ours": ours,
    **{f"ours without {c.name}": lambda log, name=c.name: ours(log, name) for c in COMPARISONS},  # type: ignore[misc]
}


def read_records(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Records of JSON Lines."""
    return [json.loads(line) for line in lines if line.strip()]
