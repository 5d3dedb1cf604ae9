"""What becomes of a challenger on trial, on planted turns."""

from __future__ import annotations

import pytest
from planted_turns import LOCALE, NEW, OLD, crowd, publish
from toy_language import snapshot_row, toy_rows, toy_settings, trained, worthless
from typer.testing import CliRunner

from retrain import registry
from retrain.gate import gate
from retrain.predictor import TorchPredictor
from retrain.tables import append_rows, read_table
from retrain.trial import decide_trial
from sayagain.app import app
from schemas.errors import InputError, RefusedError
from schemas.lake import Lake, Manifest
from schemas.settings import Settings


@pytest.fixture
def on_trial(lake: Lake, toy_model: TorchPredictor) -> Lake:
    """A champion, and a challenger on trial."""
    two_models(lake, toy_model)
    assert registry.begin_trial(lake, LOCALE) == NEW
    return lake


def two_models(lake: Lake, model: TorchPredictor) -> None:
    """A champion that has no intent in common with the challenger."""
    registry.register(trained(worthless(model)), None, lake)
    registry.promote(lake, LOCALE, force=True)
    registry.register(trained(model), None, lake)


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


def test_a_champion_that_was_rolled_back_is_not_tried(lake: Lake, toy_model: TorchPredictor) -> None:
    """Its turns are everybody's, of the time before. (The gate cannot decide on it: the two are alike.)"""
    dev = [snapshot_row("s1", i, e) for i, e in enumerate(toy_rows(90, 11, LOCALE, "dev"))]
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": append_rows(lake, "training_sets", dev)}))
    for _ in range(2):
        registry.register(trained(toy_model), None, lake)
        registry.promote(lake, LOCALE, force=True)
    assert registry.rollback(lake, LOCALE) == OLD
    with pytest.raises(InputError, match="was champion"):
        registry.begin_trial(lake, LOCALE)
    assert not gate(settings(), lake, "s1").passed
    assert aliases(lake) == (OLD, None)


def test_the_command_begins_judges_and_stops(lake: Lake, toy_model: TorchPredictor) -> None:
    def say(*arguments: str, share: str = "0.25") -> str:
        flags = ["--lake", str(lake.path), "--locale", LOCALE, "--set", f"gate.trial_share={share}"]
        done = CliRunner().invoke(app, [*flags, "trial", *arguments])
        if done.exception is not None:
            assert isinstance(done.exception, InputError), done.exception
            return str(done.exception)
        return " ".join(done.output.split())

    assert "no challenger beside the champion" in say("--begin")
    two_models(lake, toy_model)
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
