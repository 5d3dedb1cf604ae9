"""Core time of the kernels alone, without Spark: microseconds a turn, beside one record or one pair at a time.

    python -m benchmarks.kernel_speed --turns 50000

Processor time of this process, so that other work on the machine matters little; one warm-up, then the median of three.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from rapidfuzz import fuzz

from jobs.turns import _formulation, _kernel
from mining.comparisons import candidates
from mining.intake import LINES, check_line, check_lines
from mining.tokens import TokenBags, TokenWeights, token_counts
from schemas.normalise import tokenise
from schemas.settings import LabelSettings, RephraseSettings, SessionSettings
from schemas.tables import INTERACTIONS, TURNS
from simulator.synthetic import SyntheticTraffic, block, json_lines, pseudonymous

KEY = b"k" * 32
WINDOW = (datetime(2015, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
_LOGGED = [n for n in TURNS.names if n in INTERACTIONS.names and n != "run_id"]
_ORDER = [(name, "ascending") for name in ("user_id", "occurred_at", "interaction_id")]


def cost(work: Callable[[], Any], turns: int) -> float:
    """Microseconds of processor time a turn."""
    work()
    spent = []
    for _ in range(3):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return median(spent) / turns * 1e6


def _one_pair_at_a_time(texts: list[str], pairs: list[tuple[int, int]], weigh: TokenWeights) -> int:
    """The wording comparison as a loop: overlap and exchanged words of two dictionaries a pair."""
    found = 0
    bags = [{token.text: weigh(token.text) for token in tokenise(text)} for text in texts]
    for i, j in pairs:
        left, right = bags[i], bags[j]
        lighter = min(sum(left.values()), sum(right.values()))
        shared = sum(weight for token, weight in left.items() if token in right)
        gone, come = [t for t in left if t not in right], [t for t in right if t not in left]
        if 0 < len(gone) <= 2 and 0 < len(come) <= 2 and len(left) - len(gone) >= 2:
            found += fuzz.ratio(" ".join(gone), " ".join(come)) < 60
        found += shared >= 0.3 * lighter
    return found


def measure(turns: int, seed: int) -> dict[str, float]:
    """Microseconds a turn of each kernel, and of its naive form beside it."""
    traffic = SyntheticTraffic(seed=seed)
    table, _ = block(traffic, 0, turns)
    lines = json_lines(traffic, 0, table).cast(pa.binary())
    batches = [
        pa.RecordBatch.from_arrays(
            [pa.repeat("file:///a.jsonl", len(part)), pa.array(np.zeros(len(part), np.int64)), part], schema=LINES
        )
        for part in (lines.slice(start, 10_000) for start in range(0, len(lines), 10_000))
    ]
    few = lines.slice(0, 5000).to_pylist()
    found = {
        "synthetic block": cost(lambda: block(traffic, 0, turns), turns),
        "synthetic JSON lines": cost(lambda: json_lines(traffic, 0, table), turns),
        "intake, in bulk": cost(lambda: list(check_lines(batches, KEY, WINDOW)), len(lines)),
        "intake, one record at a time": cost(lambda: [check_line(line, KEY, WINDOW) for line in few], len(few)),
    }
    logged = pseudonymous(table).select(_LOGGED).sort_by(_ORDER).combine_chunks()
    kernel = _kernel(SessionSettings(), LabelSettings())

    def made() -> pa.Table:
        _formulation.cache_clear()  # no wording is known before the batch it is in
        return pa.concat_tables([t for t, _ in kernel(logged.to_batches(max_chunksize=10_000)) if t is not None])

    found["turns: sessions, text, evidence"] = cost(made, turns)
    sessions = made()
    friction = np.where(np.asarray(sessions.column("response").to_pylist()) == "completed", 0.3, 0.9)
    sessions = sessions.append_column("friction", pa.array(friction))
    texts = sessions.column("text").to_pylist()
    weigh = TokenWeights(len(set(texts)), token_counts(set(texts)))
    settings = RephraseSettings()
    parts = [sessions.slice(start, 10_000) for start in range(0, turns, 10_000)]

    def compare() -> list[Any]:
        return [
            candidates(
                part,
                {traffic.locale: weigh},
                max_gap_seconds=settings.max_gap_seconds,
                lookahead=settings.lookahead,
                min_source_friction=settings.min_source_friction,
            )
            for part in parts
        ]

    found["pairs: candidates and comparisons"] = cost(compare, turns)
    pairs = [(i, j) for i in range(turns - 2) for j in (i + 1, i + 2)]
    left, right = np.array(pairs).T
    locales = [traffic.locale] * turns
    found["wording of two pairs a turn, in matrices"] = cost(
        lambda: TokenBags.of(texts, locales, {traffic.locale: weigh}).compare(left, right), turns
    )
    found["wording of two pairs a turn, one at a time"] = cost(lambda: _one_pair_at_a_time(texts, pairs, weigh), turns)
    return {name: round(value, 2) for name, value in found.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    found = measure(given.turns, given.seed)
    for name, value in found.items():
        print(f"{name:<45} {value:>8.1f} microseconds")
    if given.out:
        given.out.write_text(json.dumps({"turns": given.turns, "seed": given.seed, "microseconds": found}, indent=1))


if __name__ == "__main__":
    main()
