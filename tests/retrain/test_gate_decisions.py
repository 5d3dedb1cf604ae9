"""The benchmark of the gate, on a lake whose two models and turns are planted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_language import snapshot_row, toy_rows, toy_settings, trained, worthless

from benchmarks.gate_decisions import gate_decisions, summary
from retrain import registry
from retrain.data import Example
from retrain.gate import gate
from retrain.predictor import TorchPredictor
from retrain.tables import append_rows
from schemas.errors import InputError
from schemas.lake import Lake, Manifest
from schemas.training_tables import turn_group

LOCALE = "xx-XX"


def played(lake: Lake, model: TorchPredictor, truth: Path) -> None:
    """A champion that is wrong, whose turns fail and are reworded, and a challenger that knows better."""
    wrong = worthless(model)
    rows, known = list[Example](), []
    turns = toy_rows(200, 11, LOCALE, "gate")
    said = wrong.predict([e.utterance for e in turns], LOCALE)
    for number, (turn, answer) in enumerate(zip(turns, said, strict=True)):
        name = f"turn{number}"
        known.append({"interaction_id": name, "gold_intent": turn.intent})
        group = turn_group(name)
        row = Example(turn.utterance, LOCALE, answer.interpretation.intent, None, 0.3, "gate", "expected", group)
        rows += [row, replace(row, source="held_out", weight=0.02)]
        if number % 2:
            rows.append(replace(row, source="rephrased", intent=turn.intent, weight=0.8))
    truth.mkdir()
    pq.write_table(pa.Table.from_pylist(known), truth / "truth.parquet")
    version = append_rows(lake, "training_sets", [snapshot_row("s1", i, e) for i, e in enumerate(rows)])
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": version}))
    (lake.snapshots / "s1").mkdir(parents=True)
    (lake.snapshots / "s1" / "manifest.json").write_text(json.dumps({"served_if_right": 0.5}), encoding="utf-8")
    registry.register(trained(wrong), None, lake)
    registry.promote(lake, LOCALE, force=True)
    registry.register(trained(model), None, lake)
    assert gate(toy_settings(), lake, "s1").passed


def test_every_model_is_compared_with_every_other(lake: Lake, toy_model: TorchPredictor, tmp_path: Path) -> None:
    played(lake, toy_model, tmp_path / "truth")
    there, back = gate_decisions(toy_settings(), lake, tmp_path / "truth", LOCALE)
    assert (there.recorded, back.recorded) == (True, None)
    assert there.gain == -back.gain > 0.9
    assert there.estimate is not None
    assert back.estimate is not None
    assert there.estimate > 0.3
    assert (there.passes, back.passes, there.right, back.right) == (True, False, True, True)
    told = summary([there, back])
    assert (told["right"], told["of"]) == (2, 2)
    assert told["correlation"] == pytest.approx(1)
    assert told["slope"] == pytest.approx((there.estimate - back.estimate) / (2 * there.gain))
    wrong = summary([replace(there, right=False), replace(back, right=False, estimate=None)])
    assert (wrong["right"], wrong["passed_wrongly"], wrong["correlation"]) == (0, 1, None)


def test_one_model_has_nothing_to_be_compared_with(lake: Lake, toy_model: TorchPredictor, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    registry.register(trained(toy_model), None, lake)
    with pytest.raises(InputError, match="no simulated truth"):
        gate_decisions(toy_settings(), lake, truth, LOCALE)
    pq.write_table(pa.table({"interaction_id": ["a"], "gold_intent": ["alarm_set"]}), truth / "truth.parquet")
    with pytest.raises(InputError, match="not two models of xx-XX"):
        gate_decisions(toy_settings(), lake, truth, LOCALE)
