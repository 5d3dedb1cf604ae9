from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from toy_language import snapshot_row, toy_rows, toy_settings, trained, worthless

from retrain import registry
from retrain.data import Example
from retrain.gate import decide, gate
from retrain.predictor import TorchPredictor
from retrain.tables import append_rows, read_table
from schemas.annotated import write_annotated
from schemas.errors import InputError, RefusedError
from schemas.lake import Lake, Manifest
from schemas.predictor import Interpretation, Prediction
from schemas.settings import GateSettings

N = 1000
ROWS = [Example(str(i), "xx-XX", "a" if i % 3 else "b") for i in range(N)]


@dataclass
class Planted:
    """Right on the rows that `right` names, in intent; its slots are empty, as gold's are."""

    right: Callable[[int], bool]
    version: str = "planted"
    asked: list[str] = field(default_factory=list)

    def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
        self.asked += utterances
        return [
            Prediction(Interpretation(ROWS[int(u)].intent if self.right(int(u)) else "no"), 1.0) for u in utterances
        ]


def below(share: float) -> Planted:
    return Planted(lambda i: i < share * N)


@pytest.mark.parametrize(
    ("challenger", "champion", "passed"),
    [(0.8, 0.7, True), (0.7, 0.7, True), (0.7, 0.8, False), (0.695, 0.7, True), (0.679, 0.7, False)],
)
def test_non_inferiority(challenger: float, champion: float, passed: bool) -> None:
    verdict = decide(below(challenger), below(champion), ROWS, GateSettings())
    assert verdict.passed is passed, verdict.reason
    assert verdict.challenger_accuracy == pytest.approx(challenger, abs=1e-3)
    assert verdict.lower_bound < challenger - champion


def test_few_rows_cannot_show_that_a_tie_is_harmless() -> None:
    flip = Planted(lambda i: i % 2 == 0)
    other = Planted(lambda i: i % 2 == 1)
    verdict = decide(flip, other, ROWS[:40], GateSettings())
    assert not verdict.passed
    assert verdict.open  # nor that it is not
    assert not decide(below(0.5), below(0.9), ROWS, GateSettings()).open  # it is worse


def test_a_first_model_has_to_beat_the_majority_class() -> None:
    always = Planted(lambda i: ROWS[i].intent == "a")
    assert not decide(always, None, ROWS, GateSettings()).passed
    assert decide(below(0.8), None, ROWS, GateSettings()).passed


def test_exact_match_counts_where_slots_are_known() -> None:
    from schemas.predictor import Slot

    wanted = [replace(e, slots=(Slot("s", e.utterance[:1], 0, 1),)) for e in ROWS]

    class Slotted(Planted):
        def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
            slots = {e.utterance: e.slots or () for e in wanted}
            return [
                replace(p, interpretation=replace(p.interpretation, slots=slots[u]))
                for u, p in zip(utterances, super().predict(utterances, locale), strict=True)
            ]

    forgot, knows = below(0.75), Slotted(lambda i: i < 0.7 * N)
    assert not decide(forgot, knows, wanted, GateSettings()).passed
    assert "exact match" in decide(forgot, knows, wanted, GateSettings()).reason
    assert decide(forgot, knows, [replace(e, slots=None) for e in wanted], GateSettings()).passed


def publish_rows(lake: Lake, rows: Sequence[Example]) -> None:
    version = append_rows(lake, "training_sets", [snapshot_row("s1", i, e) for i, e in enumerate(rows)])
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": version}))


def test_register_gate_promote_rollback(lake: Lake, toy_model: TorchPredictor) -> None:
    settings = toy_settings()
    held_out = [replace(e, group=e.utterance) for e in toy_rows(200, 11, "xx-XX", "gate", source="held_out")]
    expected = [replace(e, source="expected", weight=0.5) for e in held_out]
    publish_rows(lake, [replace(e, slots=None) for e in (*held_out, *expected)])
    assert registry.champion(lake, "xx-XX") is None
    assert set(registry.status(lake, "xx-XX").values()) == {None}
    with pytest.raises(InputError, match="no challenger"):
        registry.promote(lake, "xx-XX")
    with pytest.raises(InputError, match="roll back"):
        registry.rollback(lake, "xx-XX")

    first = registry.register(trained(toy_model), None, lake)
    assert first == "sayagain-xx-XX/1"
    with pytest.raises(RefusedError, match="has not been through the gate"):
        registry.promote(lake, "xx-XX")
    report = gate(settings, lake, "s1")
    assert not report.passed  # held-out turns compare with a champion, and there is none
    assert "too few" in report.reason
    assert report.champion is None
    assert registry.promote(lake, "xx-XX", force=True) == first
    served = registry.champion(lake, "xx-XX")
    assert served is not None
    assert served.version == first
    texts = [e.utterance for e in held_out]
    assert served.predict(texts) == toy_model.predict(texts)

    second = registry.register(trained(worthless(toy_model)), None, lake)
    report = gate(settings, lake, "s1")
    assert not report.passed
    assert report.champion == first
    assert report.challenger == second
    assert registry.on_trial(lake, "xx-XX") is None  # it is worse
    with pytest.raises(RefusedError, match="did not pass"):
        registry.promote(lake, "xx-XX")
    assert registry.promote(lake, "xx-XX", force=True) == second
    assert registry.status(lake, "xx-XX") == {
        "champion": second,
        "challenger": second,
        "previous": first,
        "trial": None,
    }
    assert registry.rollback(lake, "xx-XX") == first
    assert registry.version_of(lake, "xx-XX", "champion") == first
    with pytest.raises(InputError, match="roll back"):
        registry.rollback(lake, "xx-XX")

    third = registry.register(trained(toy_model), None, lake)
    assert gate(settings, lake, "s1").passed
    assert registry.promote(lake, "xx-XX") == third
    reports = read_table(lake, "gate_reports")
    assert [r["passed"] for r in sorted(reports, key=lambda r: r["decided_at"])] == [False, False, True]
    assert {r["model_version"] for r in read_table(lake, "model_runs")} == {first, second, third}
    with pytest.raises(InputError, match="no model"):
        registry.load(lake, "sayagain-xx-XX/99")


def test_too_few_rows_fall_back_to_source_gold_and_say_so(
    lake: Lake, toy_model: TorchPredictor, tmp_path: Path
) -> None:
    publish_rows(lake, toy_rows(5, 11, "xx-XX", "gate", source="held_out"))
    registry.register(trained(toy_model), None, lake)
    report = gate(toy_settings(), lake, "s1")
    assert not report.passed
    assert "too few" in report.reason
    assert report.examples == 0
    write_annotated(
        tmp_path / "en.jsonl",
        [e.annotated for e in toy_rows(60, 2, split="dev") + toy_rows(60, 3, split="test")],
    )
    report = gate(toy_settings(gold=[tmp_path / "en.jsonl"]), lake, "s1")
    assert report.passed
    assert "gold dev rows of en-US, since" in report.reason
    assert report.examples <= 60
