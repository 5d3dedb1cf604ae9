"""Which of two models users speak for, on planted turns whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gate_decisions import Recites
from retrain.data import Example
from retrain.gate import Verdict, decide_on_turns
from retrain.held_out import _DOUBTED, _agreement, _sums, estimate
from schemas.predictor import Interpretation, Prediction
from schemas.settings import GateSettings
from schemas.training_tables import NO_ANSWER


def test_held_out_turns_decide_by_the_expected_accuracy() -> None:
    """Each turn was answered `a`, which served every fifth user; the others then got `b`."""
    evidence = [
        Example(f"u{i}", "xx-XX", intent, None, weight, "gate", source, f"turn{i}")
        for i in range(200)
        for intent, weight, source in (
            ("a", 0.3, "expected"), ("a", 0.95 if i % 5 == 0 else 0.02, "held_out"), ("b", 0.7, "rephrased"),
        )
        if source != "rephrased" or i % 5
    ]  # fmt: skip

    class Says:
        version = "says"

        def __init__(self, intent: str) -> None:
            self.intent = intent

        def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
            return [Prediction(Interpretation(self.intent), 0.9) for _ in utterances]

    def decided(challenger: str, champion: str) -> Verdict:
        return decide_on_turns(Says(challenger), Says(champion), evidence, 0.5, GateSettings(), 1)

    better = decided("b", "a")
    assert better.passed
    assert better.champion_accuracy is not None
    assert better.challenger_accuracy is not None
    assert better.champion_accuracy == pytest.approx((0.2 * 0.95 + 0.8 * 0.02) / 0.5, abs=0.05)
    assert 0.5 < better.challenger_accuracy < 0.7  # between 0.56, what was seen, and 0.6, what the champion leaves
    assert not decided("c", "a").passed  # nobody has evidence for c
    tie = decided("a", "a")
    assert (tie.passed, tie.lower_bound) == (True, 0)
    back = decided("a", "b")  # the other way round, whosever answers they were
    assert not back.passed
    assert _estimated(back) < -0.1
    mute = [replace(e, weight=0.01) for e in evidence if e.source != "rephrased"]
    strange = decide_on_turns(Says("c"), Says("d"), mute, 0.5, GateSettings(), 1)  # neither's answers, and no tries
    assert not strange.passed
    assert "nothing is known" in strange.reason
    assert (strange.champion_accuracy, strange.lower_bound, strange.examples) == (None, None, 0)


def _planted_turns(
    seed: int, champion: float, challenger: float, turns: int = 1500
) -> tuple[list[Example], dict[str, str], dict[str, str], dict[str, str]]:
    """Turns of held-out users as the step `training_sets` writes them, what the challenger and the champion, who
    answered them, say, and what is right.

    Users are served where the intent and the values (4 of 10) are right; 7% of the others let it pass; of those who do
    not, 6 of 10 reword it, and 7 of 10 of these are then understood.
    """
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(turns):
        gold, skill = int(rng.integers(20)), rng.random()
        other = skill if rng.random() < 0.5 else rng.random()  # what is hard for one is hard for the other
        wrong = int((gold + 1 + rng.integers(19)) % 20)
        old = gold if skill < champion else wrong
        new = gold if other < challenger else wrong if rng.random() < 0.3 else int((gold + 1 + rng.integers(19)) % 20)
        served = old == gold and rng.random() < 0.4
        quiet = served or rng.random() < 0.07
        again = None
        if not quiet and rng.random() < 0.6:
            target = gold if rng.random() < 0.7 else int(rng.integers(20))
            happy = (target == gold and rng.random() < 0.4) or rng.random() < 0.07
            again = target, happy
        said.append((gold, old, new, served, quiet, again))
    share = float(np.mean([served for *_, served, _, _ in said]))
    silent = float(np.mean([not served for *_, served, quiet, _ in said if quiet]))
    rows = []
    for i, (_, old, _, _, quiet, again) in enumerate(said):
        answers = [(old, share, "expected"), (old, 1 - silent if quiet else 0.0, "held_out")]
        if again is not None:
            answers.append((again[0], 0.85 * (1 - silent if again[1] else 0.0), "rephrased"))
        rows += [Example(f"t{i}", "xx-XX", str(k), None, w, "gate", source, f"t{i}") for k, w, source in answers]
    gold, old, new = ({f"t{i}": str(t[k]) for i, t in enumerate(said)} for k in range(3))
    return rows, new, old, gold


def _estimated(verdict: Verdict) -> float:
    assert verdict.challenger_accuracy is not None
    assert verdict.champion_accuracy is not None
    return verdict.challenger_accuracy - verdict.champion_accuracy


def _gain(new: dict[str, str], old: dict[str, str], gold: dict[str, str]) -> float:
    return float(np.mean([(new[t] == gold[t]) - (old[t] == gold[t]) for t in gold]))


@pytest.mark.parametrize(
    ("champion", "challenger"),
    [(0.3, 0.3), (0.5, 0.5), (0.5, 0.55), (0.5, 0.65), (0.3, 0.5), (0.5, 0.4), (0.1, 0.1), (0.1, 0.3), (0.1, 0.7)],
)
def test_the_estimate_on_turns_is_calibrated_where_it_decides(champion: float, challenger: float) -> None:
    """It errs against change: at most a little above the true gain, and drawn towards a loss."""
    verdicts, gains = [], []
    for seed in range(4):
        rows, new, old, gold = _planted_turns(seed, champion, challenger)
        verdicts.append(decide_on_turns(Recites(new), Recites(old), rows, 0.4, GateSettings(), seed))
        gains.append(_gain(new, old, gold))
    estimate = np.mean([_estimated(v) for v in verdicts])
    true = float(np.mean(gains))
    assert estimate < true + 0.02
    assert estimate > min(true, 0.6 * true) - 0.06
    if true > 0.1:
        assert all(v.passed for v in verdicts)
    if true < -0.05:
        assert not any(v.passed for v in verdicts)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40),
)
def test_agreement_is_the_line_through_the_tries(tries: list[tuple[float, bool]]) -> None:
    """Least squares by numpy, with the doubted tries as rows, where the line needs no bounds."""
    told = [*tries, *[(1.0, False)] * int(_DOUBTED)]
    w, agreed = (np.array(column, dtype=float) for column in zip(*told, strict=True))
    found = _agreement(sum(_sums(*one) for one in tries))
    assert 0 <= found <= 1
    (base, slope), *_ = np.linalg.lstsq(np.stack([np.ones_like(w), w], axis=1), agreed, rcond=None)
    if np.ptp(w) > 0.01 and base > 0 and slope > 0:
        assert found == pytest.approx(min(base + slope, 1.0), abs=1e-6)


def test_a_try_that_did_not_serve_hides_no_gain() -> None:
    """A champion that serves one task in ten: nine in ten tries are noise; the challenger is right on seven in ten."""
    rng = np.random.default_rng(3)
    w = rng.beta(1, 9, 4000)
    right = rng.random(4000) < 0.7
    agreed = np.where(rng.random(4000) < w, right, rng.random(4000) < 0.02).astype(float)
    assert agreed @ w / w.sum() < 0.3
    assert _agreement(sum(map(_sums, w, agreed))) == pytest.approx(0.7, abs=0.08)


def _planted_silence(
    seed: int, champion: float, challenger: float, turns: int = 4000
) -> tuple[list[Example], dict[str, str], dict[str, str]]:
    """Turns that nothing was made of, half of them reworded, a quarter of these answered: mostly wrongly, and then as
    the champion would have answered the first wording, which it is as wrong about."""
    rng = np.random.default_rng(seed)
    rows, old, new = [], {}, {}
    for i in range(turns):
        gold, wrong, other = (int(k) for k in rng.integers(20, size=3))
        name = f"t{i}"
        old[name] = str(gold if rng.random() < champion else wrong)
        new[name] = str(gold if rng.random() < challenger else other)
        rows.append(Example(name, "xx-XX", NO_ANSWER, None, 0.0, "gate", "held_out", name))
        if rng.random() < 0.125:
            weight = float(rng.beta(0.4, 0.9))
            said = gold if rng.random() < weight else int(old[name])
            rows.append(Example(name, "xx-XX", str(said), None, weight, "gate", "rephrased", name))
    return rows, old, new


@pytest.mark.parametrize(("champion", "challenger"), [(0.1, 0.7), (0.3, 0.5), (0.4, 0.4), (0.5, 0.2)])
def test_turns_without_an_answer_judge_by_what_served_later(champion: float, challenger: float) -> None:
    found = []
    for seed in range(4):
        rows, old, new = _planted_silence(seed, champion, challenger)
        found.append(estimate(rows, old, new, 0.4, seed))
        assert found[-1].turns == 4000
        assert decide_on_turns(Recites(new), Recites(old), rows, 0.4, GateSettings(), seed).passed is (
            challenger - champion > 0.1
        )
    gain, true = float(np.mean([e.gain for e in found])), challenger - champion
    assert min(0.4 * true, 1.2 * true) - 0.05 < gain < max(true, 0) + 0.03
    assert float(np.mean([e.champion for e in found])) < champion + 0.1


def test_where_nobody_said_anything_else_nothing_is_in_the_challengers_favour() -> None:
    rows, old, new = _planted_silence(1, 0.1, 0.7)
    silent = [e for e in rows if e.source != "rephrased"]
    assert decide_on_turns(Recites(new), Recites(old), rows, 0.4, GateSettings(), 1).passed
    assert not decide_on_turns(Recites(new), Recites(old), silent, 0.4, GateSettings(), 1).passed
    assert decide_on_turns(Recites(old), Recites(old), silent, 0.4, GateSettings(), 1).passed  # one and the same


def test_a_champion_that_nobody_has_met_is_judged_by_what_the_last_one_got() -> None:
    """All turns were answered by the model that would come back."""
    rows, new, old, gold = _planted_turns(5, 0.3, 0.5)
    assert decide_on_turns(Recites(new), Recites(old), rows, 0.4, GateSettings(), 5).passed
    back = decide_on_turns(Recites(old), Recites(new), rows, 0.4, GateSettings(), 5)
    assert not back.passed
    true = _gain(old, new, gold)
    assert 1.2 * true < _estimated(back) < 0.6 * true


@pytest.mark.parametrize(("champion", "challenger"), [(0.2, 0.6), (0.6, 0.2), (0.4, 0.4)])
def test_answers_of_a_third_model_judge_by_what_served_instead(champion: float, challenger: float) -> None:
    """Two models, of which neither says what most of these turns were answered."""
    gains, true = [], []
    for seed in range(4):
        rows, _, _, gold = _planted_turns(seed, 0.3, 0.5, 4000)
        rng = np.random.default_rng(seed)
        say = [
            {t: g if rng.random() < skill else str(rng.integers(20, 40)) for t, g in gold.items()}
            for skill in (champion, challenger)
        ]
        gains.append(estimate(rows, say[0], say[1], 0.4, seed).gain)
        true.append(_gain(say[1], say[0], gold))
    gain, expected = float(np.mean(gains)), float(np.mean(true))
    # Where one of the two says what was answered, it was right here: that is more than a shift of what was expected.
    assert min(0.4 * expected, expected) - 0.08 < gain < max(expected, 0.4 * expected) + 0.04


@pytest.mark.parametrize(("returning", "champion"), [(0.5, 0.5), (0.66, 0.7), (0.1, 0.1), (0.3, 0.5), (0.5, 0.3)])
def test_a_model_that_returns_is_not_favoured(returning: float, champion: float) -> None:
    """Its own turns tell how good it was; what its users said instead, how good the champion is."""
    gains, true = [], []
    for seed in range(4):
        rows, new, old, gold = _planted_turns(seed, returning, champion, 3000)
        gains.append(estimate(rows, new, old, 0.4, seed).gain)
        true.append(_gain(old, new, gold))
    assert min(1.2 * np.mean(true), 0.5 * np.mean(true)) - 0.03 < np.mean(gains) < np.mean(true) + 0.04


def _third(turns: int, weight: float, source: str = "held_out", prefix: str = "d") -> list[Example]:
    """Turns that an older model answered `third`, which hardly served."""
    return [
        Example(f"{prefix}{i}", "xx-XX", "third", None, w, "gate", kind, f"{prefix}{i}")
        for i in range(turns)
        for kind, w in (("expected", 0.3), (source, weight))
    ]


def test_what_nobody_knows_is_not_taken_for_agreement() -> None:
    """A hundred turns on which both say what was answered, and nine hundred of which nothing tells the two apart."""
    alike = [replace(e, intent="a", utterance=f"s{e.utterance}", group=f"s{e.group}") for e in _third(100, 0.9)]
    for apart in (
        _third(900, 0.02),
        [replace(e, intent=NO_ANSWER) for e in _third(900, 0.0) if e.source != "expected"],
    ):
        rows = [*alike, *apart]
        old = {e.utterance: "a" if e.utterance.startswith("s") else "right" for e in rows}
        new = {e.utterance: "a" if e.utterance.startswith("s") else "junk" for e in rows}
        assert estimate(rows, old, new, 0.5, 1).turns == 0
        assert not decide_on_turns(Recites(new), Recites(old), rows, 0.5, GateSettings(), 1).passed


def test_voters_say_how_often_a_part_of_a_stratum_occurs() -> None:
    """Held-out users happen to have spoken only where both say the same; voters, where the challenger is worse."""
    alike = [replace(e, intent="a", utterance=f"s{e.utterance}", group=f"s{e.group}") for e in _third(100, 0.9)]
    lost = [replace(e, intent="junk") for e in _third(900, 0.02, "voter")]
    better = [Example(e.utterance, e.locale, "right", None, 0.9, "gate", "rephrased", e.group)
              for e in lost if e.source == "voter"]  # fmt: skip
    rows = [*alike, *lost, *better]
    old = {e.utterance: "a" if e.utterance.startswith("s") else "right" for e in rows}
    new = {e.utterance: "a" if e.utterance.startswith("s") else "junk" for e in rows}
    assert estimate(rows, old, new, 0.5, 1).gain < -0.5
    assert not decide_on_turns(Recites(new), Recites(old), rows, 0.5, GateSettings(), 1).passed


def test_the_bound_is_as_wide_as_the_estimate_varies() -> None:
    """Challengers that are wrong on three turns in a hundred, which older models had answered like them."""
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rows, old, new = [], {}, {}
        for i in range(1000):
            text, lost = f"t{i}", rng.random() < 0.03
            source = "held_out" if rng.random() < 0.1 else "voter"
            old[text], new[text] = "right", "junk" if lost else "right"
            kinds = [("expected", 0.5, new[text]), (source, 0.02 if lost else 0.9, new[text])]
            kinds += [("rephrased", 0.9, "right")] if lost else []
            rows += [Example(text, "xx-XX", intent, None, w, "gate", kind, text) for kind, w, intent in kinds]
        found.append(estimate(rows, old, new, 0.5, seed))
    spread = float(np.std([e.gain for e in found]))
    assert 0.6 * spread < float(np.mean([e.resampled.std() for e in found])) < 1.6 * spread


def test_answered_and_unanswered_turns_count_as_often_as_they_are() -> None:
    kept, new, old, _ = _planted_turns(5, 0.5, 0.4)
    silent, more_old, more_new = _planted_silence(6, 0.1, 0.7, 3000)
    silent = [replace(e, utterance=f"s{e.utterance}", group=f"s{e.group}") for e in silent]
    old |= {f"s{name}": intent for name, intent in more_old.items()}
    new |= {f"s{name}": intent for name, intent in more_new.items()}
    both = estimate(kept + silent, old, new, 0.4, 17)
    apart = [estimate(rows, old, new, 0.4, 17) for rows in (kept, silent)]
    assert both.turns == 1500 + 3000
    assert both.gain == pytest.approx((1500 * apart[0].gain + 3000 * apart[1].gain) / 4500)


def test_strata_are_weighted_by_held_out_turns_and_more_voters_only_sharpen() -> None:
    """Wordings with a label: a loss; without: a gain. Each stratum counts as often as held-out users spoke in it."""
    kept, new, old, _ = _planted_turns(5, 0.5, 0.4)
    won, other_new, other_old, _ = _planted_turns(6, 0.4, 0.6, 6000)
    lost = [replace(e, stratum="labelled") for e in kept]
    # Of the wordings without a label, as many turns are held-out users' as in those with one; the others are voters'.
    voters = [
        replace(e, utterance=f"v{e.utterance}", group=f"v{e.group}", stratum="unlabelled",
                source="voter" if e.source == "held_out" and int(e.group[1:]) >= 1500 else e.source)
        for e in won
    ]  # fmt: skip
    new |= {f"v{name}": intent for name, intent in other_new.items()}
    old |= {f"v{name}": intent for name, intent in other_old.items()}
    both = estimate(lost + voters, old, new, 0.4, 17)
    apart = [estimate(rows, old, new, 0.4, 17) for rows in (lost, voters)]
    assert both.turns == 1500 + 6000
    assert both.gain == pytest.approx((apart[0].gain + apart[1].gain) / 2)
    assert apart[0].gain < both.gain < apart[1].gain
    few = [e for e in voters if int(e.group[2:]) < 1500]
    assert apart[1].resampled.std() < 0.7 * estimate(few, old, new, 0.4, 17).resampled.std()
    alone = [replace(e, source="voter") if e.source == "held_out" else e for e in voters]
    assert estimate(alone, old, new, 0.4, 17).turns == 0  # nobody says how often such wordings are spoken
