"""Launch models with and without a lexicon, from the command line on real utterances."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.launch import STARTS
from benchmarks.loop_reports import METRICS
from sayagain.app import app

MASSIVE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "massive"
SAID = {
    "weka kengele": "set an alarm",
    "cheza muziki": "play music",
    "cheza wimbo": "play a song",
    "kesho asubuhi": "tomorrow morning",
    "kengele ya asubuhi": "the morning alarm",
    "muziki wa kesho": "the music of tomorrow",
    "weka wimbo": "set a song",
}
SIZES = ("training.hidden=16", "training.word_dimensions=16", "training.char_dimensions=8", "training.max_seen=1000")


def _run(tmp_path: Path, parallel: Path) -> tuple[int, str]:
    small = [part for size in SIZES for part in ("--set", size)]
    arguments = ["--massive", str(MASSIVE), "--locale", "sw-KE", "--seed", "3", "--sample", "120"]
    ran = CliRunner().invoke(
        app,
        [*small, "bench", "launch", *arguments, "--parallel", str(parallel), "--out", str(tmp_path / "launch.json")],
    )
    return ran.exit_code, f"{ran.output} {ran.exception}"


@pytest.mark.skipif(not MASSIVE.is_dir(), reason=f"no MASSIVE folder at {MASSIVE}")
def test_launch_models_are_scored_beside_each_other(tmp_path: Path) -> None:
    lines = "\n".join("\t".join(pair) for pair in SAID.items())
    (tmp_path / "said.tsv").write_text(lines + "\n", encoding="utf-8")
    code, said = _run(tmp_path, tmp_path / "said.tsv")
    assert code == 0, said
    (row,) = json.loads((tmp_path / "launch.json").read_text(encoding="utf-8"))
    assert (row["locale"], row["seed_labels"]) == ("sw-KE", 0)
    assert 3 <= row["words"] <= len({word for text in SAID.values() for word in text.split()})
    for name in METRICS:
        assert all(0 <= row[start][name] <= 1 for start in STARTS)
        low, high = row["difference"][name]
        assert low <= row[STARTS[1]][name] - row[STARTS[0]][name] <= high


@pytest.mark.skipif(not MASSIVE.is_dir(), reason=f"no MASSIVE folder at {MASSIVE}")
def test_text_of_another_language_is_refused_before_training(tmp_path: Path) -> None:
    for side in ("deu", "eng"):
        (tmp_path / f"t.deu-eng.{side}").write_text("ja\n", encoding="utf-8")
    code, said = _run(tmp_path, tmp_path)
    assert code != 0
    assert "has no text of sw-KE" in said
