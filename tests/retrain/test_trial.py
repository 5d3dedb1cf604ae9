"""Trials on planted turns: who served whom, how they went on, and the truth behind it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from scipy.optimize import minimize_scalar
from toy_language import snapshot_row, toy_rows, toy_settings, trained
from typer.testing import CliRunner

from retrain import registry
from retrain.gate import gate
from retrain.predictor import TorchPredictor
from retrain.tables import append_rows, read_table
from retrain.trial import _BITS, compare, decide_trial, share_of, share_served
from sayagain.app import app
from schemas.errors import InputError, RefusedError
from schemas.lake import Lake, Manifest
from schemas.settings import Settings
from schemas.tables import TURNS

LOCALE, OLD, NEW = "xx-XX", "sayagain-xx-XX/1", "sayagain-xx-XX/2"
START = datetime(2026, 1, 5, tzinfo=UTC)
LEVELS = {"thumbs_up": (0.10, 0.02), "nothing": (0.80, 0.58), "said_again": (0.10, 0.40)}  # of served, of failed turns
Row = dict[str, object]


def said(user: str, model: str, served: float, turns: int, random: np.random.Generator, **fields: object) -> list[Row]:
    """Turns of one user, of which a tenth is not completed; what was seen of their wording before is misleading."""
    rows = []
    for number in range(turns):
        kind = 0 if random.random() < served else 1
        level = str(random.choice(list(LEVELS), p=[p[kind] for p in LEVELS.values()]))
        own = float(np.log2(LEVELS[level][1] / LEVELS[level][0]))
        pieces = [("answer", "a", 5.0), ("feedback", level, own), ("continued", "", 0.0), ("others", "", -3.0)]
        row: Row = {
            "interaction_id": f"{user}-{model}-{number}",
            "session_id": user,
            "position": number,
            "user_id": user,
            "held_out": False,
            "heard": True,
            "formulation_id": "f",
            "text": "t",
            "locale": LOCALE,
            "occurred_at": START + timedelta(seconds=number),
            "utterance": "t",
            "interpretation": None,
            "model_version": model,
            "response": "no_match" if number % 10 == 9 else "completed",
            "feedback": [],
            "alternatives": [],
            "friction": 0.5,
            "evidence": [dict(zip(("name", "level", "weight"), piece, strict=True)) for piece in pieces],
            "run_id": "r",
        }
        rows.append(row | fields)
    return rows


def publish(lake: Lake, rows: list[Row]) -> None:
    table = pa.Table.from_pylist([{n: row.get(n) for n in TURNS.names} for row in rows], schema=TURNS.arrow)
    write_deltalake(str(lake.table("turns")), table, mode="append")
    lake.publish(Manifest("turns", "r", {}, {"turns": lake.latest("turns") or 0}))


def crowd(old: float, new: float, users: int = 400, share: float = 0.25) -> list[Row]:
    """Users whose own luck varies, a share of them with the challenger."""
    random, rows = np.random.default_rng(5), list[Row]()
    for number in range(users):
        model, mean = (NEW, new) if number < share * users else (OLD, old)
        luck = float(np.clip(mean + 0.1 * random.standard_normal(), 0, 1))
        rows += said(f"user{number}", model, luck, 20, random)
    return rows


def test_the_share_is_the_likeliest() -> None:
    random = np.random.default_rng(3)
    completed = random.poisson(40 * np.exp(-(_BITS**2) / 8), (5, len(_BITS))).astype(float)
    turns = completed.sum(axis=1) * 1.25
    odds = 2.0**-_BITS
    for counts, found in zip(completed, share_served(completed, turns), strict=True):
        best = minimize_scalar(lambda s, n=counts: -n @ np.log(s * odds + 1 - s), bounds=(0, 1), method="bounded").x
        assert found == pytest.approx(0.8 * best, abs=1e-3)


def test_what_users_do_tells_how_many_turns_served(lake: Lake) -> None:
    publish(lake, crowd(0.3, 0.6, users=800, share=0.5))
    found = compare(lake, LOCALE, OLD, NEW, seed=1)
    assert found is not None
    assert (found.champion.users, found.challenger.users, found.users_of_both) == (400, 400, 0)
    assert (found.champion.turns, found.challenger.turns) == (8000, 8000)
    assert found.champion.share == pytest.approx(0.9 * 0.3, abs=0.03)
    assert found.challenger.share == pytest.approx(0.9 * 0.6, abs=0.03)
    assert share_of(lake, LOCALE, NEW) == pytest.approx(found.challenger.share, abs=1e-3)
    spread = float(np.std(found.challenger.resampled))
    assert 0.005 < spread < 0.03  # 400 users of 18 completed turns each that tell little


def test_only_users_of_one_model_and_of_the_same_time_are_compared(lake: Lake) -> None:
    random = np.random.default_rng(1)
    before = said("early", OLD, 1.0, 500, random, occurred_at=START - timedelta(days=1))
    unheard = said("robot", NEW, 0.0, 500, random, heard=False)
    abroad = said("abroad", NEW, 0.0, 500, random, locale="yy-YY")
    of_both = said("both", OLD, 1.0, 20, random) + said("both", NEW, 1.0, 20, random)
    publish(lake, crowd(0.5, 0.5))
    alone = compare(lake, LOCALE, OLD, NEW, seed=1)
    publish(lake, before + unheard + abroad + of_both)
    found = compare(lake, LOCALE, OLD, NEW, seed=1)
    assert alone is not None
    assert found is not None
    assert found.users_of_both == 1
    assert (found.champion.turns, found.challenger.turns) == (alone.champion.turns, alone.challenger.turns)
    assert (found.champion.share, found.challenger.share) == (alone.champion.share, alone.challenger.share)


def test_nobody_weighs_more_than_a_hundred_turns(lake: Lake) -> None:
    publish(lake, crowd(0.5, 0.5))
    honest = compare(lake, LOCALE, OLD, NEW, seed=1)
    publish(lake, said("fan", NEW, 1.0, 20_000, np.random.default_rng(2), occurred_at=START))
    found = compare(lake, LOCALE, OLD, NEW, seed=1)
    assert honest is not None
    assert found is not None
    assert found.challenger.share - honest.challenger.share < 0.04  # 100 of 2,100 turns, not 20,000 of 22,000


def test_without_turns_of_both_there_is_nothing_to_compare(lake: Lake) -> None:
    publish(lake, crowd(0.5, 0.5, share=0.0))
    assert compare(lake, LOCALE, OLD, NEW, seed=1) is None
    assert share_of(lake, LOCALE, NEW) == 0


@pytest.fixture
def on_trial(lake: Lake, toy_model: TorchPredictor) -> Lake:
    """A champion, and a challenger on trial."""
    for _ in range(2):
        registry.register(trained(toy_model), None, lake)
        if registry.champion(lake, LOCALE) is None:
            registry.promote(lake, LOCALE, force=True)
    assert registry.begin_trial(lake, LOCALE) == NEW
    return lake


def aliases(lake: Lake) -> tuple[str | None, str | None]:
    return registry.version_of(lake, LOCALE, registry.CHAMPION), registry.version_of(lake, LOCALE, registry.TRIAL)


def settings(**gate: float) -> Settings:
    of = toy_settings()
    return of.model_copy(update={"gate": of.gate.model_copy(update=gate)})


def test_a_better_challenger_becomes_champion(on_trial: Lake) -> None:
    publish(on_trial, crowd(0.3, 0.5))
    outcome = decide_trial(settings(), on_trial)
    assert outcome is not None
    assert outcome.result == "passed", outcome.reason
    assert aliases(on_trial) == (NEW, None)
    (report,) = read_table(on_trial, "gate_reports")
    assert report["passed"]
    assert (report["challenger"], report["champion"], report["snapshot_id"]) == (NEW, OLD, "trial")
    assert report["challenger_accuracy"] - report["champion_accuracy"] == pytest.approx(0.18, abs=0.05)
    assert report["lower_bound"] > 0
    assert registry.rollback(on_trial, LOCALE) == OLD


def test_a_worse_one_is_taken_off(on_trial: Lake) -> None:
    publish(on_trial, crowd(0.5, 0.3))
    outcome = decide_trial(settings(), on_trial)
    assert outcome is not None
    assert outcome.result == "worse", outcome.reason
    assert aliases(on_trial) == (OLD, None)
    assert [r["passed"] for r in read_table(on_trial, "gate_reports")] == [False]
    with pytest.raises(RefusedError, match="did not pass"):
        registry.promote(on_trial, LOCALE)


def test_an_undecided_trial_goes_on_until_there_are_users(on_trial: Lake) -> None:
    publish(on_trial, crowd(0.5, 0.48, users=200))
    for least, why in ((30, "may be worse"), (51, "50 users beside 150")):
        outcome = decide_trial(settings(min_examples=least), on_trial)
        assert outcome is not None
        assert outcome.result == "open", outcome.reason
        assert why in outcome.reason
    assert aliases(on_trial) == (OLD, NEW)
    assert not read_table(on_trial, "gate_reports")


def test_the_margin_is_of_right_intents(on_trial: Lake) -> None:
    """As good as the champion: passes where a tenth fewer right intents would do and half of these serve, not where a
    hundredth would."""
    publish(on_trial, crowd(0.5, 0.5))
    folder = on_trial.snapshots / "s1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"served_if_right": 0.5}', encoding="utf-8")
    on_trial.publish(Manifest("training_sets", "r", {}, {}, {}, {"snapshot_id": "s1"}))
    narrow, wide = decide_trial(settings(margin=0.01), on_trial), decide_trial(settings(margin=0.2), on_trial)
    assert narrow is not None
    assert wide is not None
    assert (narrow.result, wide.result) == ("open", "passed")
    assert "by 0.100" in wide.reason


def test_the_gate_puts_on_trial_what_it_cannot_decide(lake: Lake, toy_model: TorchPredictor) -> None:
    """A few dev rows show neither that a model like the champion is no worse, nor that it is."""
    dev = [snapshot_row("s1", i, e) for i, e in enumerate(toy_rows(90, 11, LOCALE, "dev"))]
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": append_rows(lake, "training_sets", dev)}))
    registry.register(trained(toy_model), None, lake)
    registry.promote(lake, LOCALE, force=True)
    registry.register(trained(toy_model), None, lake)
    for share, tried in ((0.0, None), (0.25, NEW)):
        assert not gate(settings(trial_share=share), lake, "s1").passed
        assert aliases(lake) == (OLD, tried)
    registry.register(trained(toy_model), None, lake)
    assert not gate(settings(), lake, "s1").passed
    assert aliases(lake) == (OLD, NEW)  # the one on trial stays until it is decided


def test_a_new_champion_ends_the_trial(on_trial: Lake, toy_model: TorchPredictor) -> None:
    third = registry.register(trained(toy_model), None, on_trial)
    assert aliases(on_trial) == (OLD, NEW)  # a new challenger does not
    assert registry.promote(on_trial, LOCALE, force=True) == third
    assert aliases(on_trial) == (third, None)
    assert decide_trial(settings(), on_trial) is None
    with pytest.raises(InputError, match="no challenger beside the champion"):
        registry.begin_trial(on_trial, LOCALE)
    assert registry.end_trial(on_trial, LOCALE) is None


def test_the_command_begins_judges_and_stops(lake: Lake, toy_model: TorchPredictor) -> None:
    def say(*arguments: str, share: str = "0.25") -> str:
        flags = ["--lake", str(lake.path), "--locale", LOCALE, "--set", f"gate.trial_share={share}"]
        done = CliRunner().invoke(app, [*flags, "trial", *arguments])
        if done.exception is not None:
            assert isinstance(done.exception, InputError), done.exception
            return str(done.exception)
        return " ".join(done.output.split())

    assert "no challenger beside the champion" in say("--begin")
    for _ in range(2):
        registry.register(trained(toy_model), None, lake)
        if registry.champion(lake, LOCALE) is None:
            registry.promote(lake, LOCALE, force=True)
    assert "no challenger of xx-XX is on trial" in say()
    assert "trial_share is 0" in say("--begin", share="0")
    assert "one of them" in say("--begin", "--stop")
    assert f"{NEW} is on trial: serve it to 25.0% of users" in say("--begin")
    assert "run the step `turns`" in say()  # nothing was mined yet
    publish(lake, crowd(0.5, 0.48, users=200))
    assert f"{NEW} is still on trial: may be worse" in say()
    assert f"{NEW} is no longer on trial" in say("--stop")
    assert say("--begin")
    publish(lake, crowd(0.3, 0.6, users=400))
    assert f"{NEW} is champion now: not worse" in say()
    assert aliases(lake) == (NEW, None)
