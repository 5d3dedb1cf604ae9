"""What the loop reports of outcomes: shares of a gap, intervals, flips, strata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.loop import ARMS, LoopOptions, settings_of
from benchmarks.loop_figure import curves, write_figure
from benchmarks.loop_metrics import by_stratum, difference_interval, flipped, gap_closed, gap_interval, strata_of
from benchmarks.loop_reports import METRICS, TITLES
from benchmarks.slots import score_slots
from retrain.evaluate import Outcomes
from schemas.annotated import Annotated
from schemas.errors import InputError
from schemas.predictor import Interpretation
from schemas.settings import EncoderSettings, Settings


def right(share: float, n: int = 400, seed: int = 0) -> Outcomes:
    hits = (np.random.default_rng(seed).permutation(n) < share * n).astype(int)
    return Outcomes(hits, hits, np.ones(n, int), np.ones(n, int), hits)


def test_the_gap() -> None:
    launch, best = right(0.2), right(0.8)
    assert gap_closed(launch, right(0.5), best)["exact_match"] == pytest.approx(0.5)
    assert gap_closed(launch, launch, best)["slot_f1"] == 0.0
    assert gap_closed(best, best, best)["intent_accuracy"] == 0.0
    low, high = gap_interval(launch, right(0.5), best, 1)["exact_match"]
    assert low < 0.5 < high
    assert high - low < 0.25


def test_a_paired_difference_is_tighter_than_two_intervals() -> None:
    one, other = right(0.55), right(0.5)  # the same order of examples: nested successes
    low, high = difference_interval(one, other, 1)["exact_match"]
    assert 0 < low < 0.05 < high < 0.1


def test_flips() -> None:
    assert flipped(right(0.5), right(0.8)) == 0.0
    assert flipped(right(0.8), right(0.5)) == pytest.approx(0.3)


def test_strata_follow_what_train_asks_most() -> None:
    train = [Annotated("x", "l", Interpretation(i)) for i in "aaaaaabbbc"]
    test = [Annotated("x", "l", Interpretation(i)) for i in "abcz"]
    found = {name: list(chosen) for name, chosen in strata_of(train, test).items()}
    assert found == {"head": [0], "torso": [1], "tail": [2, 3]}
    told = by_stratum(right(1.0, 4), strata_of(train, test))["strata"]
    assert told["tail"]["examples"] == 2


def test_slots_count_spans_and_open_labels() -> None:
    a, b = ("time", "seven"), ("date", "friday")
    gold = [frozenset({a, b}), frozenset({a}), frozenset(), frozenset({b})]
    found = score_slots([{a}, {a}, {b}, None], gold, 1)
    assert (found.labels, found.settled) == (4, 0.75)
    assert (found.precision, found.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found.recall_of_all == 0.5
    assert found.exact == pytest.approx(1 / 3)


def test_bad_options_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no arm 'theirs'(.|\n)*one round"):
        LoopOptions(tmp_path, tmp_path, arms=("theirs", "ours-monolingual"), rounds=0).check()


def test_the_monolingual_arm_has_nothing_of_another_language(tmp_path: Path) -> None:
    file = tmp_path / "some.tsv"
    settings = Settings(encoder=EncoderSettings(parallel=(file,)))
    ours, alone = settings_of(settings, "ours"), settings_of(settings, "ours-monolingual")
    assert (ours.encoder.parallel, ours.labels.translations) == ((file,), True)
    assert (alone.encoder.parallel, alone.labels.translations) == ((), False)


def test_a_loop_without_parallel_text_has_good_defaults(tmp_path: Path) -> None:
    LoopOptions(tmp_path, tmp_path).check()


def planted_report(arms: tuple[str, ...], rounds: int, turns: int) -> dict[str, Any]:
    def stage(value: float) -> dict[str, Any]:
        return dict.fromkeys(METRICS, value) | {"interval": {name: [value - 0.02, value + 0.02] for name in METRICS}}

    def row(number: int) -> dict[str, Any]:
        shares = {"success_rate": 0.5, "label_precision": 0.9, "label_coverage": 0.3}
        decided = {"promoted": number == 2, "gate": f"<b> & round {number}", "trial": None}
        if number == 3:
            decided["trial"] = {"challenger": "m/2", "champion": "m/1", "result": "passed", "reason": "served <more>"}
            left = {"challenger": "m/3", "champion": "m/2", "result": "worse", "reason": "served less"}
            decided["closing"] = {"turns": 9, "trial": left}
        return {
            "round": number,
            "turns": turns,
            "labels": 7,
            "label_corrections": 1234,
            **shares,
            **decided,
            **stage(0.4 + 0.05 * number),
        }

    closed = dict.fromkeys(METRICS, 0.25)
    return {
        "locale": "xx-XX", "seed": 3, "seed_labels": 300, "users": 1000, "population": "launch", "test_utterances": 99,
        "launch": stage(0.41), "ceiling": stage(0.78),
        "arms": [
            {"name": name, "rounds": [row(n + 1) for n in range(rounds)], "gap_closed": closed,
             "gap_closed_interval": {metric: [0.2, 0.3] for metric in METRICS}}
            for name in arms
        ],
        "ours_minus": {name: {metric: [0.01, 0.03] for metric in METRICS} for name in arms if name != "ours"},
    }  # fmt: skip


@pytest.mark.parametrize(("arms", "rounds", "turns"), [(ARMS, 3, 12_000), (("ours",), 1, 900), (("ours",), 2, 700_000)])
def test_the_page_draws_every_arm_and_round_within_its_plots(
    arms: tuple[str, ...], rounds: int, turns: int, tmp_path: Path
) -> None:
    told = planted_report(arms, rounds, turns)
    write_figure(told, tmp_path / "loop.html")
    page = (tmp_path / "loop.html").read_text(encoding="utf-8")
    panels = curves(told).axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        title for title in TITLES.values() for _ in ("round", "turns")
    ]
    for axes in panels:
        by_turns = axes.get_xlabel() == "turns so far"
        lines = [drawn.lines[0] for drawn in axes.containers]
        assert len(lines) == len(arms)
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(arms)
        for line in lines:
            at = line.get_xydata().tolist()
            values = [0.4 + 0.05 * number for number in range(1, rounds + 1)]
            if by_turns:
                assert at == [[turns * number, value] for number, value in enumerate(values, 1)]
            else:
                assert at == [[number, value] for number, value in enumerate([0.41, *values])]
            for x, y in at:
                assert axes.get_xlim()[0] <= x <= axes.get_xlim()[1]
                reach = 0.02 if x else 0  # the launch has no whisker
                assert axes.get_ylim()[0] <= y - reach <= y + reach <= axes.get_ylim()[1]
    assert page.count("25.0 <small>20.0 to 30.0</small>") == len(arms) * len(METRICS)
    assert ("1.0 to 3.0" in page) == (len(arms) > 1)
    assert page.count("refused</td>") == len(arms)  # the first round
    assert page.count("refused, but the one on trial promoted</td>") == len(arms) * (rounds == 3)
    assert page.count("m/2 became champion: served &lt;more&gt;</li>") == len(arms) * (rounds == 3)
    assert page.count("m/3 was taken off trial: served less</li>") == len(arms) * (rounds == 3)
    assert page.count("<td>1,234</td>") == len(arms) * rounds
    assert page.count("<svg") == 1
    assert "<b>" not in page
    assert f"{arms[0]}, round 1: &lt;b&gt; &amp; round 1" in page
