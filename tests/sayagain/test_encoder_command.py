"""`sayagain encoder train`: a folder that sentence-transformers loads, and what is said about bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
GOLD = [
    ("alarm_set", "wake me at seven", "wake me at [time : seven]"),
    ("alarm_set", "alarm for eight", "alarm for [time : eight]"),
    ("music_play", "play jazz", "play [genre : jazz]"),
    ("music_play", "put on some rock", "put on some [genre : rock]"),
]


def sayagain(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        [sys.executable, "-m", "sayagain", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_encoder_train_makes_a_folder_that_a_bare_sentence_transformer_loads(tmp_path: Path) -> None:
    import json

    from sentence_transformers import SentenceTransformer

    names = ("intent", "utt", "annot_utt")
    lines = [json.dumps({"locale": "en-US", "partition": "train"} | dict(zip(names, row, strict=True))) for row in GOLD]
    (tmp_path / "gold.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "pairs.tsv").write_text("niamshe saa moja\twake me at seven\ncheza muziki\tplay jazz\n" * 4)
    size = ("--set", "encoder.dimensions=32", "--set", "encoder.vocabulary=300", "--set", "encoder.epochs=60")
    done = sayagain(tmp_path, *size, "encoder", "train", "made", "--gold", "gold.jsonl", "--parallel", "pairs.tsv")
    assert done.returncode == 0, done.stderr
    assert "4 pairs of one signature, 8 translations, 2 halved texts" in done.stdout
    card = (tmp_path / "made" / "README.md").read_text()
    assert "32 dimensions" in card
    model = SentenceTransformer(str(tmp_path / "made"), device="cpu")
    swahili, english = (
        model.encode(["niamshe saa moja", "cheza muziki"]),
        model.encode(["wake me at seven", "play jazz"]),
    )
    assert (np.argmax(swahili @ english.T, axis=1) == [0, 1]).all()
    again = sayagain(tmp_path, "encoder", "train", "made", "--gold", "gold.jsonl")
    assert (again.returncode, "made exists" in again.stderr) == (2, True)


def test_encoder_train_says_what_is_missing(tmp_path: Path) -> None:
    for arguments, said in (
        ((), "nothing to learn from"),
        (("--gold", "nowhere.jsonl"), "no annotated file at nowhere.jsonl"),
        (("--parallel", "nowhere"), "no file or folder at nowhere"),
    ):
        done = sayagain(tmp_path, "encoder", "train", "made", *arguments)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "made").exists()
