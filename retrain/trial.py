"""The trial: a share of users is served by a challenger until what they do has decided.

What the log of one model can say of another is bounded by what its users happened to try (`retrain.held_out`), and
where few are served that is little. So a challenger that the gate's turns can neither pass nor call worse answers a
random share of users, beside the champion (`schemas.trial`), and the two are compared on turns of their own: a
randomised experiment (Kohavi et al. 2009, "Controlled experiments on the web").

Nobody sees which turns served. Each tells it by what its user did next, as a likelihood ratio of the friction model;
the share that served is the one under which all of a model's turns are likeliest (a mixture of two known components,
by EM). Neither the wording nor the answer is looked at: they would bring the log's opinion of them back in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from retrain import registry
from retrain.gate import Report, served_if_right, write_report
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import GateSettings, Settings

Floats = NDArray[np.float64]

TRIAL = "trial"  # in place of a snapshot, in `gate_reports`
_OWN = ("feedback", "continued")  # pieces of a turn's evidence that its own user gave
_OF_A_USER = 100.0  # turns that one user's may weigh
_GROUPS = 1000  # of users of one model, that the bootstrap draws
_RESAMPLES = 300
_BITS = np.arange(-12, 12.125, 0.25)  # of friction, as far as they are told apart
_STEPS = 300  # of EM


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
    one and the other, and left out."""

    champion: Served
    challenger: Served
    users_of_both: int


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: `passed` (the challenger is champion), `worse` (the trial is over) or `open`."""

    challenger: str
    champion: str
    result: str
    reason: str


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
        completed += np.bincount(_told(batch)[1], minlength=len(_BITS))
        every += len(batch)
    return float(share_served(completed, np.array([float(every)]))[0])


def compare(lake: Lake, locale: str, champion: str, challenger: str, seed: int) -> Comparison | None:
    """Compare two models on the turns that each answered while both were served; None without any of one of them.

    Args:
        champion, challenger: versions.
        seed: of the bootstrap over users (over a thousand groups of them, where there are more), 300 draws.

    A user weighs as much as a hundred turns at most. Every heard turn counts, and only completed ones can have served:
    a model that says nothing, asks back or fails serves nobody with that turn.

    Cost: three scans of a few columns of `turns`; memory of the users.
    """
    turns = lake.dataset("turns")
    of_locale = (ds.field("locale") == locale) & ds.field("heard")
    times = turns.to_table(["occurred_at"], filter=of_locale & (ds.field("model_version") == challenger)).column(0)
    if not len(times):
        return None
    while_on = pc.min_max(times)
    during = (ds.field("occurred_at") >= while_on["min"]) & (ds.field("occurred_at") <= while_on["max"])
    either = of_locale & during & ds.field("model_version").isin([champion, challenger])
    said = turns.to_table(["user_id", "model_version"], filter=either).group_by(["user_id", "model_version"])
    users = said.aggregate([([], "count_all")]).sort_by([("user_id", "ascending"), ("model_version", "ascending")])
    names, models = np.unique(users.column("user_id").to_numpy(zero_copy_only=False), return_counts=True)
    both = pa.array(names[models > 1], pa.string())
    alone = users.filter(pc.invert(pc.is_in(users.column("user_id"), value_set=both)))
    tried = pc.equal(alone.column("model_version"), challenger).to_numpy()
    if tried.all() or not tried.any():
        return None
    spoken = alone.column("count_all").to_numpy()
    group = np.where(tried, np.cumsum(tried) - 1, np.cumsum(~tried) - 1) % _GROUPS + _GROUPS * tried
    of_user = alone.column("user_id").combine_chunks()
    completed, every = _by_group(turns, either, of_user, group, np.minimum(1.0, _OF_A_USER / spoken))
    arms = []
    for which, first in ((~tried, 0), (tried, _GROUPS)):
        groups = slice(first, first + min(int(which.sum()), _GROUPS))
        shares = _resampled(completed[groups], every[groups], (seed, first))
        arms.append(Served(int(which.sum()), int(spoken[which].sum()), float(shares[0]), shares[1:]))
    return Comparison(arms[0], arms[1], len(both))


def _by_group(
    turns: ds.Dataset, chosen: ds.Expression, users: pa.Array, group: NDArray[np.int64], weight: Floats
) -> tuple[Floats, Floats]:
    """Completed turns by group of users and bits of friction, (2 _GROUPS, len(_BITS)), and all turns, (2 _GROUPS,)."""
    completed, every = np.zeros((2 * _GROUPS, len(_BITS))), np.zeros(2 * _GROUPS)
    for batch in turns.to_batches(columns=["user_id", "response", "evidence"], filter=chosen):
        at = pc.index_in(batch.column("user_id"), value_set=users)
        mine = batch.filter(pc.is_valid(at))
        user = at.drop_null().to_numpy()
        every += np.bincount(group[user], weight[user], len(every))
        done, bits = _told(mine)
        cell = group[user[done]] * len(_BITS) + bits
        completed += np.bincount(cell, weight[user[done]], completed.size).reshape(completed.shape)
    return completed, every


def _told(turns: pa.RecordBatch) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which turns are completed, (n,), and what each of these has of its own user's bits of friction: a place in
    `_BITS`."""
    done = pc.equal(turns.column("response"), "completed")
    evidence = turns.column("evidence").filter(done)
    pieces, of = evidence.flatten(), pc.list_parent_indices(evidence).to_numpy()
    own = pc.is_in(pieces.field("name"), value_set=pa.array(_OWN)).to_numpy(zero_copy_only=False)
    bits = np.bincount(of[own], pieces.field("weight").to_numpy()[own], len(evidence))
    place = np.rint((bits - _BITS[0]) / (_BITS[1] - _BITS[0]))
    return done.to_numpy(zero_copy_only=False), np.clip(place, 0, len(_BITS) - 1).astype(np.int64)


def _resampled(completed: Floats, turns: Floats, seed: tuple[int, int]) -> Floats:
    """Share of turns that served, as it is and over bootstrap draws of groups, (1 + 300,)."""
    groups = len(turns)
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), _RESAMPLES)
    times = np.vstack([np.ones(groups), drawn.astype(np.float64)])
    return share_served(times @ completed, times @ turns)


def decide_trial(settings: Settings, lake: Lake) -> Outcome | None:
    """Judge the challenger on trial in `settings.locale` by the users it served; None where none is.

    Where the one-sided bound (`gate.confidence`) of the difference in turns served lies above minus the margin it
    becomes champion; where the bound of the other side lies below 0 the trial is over; else it goes on. The margin is
    `gate.margin`, of turns with the right intent, times how often these serve. Every decision but an open one stands in
    `gate_reports`, with shares of turns served for accuracies.

    Raises:
        InputError: no launch locale in the settings, or no turns in the lake.

    Cost: as `compare`.
    """
    locale = settings.locale
    if locale is None:
        raise InputError("no launch locale: set `locale` in sayagain.toml, or give --locale")
    tried, incumbent = (registry.version_of(lake, locale, alias) for alias in (registry.TRIAL, registry.CHAMPION))
    if tried is None or incumbent is None:
        return None
    found = compare(lake, locale, incumbent, tried, settings.seed)
    last = lake.manifest("training_sets")
    serves = served_if_right(lake, str(last.details["snapshot_id"])) if last else 1.0
    result, figures = judged(found, settings.gate, serves)
    outcome = Outcome(tried, incumbent, result, figures.pop("reason"))
    if result == "open":
        return outcome
    write_report(lake, Report(locale, tried, incumbent, TRIAL, result == "passed", outcome.reason, **figures))
    if result == "passed":
        registry.promote(lake, locale, alias=registry.TRIAL)
    else:
        registry.end_trial(lake, locale)
    return outcome


def judged(found: Comparison | None, settings: GateSettings, served_if_right: float) -> tuple[str, dict[str, Any]]:
    """What a comparison decides: `passed`, `worse` or `open`, with the reason and the other figures of a report.

    Args:
        served_if_right: how often a turn with the right intent serves.
    """
    margin = settings.margin * served_if_right
    if found is None or min(found.champion.users, found.challenger.users) < settings.min_examples:
        few = f"{found.challenger.users} users beside {found.champion.users}" if found else "no users"
        return "open", {"reason": f"too few to decide: {few}; gate.min_examples is {settings.min_examples}"}
    one, other = found.champion, found.challenger
    gain, draws = other.share - one.share, other.resampled - one.resampled
    low, high = (float(np.quantile(draws, q)) for q in (1 - settings.confidence, settings.confidence))
    result = "passed" if low > -margin else "worse" if high < 0 else "open"
    said = {
        "passed": f"not worse by {margin:.3f}",
        "worse": "worse",
        "open": f"may be worse by {margin:.3f}, or better",
    }
    bound = f"{settings.confidence:.0%} bound {high if result == 'worse' else low:+.3f}"
    reason = (
        f"{said[result]}: turns served {gain:+.3f} ({bound}), {other.turns} turns of {other.users} users on trial "
        f"beside {one.turns} of {one.users}"
    )
    if found.users_of_both:
        reason += f", {found.users_of_both} served by both left out"
    figures = {"examples": other.turns, "challenger_accuracy": other.share, "champion_accuracy": one.share}
    return result, {"reason": reason, **figures, "lower_bound": low, "margin": margin}
