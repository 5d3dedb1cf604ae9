"""The trial: a share of users is served by a challenger until what they do has decided.

What the log of one model can say of another is bounded by what its users happened to try (`retrain.held_out`), and
where few are served that is little. So a challenger that the gate's turns can neither pass nor call worse answers a
random share of users, beside the champion (`schemas.trial`), and the two are compared on turns of their own
(`retrain.served`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from retrain import registry
from retrain.gate import Report, served_if_right, write_report
from retrain.served import Comparison, compare
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import GateSettings, Settings

TRIAL = "trial"  # in place of a snapshot, in `gate_reports`


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: `passed` (the challenger is champion), `worse` (the trial is over) or `open`."""

    challenger: str
    champion: str
    result: str
    reason: str


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
    tried, incumbent = registry.on_trial(lake, locale), registry.champion(lake, locale)
    if tried is None or incumbent is None:
        return None
    found = compare(lake, locale, incumbent, tried, settings.seed)
    last = lake.manifest("training_sets")
    serves = served_if_right(lake, str(last.details["snapshot_id"])) if last else 1.0
    result, figures = judged(found, settings.gate, serves)
    outcome = Outcome(tried.version, incumbent.version, result, figures.pop("reason"))
    if result == "open":
        return outcome
    who = locale, outcome.challenger, outcome.champion
    write_report(lake, Report(*who, TRIAL, result == "passed", outcome.reason, **figures))
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
        f"beside {one.turns} of {one.users}, told apart on {found.apart:.0%}"
    )
    if found.users_of_both:
        reason += f", {found.users_of_both} served by both left out"
    figures = {"examples": other.turns, "challenger_accuracy": other.share, "champion_accuracy": one.share}
    return result, {"reason": reason, **figures, "lower_bound": low, "margin": margin}
