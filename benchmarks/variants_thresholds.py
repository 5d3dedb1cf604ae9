"""One threshold for all locales, each locale's own, and the best of a grid: B-cubed on MASSIVE.

    python -m benchmarks.variants_thresholds --out FILE.json --massive FOLDER [--partition dev]
        [--locales en-US de-DE sw-KE --locales fr-FR ja-JP tr-TR ...]

Each `--locales` is a group with one encoder, trained on its annotated train partitions as `benchmarks.variants` does.
The best of the grid is chosen with the truth of the very partition that it is scored on: what no rule can beat.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.variants_data import Sample, gold_encoder, massive
from benchmarks.variants_peers import METHODS
from benchmarks.variants_scores import b_cubed, b_cubed_interval
from mining.thresholds import FIXED, threshold, to_medoid
from schemas.errors import InputError
from schemas.normalise import formulation_id
from schemas.settings import ClusterSettings, NeighbourSettings

GRID = tuple(round(0.3 + 0.025 * step, 3) for step in range(21))
GROUPS = (("en-US", "de-DE", "sw-KE"), ("fr-FR", "ja-JP", "tr-TR"), ("hi-IN", "zh-CN", "ko-KR", "ar-SA"))


def beginning_at(cosine: float) -> dict[str, Any]:
    """Settings of our method as the pipeline has them, where edges begin at a cosine."""
    near, clusters = NeighbourSettings(), ClusterSettings()
    return {
        "k": near.k, "threshold": cosine, "min_margin": near.min_margin, "leiden_above": clusters.leiden_above,
        "resolution": clusters.resolution, "min_medoid_cosine": to_medoid(cosine), "join_cosine": cosine,
    }  # fmt: skip


def own(sample: Sample, locale: str) -> float:
    """The threshold that the pipeline would take, had it seen these texts."""
    order = np.argsort([formulation_id(locale, text) for text in sample.texts])
    return threshold(sample.vectors[order]).cosine


def rows_of(sample: Sample, locale: str, seed: int) -> list[dict[str, Any]]:
    """One row for each way to choose the threshold."""
    label = {
        cosine: METHODS["sayagain"](sample.vectors, beginning_at(cosine) | {"seed": seed}).label
        for cosine in {*GRID, FIXED, own(sample, locale)}
    }
    score = {cosine: b_cubed(found, sample.truth) for cosine, found in label.items()}
    best = max(GRID, key=lambda cosine: score[cosine].f1)
    chosen = {"fixed": FIXED, "own": own(sample, locale), "best of grid": best}
    return [
        {
            "locale": locale, "choice": choice, "threshold": cosine, "rows": len(sample.texts),
            "b_cubed": score[cosine]._asdict(), "clusters": int(label[cosine].max()) + 1,
            "f1_interval": b_cubed_interval(label[cosine], sample.truth, seed),
        }
        for choice, cosine in chosen.items()
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| locale | choice | threshold | B-cubed P | R | F1 | 95% | clusters |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        scores = " | ".join(f"{100 * value:.1f}" for value in r["b_cubed"].values())
        low, high = (f"{100 * x:.1f}" for x in r["f1_interval"])
        who = f"{r['locale']} | {r['choice']} | {r['threshold']:g}"
        lines.append(f"| {who} | {scores} | {low}-{high} | {r['clusters']:,} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.variants_thresholds", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--massive", type=Path, required=True, help="folder of MASSIVE-format files")
    parser.add_argument("--partition", choices=("dev", "test"), default="dev")
    parser.add_argument("--locales", nargs="+", action="append", help="a group with one encoder; may be repeated")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--seed", type=int, default=17)
    chosen = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    try:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.touch()
    except OSError as fault:
        parser.error(f"cannot write {chosen.out} ({fault.strerror}): give --out another file")
    try:
        with tempfile.TemporaryDirectory() as made:
            for number, group in enumerate(chosen.locales or GROUPS):
                encoder = gold_encoder(
                    chosen.massive, list(group), Path(made) / str(number), dimensions=chosen.dimensions,
                    epochs=chosen.epochs, seed=chosen.seed,
                )  # fmt: skip
                for locale in group:
                    rows += rows_of(massive(chosen.massive, locale, chosen.partition, encoder), locale, chosen.seed)
                    print(json.dumps(rows[-3:]), file=sys.stderr, flush=True)
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 2
    report = {"arguments": {k: str(v) for k, v in vars(chosen).items()}, "thresholds": rows}
    chosen.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
