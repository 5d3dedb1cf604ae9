"""What loops that differ in their seed alone have in common: means, ranges and intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from scipy import stats

from benchmarks.loop_reports import METRICS, NAMED, said
from schemas.errors import InputError

_OURS = "ours"
# What must be the same for two loops to differ by chance only; the folder of utterances may lie anywhere.
_EXPERIMENT = ("source", "locale", "seed_labels", "parallel", "population", "users", "sample", "train_encoder")


def over_seeds(reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every arm of every experiment over its seeds.

    Args:
        reports: of `benchmarks.loop.run_loop`; a loop's arms may stand in several of them.

    Returns:
        A row for each arm, an experiment's best first: `experiment` (its name), `arm`, `rounds`, `seeds`, `gap_closed`
        and, for arms that are not ours, `ours_minus` (the differences of shares by seed, over seeds that both have):
        of each metric `mean`, `low` and `high` (the worst and the best seed) and `interval`, Student's 95% interval of
        the mean, None for one seed. It tells chance in users, utterances, seed labels and training together; test
        utterances are the same.

    Raises:
        InputError: an arm of a loop is given twice with other figures, or with another number of rounds.
    """
    found: dict[tuple[str, ...], dict[str, dict[int, dict[str, Any]]]] = {}
    for report in reports:
        experiment = tuple(repr(report.get(key)) for key in _EXPERIMENT)
        arms = found.setdefault(experiment, {})
        for arm in report["arms"]:
            seeds = arms.setdefault(arm["name"], {})
            told = {"rounds": len(arm["rounds"]), "gap_closed": arm["gap_closed"], "report": report}
            before = seeds.setdefault(int(report["seed"]), told)
            if before["gap_closed"] != told["gap_closed"]:
                raise InputError(f"{arm['name']}, seed {report['seed']}: two reports differ; give one of them")
    rows = []
    for arms in found.values():
        rounds, *others = sorted({told["rounds"] for seeds in arms.values() for told in seeds.values()})
        if others:
            raise InputError(
                f"loops of {[rounds, *others]} rounds cannot be compared: give reports of as many rounds each"
            )
        ours = arms.get(_OURS, {})
        closed = {
            name: {m: _summary([told["gap_closed"][m] for told in seeds.values()]) for m in METRICS}
            for name, seeds in arms.items()
        }
        for name in sorted(arms, key=lambda name: -closed[name][METRICS[-1]]["mean"]):
            seeds = arms[name]
            some = next(iter(seeds.values()))["report"]
            both = sorted(seeds.keys() & ours.keys())
            row = {
                "experiment": ", ".join(said(key, some[key]) for key in NAMED if key != "seed"),
                "arm": name,
                "rounds": rounds,
                "seeds": sorted(seeds),
                "gap_closed": closed[name],
            }
            if name != _OURS and both:
                row["ours_minus"] = {
                    m: _summary([ours[s]["gap_closed"][m] - seeds[s]["gap_closed"][m] for s in both]) for m in METRICS
                }
            rows.append(row)
    return rows


def _summary(values: Sequence[float]) -> dict[str, Any]:
    middle = mean(values)
    interval = None
    if len(values) > 1:
        reach = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
        interval = [middle - reach, middle + reach]
    return {"mean": middle, "low": min(values), "high": max(values), "interval": interval}
