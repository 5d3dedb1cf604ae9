"""How many turns a model served, and how two that were served side by side compare: by what users did.

Nobody sees which turns served. Each tells it by what its user did next, as a likelihood ratio of the friction model;
the share that served is the one under which all of a model's turns are likeliest (a mixture of two known components,
by EM). What was believed of a wording or an answer is not looked at: it would bring the log's opinion back in.

Source of the comparison: Kohavi et al. 2009, "Controlled experiments on the web: survey and practical guide".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from schemas.lake import Lake
from schemas.predictor import Predictor

Floats = NDArray[np.float64]

_OWN = ("feedback", "continued")  # pieces of a turn's evidence that its own user gave
_OF_A_USER = 100.0  # turns that one user's may weigh
_GROUPS = 1000  # of users of one model, that the bootstrap draws
_RESAMPLES = 300
_BITS = np.arange(-12, 12.125, 0.25)  # of friction, as far as they are told apart
_STEPS = 300  # of EM
_READ = 200_000  # turns up to which both models read what was said
_UNSURE = 0.01  # share of the completed turns that are less sure than what counts as sure


@dataclass(frozen=True)
class Served:
    """What the turns of one model's users say. `share`: of turns that served; `resampled`: over draws of users."""

    users: int
    turns: int
    share: float
    resampled: Floats


@dataclass(frozen=True)
class Comparison:
    """Both models, on the turns between the first and the last that the challenger answered. `users_of_both`: served by
    one and the other, and left out; `apart`: share of the turns on which the models may differ."""

    champion: Served
    challenger: Served
    users_of_both: int
    apart: float


def share_served(completed: Floats, turns: Floats) -> Floats:
    """Share of turns that served, by what users did after the completed ones.

    Args:
        completed: turns by bits of friction, (n, len(_BITS)).
        turns: all of them, completed or not, (n,).

    Returns:
        (n,), 0 to 1: the maximum-likelihood share of the completed, times the share that is completed.

    Cost: O(300 n bits) time.
    """
    odds = 2.0**-_BITS
    every = completed.sum(axis=1)
    share = np.full(len(completed), 0.5)
    for _ in range(_STEPS):
        served = share[:, None] * odds / (share[:, None] * odds + 1 - share[:, None])
        share = np.clip((completed * served).sum(axis=1) / np.maximum(every, 1e-9), 1e-6, 1 - 1e-6)
    return np.asarray(share * every / np.maximum(turns, 1e-9), np.float64)


def share_of(lake: Lake, locale: str, version: str) -> float:
    """Share of all heard turns of a model that served; 0 without any. Cost: a scan of two columns of `turns`."""
    of_model = (ds.field("locale") == locale) & ds.field("heard") & (ds.field("model_version") == version)
    completed, every = np.zeros((1, len(_BITS))), 0
    for batch in lake.dataset("turns").to_batches(columns=["response", "evidence"], filter=of_model):
        completed += np.bincount(_signs(batch)[1], minlength=len(_BITS))
        every += len(batch)
    return float(share_served(completed, np.array([float(every)]))[0])


def compare(lake: Lake, locale: str, champion: Predictor, challenger: Predictor, seed: int) -> Comparison | None:
    """Compare two models on the turns that each answered while both were served; None without any of one of them.

    Args:
        seed: of the bootstrap over users (over a thousand groups of them, where there are more), 300 draws.

    Both were served from the first to the last turn that the challenger answered, on the UTC days on which it answered
    any: between two trials of one challenger it did not.

    Turns on which both say the same serve alike, whoever answered, and only make noise: they count as one share, of
    both models' users (triggered analysis, as Kohavi et al. have it). A user weighs as much as a hundred turns at most.
    Every heard turn counts, and only completed ones can have served: a model that says nothing, asks back or fails
    serves nobody with that turn.

    Cost: four scans of a few columns of `turns`; memory of the users and of the distinct utterances, of which both
    models read all, some 2,500 a second on two cores (beyond 200,000 turns none: all count as told apart).
    """
    turns = lake.dataset("turns")
    either = _side_by_side(turns, locale, champion.version, challenger.version)
    if either is None:
        return None
    users = _Users.of(turns, either, challenger.version)
    if users is None:
        return None
    tally = _Tally.of(turns, either, users, _told_apart(turns, either, locale, champion, challenger))
    arms = (~users.tried, users.tried)
    shares = tally.shares(tuple(min(int(which.sum()), _GROUPS) for which in arms), seed)
    old, new = (
        Served(int(which.sum()), int(users.turns[which].sum()), float(share[0]), share[1:])
        for which, share in zip(arms, shares, strict=True)
    )
    return Comparison(old, new, users.of_both, tally.apart())


def _side_by_side(turns: ds.Dataset, locale: str, old: str, new: str) -> ds.Expression | None:
    """Which heard turns either model answered while both were served; None where the challenger answered none."""
    of_locale = (ds.field("locale") == locale) & ds.field("heard")
    times = turns.to_table(["occurred_at"], filter=of_locale & (ds.field("model_version") == new)).column(0)
    if not len(times):
        return None
    first_last, at = pc.min_max(times), ds.field("occurred_at")
    days = pc.unique(pc.floor_temporal(times, unit="day"))
    during = (at >= first_last["min"]) & (at <= first_last["max"]) & pc.floor_temporal(at, unit="day").isin(days)
    return of_locale & during & ds.field("model_version").isin([old, new])


@dataclass(frozen=True)
class _Users:
    """Users whom one model alone answered, in a stable order, all (n,).

    Args:
        tried: those of the challenger.
        turns: how many each said.
        of_both: users of both models, who are left out.
    """

    names: pa.Array
    tried: NDArray[np.bool_]
    turns: NDArray[np.int64]
    of_both: int

    @classmethod
    def of(cls, turns: ds.Dataset, chosen: ds.Expression, new: str) -> _Users | None:
        """Count users. None where one of the models has none of its own."""
        said = turns.to_table(["user_id", "model_version"], filter=chosen).group_by(["user_id", "model_version"])
        counts = said.aggregate([([], "count_all")]).sort_by([("user_id", "ascending"), ("model_version", "ascending")])
        names, models = np.unique(counts.column("user_id").to_numpy(zero_copy_only=False), return_counts=True)
        both = pa.array(names[models > 1], pa.string())
        alone = counts.filter(pc.invert(pc.is_in(counts.column("user_id"), value_set=both)))
        tried = pc.equal(alone.column("model_version"), new).to_numpy()
        if tried.all() or not tried.any():
            return None
        return cls(alone.column("user_id").combine_chunks(), tried, alone.column("count_all").to_numpy(), len(both))

    @property
    def groups(self) -> NDArray[np.int64]:
        """Which group of the bootstrap each is in, the champion's first."""
        place = np.where(self.tried, np.cumsum(self.tried), np.cumsum(~self.tried)) - 1
        return np.asarray(place % _GROUPS + _GROUPS * self.tried, np.int64)

    @property
    def weights(self) -> Floats:
        """What a turn of each weighs."""
        return np.minimum(1.0, _OF_A_USER / self.turns)


def _told_apart(
    turns: ds.Dataset, chosen: ds.Expression, locale: str, champion: Predictor, challenger: Predictor
) -> pa.Array | None:
    """Utterances that the two models do not answer alike; None where all count as such.

    Alike: the same intent and slots, and both as sure as all but one in a hundred of the turns that were carried out:
    an assistant may leave unsaid what is less sure.
    """
    if turns.count_rows(filter=chosen) > _READ:
        return None
    said = turns.to_table(["utterance", "response", "confidence"], filter=chosen)
    sure = said.filter(pc.equal(said.column("response"), "completed")).column("confidence").drop_null().to_numpy()
    least = float(np.quantile(sure, _UNSURE)) if len(sure) else 1.0
    texts = sorted(set(said.column("utterance").to_pylist()))
    answers = zip(texts, champion.predict(texts, locale), challenger.predict(texts, locale), strict=True)
    return pa.array(
        [
            text
            for text, one, other in answers
            if one.interpretation != other.interpretation or min(one.confidence, other.confidence) < least
        ],
        pa.string(),
    )


@dataclass
class _Tally:
    """What turns tell by group of users, (2 _GROUPS, ...), the champion's first.

    Args:
        completed, every: turns on which the models are told apart, the completed ones by bits of friction.
        alike: the others, of both models' users: completed ones by bits, and all.
        turns: all, by group.
    """

    completed: Floats
    every: Floats
    alike: tuple[Floats, float]
    turns: Floats

    @classmethod
    def of(cls, turns: ds.Dataset, chosen: ds.Expression, users: _Users, differ: pa.Array | None) -> _Tally:
        """Count turns. Args: utterances told apart, None for all."""
        group, weight = users.groups, users.weights
        completed, every = np.zeros((2, 2 * _GROUPS, len(_BITS))), np.zeros((2, 2 * _GROUPS))
        for batch in turns.to_batches(columns=["user_id", "utterance", "response", "evidence"], filter=chosen):
            at = pc.index_in(batch.column("user_id"), value_set=users.names)
            mine, user = batch.filter(pc.is_valid(at)), at.drop_null().to_numpy()
            apart = np.ones(len(mine), np.int64)
            if differ is not None:
                apart = pc.is_in(mine.column("utterance"), value_set=differ).to_numpy(zero_copy_only=False).astype(int)
            row = apart * 2 * _GROUPS + group[user]
            every += np.bincount(row, weight[user], every.size).reshape(every.shape)
            done, bits = _signs(mine)
            cell = row[done] * len(_BITS) + bits
            completed += np.bincount(cell, weight[user[done]], completed.size).reshape(completed.shape)
        return cls(completed[1], every[1], (completed[0].sum(0), float(every[0].sum())), every.sum(0))

    def apart(self) -> float:
        """Share of the turns on which the models are told apart."""
        return float(self.every.sum() / self.turns.sum())

    def shares(self, groups: tuple[int, ...], seed: int) -> list[Floats]:
        """Share of turns that served of the champion and the challenger, as it is and over bootstrap draws, each
        (1 + 300,). Args: how many groups each has."""
        drawn = []
        for arm, n in enumerate(groups):
            times = np.random.default_rng((seed, arm)).multinomial(n, np.full(n, 1 / n), _RESAMPLES)
            which = slice(arm * _GROUPS, arm * _GROUPS + n)
            draws = np.vstack([np.ones(n), times.astype(np.float64)])
            drawn.append([draws @ column[which] for column in (self.completed, self.every, self.turns)])
        served, every = self.alike
        rest = float(share_served(served[None], np.array([every]))[0])
        apart = sum(of[1] for of in drawn) / sum(of[2] for of in drawn)  # as often for both: who fails says it again
        return [apart * share_served(of[0], of[1]) + (1 - apart) * rest for of in drawn]


def _signs(turns: pa.RecordBatch) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which turns are completed, (n,), and what each of these has of its own user's bits of friction: a place in
    `_BITS`."""
    done = pc.equal(turns.column("response"), "completed")
    evidence = turns.column("evidence").filter(done)
    pieces, of = evidence.flatten(), pc.list_parent_indices(evidence).to_numpy()
    own = pc.is_in(pieces.field("name"), value_set=pa.array(_OWN)).to_numpy(zero_copy_only=False)
    bits = np.bincount(of[own], pieces.field("weight").to_numpy()[own], len(evidence))
    place = np.rint((bits - _BITS[0]) / (_BITS[1] - _BITS[0]))
    return done.to_numpy(zero_copy_only=False), np.clip(place, 0, len(_BITS) - 1).astype(np.int64)
