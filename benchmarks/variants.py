"""Cross-user variants against the common tools: seconds, memory, pair recall, B-cubed.

    python -m benchmarks.variants --out FILE.json [--sizes 10000 100000 1000000] [--methods sayagain semhash ...]
        [--massive FOLDER] [--locales en-US de-DE sw-KE] [--plot FILE.svg] [--limit SECONDS]

Each method runs alone in a process, on the same vectors. Speed is measured on planted clusters of 256 dimensions. An
index whose search can be made wider is given the least width at which it finds as many of the true pairs as ours does.
What does not end within the limit, or would not by the quadratic fit of its smaller sizes, is extrapolated and marked
so. Quality is measured on MASSIVE: the encoder learns from train partitions, every method's settings are the best of
its grid on the dev partition, and the test partition is scored once, with them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures import as_svg
from benchmarks.variants_data import Sample, gold_encoder, massive, planted
from benchmarks.variants_peers import METHODS
from benchmarks.variants_plot import plot
from benchmarks.variants_scores import b_cubed, b_cubed_interval, pair_recall, true_pairs
from benchmarks.variants_thresholds import beginning_at, own
from mining.thresholds import FIXED
from schemas.errors import InputError

_OURS = beginning_at(FIXED)  # of planted clusters; on MASSIVE the default is each locale's own threshold
# As many settings for each method, so that none is chosen from more draws than another.
_THRESHOLDS = tuple(round(0.40 + 0.025 * step, 3) for step in range(20))
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "sayagain": {
        "threshold": (0.5, 0.55, 0.6, 0.65, 0.7),
        "min_margin": (0.95, 1.0),
        "resolution": (0.02, 0.05),
    },
    "umap_hdbscan": {"n_neighbors": (5, 15), "min_cluster_size": (2, 3, 4, 5, 10), "leaf": (False, True)},
}
# Cells or candidates that a search looks at; a wider search finds more and takes longer.
WIDTHS: dict[str, tuple[int, ...]] = {
    "usearch": (16, 32, 64, 128, 256),
    "faiss_hnsw": (16, 32, 64, 128, 256),
    "faiss_ivf": (1, 2, 4, 8, 16, 32),
}


def run_method(name: str, source: Path, folder: Path, options: dict[str, Any], limit: float) -> dict[str, Any] | None:
    """Run a method in a process of its own; None where it ran past the limit.

    Raises:
        InputError: it failed; says with what.
    """
    out = folder / f"{name}.npz"
    command = [sys.executable, "-m", "benchmarks.variants_peers", name, str(source), str(out), json.dumps(options)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise InputError(f"{name} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    with np.load(out) as found:
        return dict(found)


def speed(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Every method on planted clusters of every size."""
    rows: list[dict[str, Any]] = []
    for size in sorted(arguments.sizes):
        sample = planted(size, arguments.dimensions, arguments.seed)
        source = folder / "vectors.npy"
        np.save(source, sample.vectors)
        wanted = true_pairs(sample.vectors, int(_OURS["k"]), _OURS["threshold"], 2_000, arguments.seed)
        aim = 1.0  # ours comes first where it is among the methods
        for name in arguments.methods:
            earlier = [r for r in rows if r["method"] == name and not r["extrapolated"]]
            fit = quadratic(earlier, size)
            row: dict[str, Any] | None = None
            if fit is None or fit < arguments.limit:
                for width in wide_enough(name, earlier):
                    row = _measured(name, source, folder, sample, wanted, arguments, width)
                    if row is None or row["pair_recall"] is None or row["pair_recall"] >= aim:
                        break
            if row is None:
                if fit is None:
                    continue  # too few sizes for a fit: no figure is better than a guess
                row = {"method": name, "rows": size, "extrapolated": True, "seconds": fit}
            if name == "sayagain" and not row["extrapolated"]:
                aim = row["pair_recall"]
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def wide_enough(name: str, earlier: list[dict[str, Any]]) -> tuple[int | None, ...]:
    """Search widths to try, ascending, from that which sufficed for fewer rows; one None where a method has none."""
    least = max((r["width"] for r in earlier if r["width"] is not None), default=0)
    return tuple(width for width in WIDTHS.get(name, ()) if width >= least) or (None,)


def _measured(
    name: str, source: Path, folder: Path, sample: Sample, wanted: Any, arguments: argparse.Namespace, width: int | None
) -> dict[str, Any] | None:
    options = _OURS | {"seed": arguments.seed} | ({} if width is None else {"width": width})
    found = run_method(name, source, folder, options, 3 * arguments.limit)
    if found is None:
        return None
    recall = pair_recall(found["left"], found["right"], wanted, len(sample.vectors)) if found["shows_pairs"] else None
    return {
        "method": name, "rows": len(sample.vectors), "extrapolated": False, "width": width,
        "seconds": float(found["seconds"]), "added_mb": int(found["added"]) / 2**20,
        "b_cubed": b_cubed(found["label"], sample.truth)._asdict(), "pair_recall": recall,
    }  # fmt: skip


def quadratic(earlier: list[dict[str, Any]], size: int) -> float | None:
    """Seconds at `size` by a x n^b through the two largest measured sizes; None with fewer than two.

    The exponent is held to [1, 2]: none of the methods is worse than all against all.
    """
    if len(earlier) < 2:
        return None
    one, other = earlier[-2:]
    exponent = np.log(other["seconds"] / one["seconds"]) / np.log(other["rows"] / one["rows"])
    return float(other["seconds"] * (size / other["rows"]) ** min(max(exponent, 1.0), 2.0))


def _options(name: str, seed: int) -> list[dict[str, Any]]:
    grid = GRIDS.get(name, {"threshold": _THRESHOLDS})
    tried = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    ours = name == "sayagain"  # its other thresholds follow that of the edges
    return [(beginning_at(one["threshold"]) if ours else _OURS) | {"seed": seed} | one for one in tried]


def quality(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """B-cubed on MASSIVE signatures: settings chosen on dev, scored on test."""
    encoder = arguments.encoder or gold_encoder(
        arguments.massive, arguments.locales, folder / "encoder", dimensions=256, epochs=6,
        seed=arguments.seed,
    )  # fmt: skip
    rows = []
    for locale in arguments.locales:
        dev, test = (massive(arguments.massive, locale, part, encoder) for part in ("dev", "test"))
        for name in arguments.methods:

            def score(options: dict[str, Any], sample: Sample = dev, name: str = name) -> float:
                return b_cubed(METHODS[name](sample.vectors, options).label, sample.truth).f1

            best = max(_options(name, arguments.seed), key=score)
            default = beginning_at(own(test, locale)) | {"seed": arguments.seed}
            settings = {"tuned": best} | ({"default": default} if name == "sayagain" else {})
            for kind, options in settings.items():
                label = METHODS[name](test.vectors, options).label
                row = {
                    "locale": locale, "method": name, "settings": kind, "rows": len(test.texts),
                    "clusters": int(label.max()) + 1, "b_cubed": b_cubed(label, test.truth)._asdict(),
                    "f1_interval": b_cubed_interval(label, test.truth, arguments.seed),
                    "options": {k: v for k, v in options.items() if k in GRIDS.get(name, {"threshold": 0})},
                }  # fmt: skip
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
        if arguments.examples:
            print(examples(test, default, arguments.examples, locale))
    return rows


def examples(sample: Sample, options: dict[str, Any], many: int, locale: str) -> str:
    """Clusters of at least four members, the purest and the least pure, as text."""
    label, lines = METHODS["sayagain"](sample.vectors, options).label, [f"## {locale}"]
    groups = [np.flatnonzero(label == c) for c in np.flatnonzero(np.bincount(label) >= 4)]
    purity = [np.unique(sample.truth[g], return_counts=True)[1].max() / len(g) for g in groups]
    order = sorted(range(len(groups)), key=lambda i: (purity[i], -len(groups[i])))
    half = many // 2
    for kind, chosen in (("bad", order[:half]), ("good", order[-(many - half) :])):
        for i in chosen:
            texts = " | ".join(sample.texts[j] for j in groups[i][:6])
            lines.append(f"- {kind}, {len(groups[i])} members, {purity[i]:.0%} of one signature: {texts}")
    return "\n".join(lines)


def tables(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = []
    if report["speed"]:
        lines += ["| method | rows | width | seconds | times ours | added MB | pair recall | B-cubed P / R / F1 |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|---:|"]
        ours = {r["rows"]: r["seconds"] for r in report["speed"] if r["method"] == "sayagain"}
        for r in report["speed"]:
            times = f"{r['seconds'] / ours[r['rows']]:.1f}" if r["rows"] in ours else ""
            about = "~" if r["extrapolated"] else ""
            score = " / ".join(f"{v:.3f}" for v in r["b_cubed"].values()) if "b_cubed" in r else "extrapolated"
            recall = f"{r['pair_recall']:.4f}" if r.get("pair_recall") is not None else ""
            memory = f"{r['added_mb']:,.0f}" if "added_mb" in r else ""
            took = f"{about}{r['seconds']:,.1f} | {about}{times}"
            width = r.get("width") or ""
            lines.append(f"| {r['method']} | {r['rows']:,} | {width} | {took} | {memory} | {recall} | {score} |")
    if report["quality"]:
        lines += [
            "",
            "| locale | method | settings | B-cubed P | R | F1 | 95% | clusters |",
            "|---|---|---|---:|---:|---:|---:|---:|",
        ]
        for r in report["quality"]:
            p, c, f = (f"{100 * r['b_cubed'][x]:.1f}" for x in ("precision", "recall", "f1"))
            low, high = (f"{100 * x:.1f}" for x in r["f1_interval"])
            who = f"{r['locale']} | {r['method']} | {r['settings']}"
            lines.append(f"| {who} | {p} | {c} | {f} | {low}-{high} | {r['clusters']:,} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.variants", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--methods", nargs="*", choices=sorted(METHODS), default=list(METHODS))
    parser.add_argument("--massive", type=Path, help="folder of MASSIVE-format files; without one, no quality part")
    parser.add_argument("--encoder", type=Path, help="any model's folder instead of one trained on the locales")
    parser.add_argument("--locales", nargs="*", default=["en-US", "de-DE", "sw-KE"])
    parser.add_argument("--examples", type=int, default=0, help="print so many clusters a locale, good and bad")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds; what would take longer is extrapolated")
    parser.add_argument("--seed", type=int, default=17)
    chosen = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            report: dict[str, Any] = {"arguments": {k: str(v) for k, v in vars(chosen).items()}}
            report |= {"speed": speed(chosen, folder), "quality": quality(chosen, folder) if chosen.massive else []}
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 2
    chosen.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if chosen.plot:
        chosen.plot.write_text(as_svg(plot(report["speed"]), "Seconds by rows, of each method"), encoding="utf-8")
    print(tables(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
