"""Script-agnostic edit rates of a recogniser: `python -m benchmarks.recogniser_rates PATH/asr_pairs.jsonl.gz`.

Reads lines of `{"gold": transcript, "asr": recogniser output}` and prints only rates: the defaults of
`simulator.population.EditMix`. No text is kept.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from schemas.errors import InputError
from schemas.normalise import normalise

_LETTER = {"replace": "substitute", "delete": "delete", "insert": "insert"}


def rates(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Rates over (transcript, recogniser output) pairs, after normalisation; words are aligned, then their letters.

    Returns:
        `noised`: share of utterances with an error; `word_error_rate`; `edits`: mean of a noised utterance; the five
        relative weights of `EditMix`; `burst`: one minus misheard words over letter edits.

    O(pairs x length squared).
    """
    found: Counter[str] = Counter()
    for gold_text, heard_text in pairs:
        gold, heard = normalise(gold_text).split(), normalise(heard_text).split()
        found.update(utterances=1, words=len(gold), noised=int(gold != heard))
        for op in Levenshtein.opcodes(gold, heard):
            if op.tag == "delete":
                found["drop_word"] += op.src_end - op.src_start
            elif op.tag == "insert":
                found["add_word"] += op.dest_end - op.dest_start
            elif op.tag == "replace":
                said = zip(gold[op.src_start : op.src_end], heard[op.dest_start : op.dest_end], strict=True)
                for one, other in said:
                    found["misheard"] += 1
                    found.update(_LETTER[edit.tag] for edit in Levenshtein.editops(one, other))
    kinds = ("substitute", "delete", "insert", "drop_word", "add_word")
    letters, total = sum(found[kind] for kind in kinds[:3]), sum(found[kind] for kind in kinds)
    if not total:
        raise InputError("no difference between transcripts and recogniser output: nothing to learn")
    return {
        "noised": found["noised"] / found["utterances"],
        "word_error_rate": (found["misheard"] + found["drop_word"] + found["add_word"]) / found["words"],
        "edits": total / found["noised"],
        **{kind: found[kind] / total for kind in kinds},
        "burst": 1 - found["misheard"] / letters if letters else 0.0,
    }


def main(path: Path) -> None:
    """Print the rates of a file of pairs as JSON."""
    if not path.is_file():
        raise InputError(f"no file at {path}")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = (json.loads(line) for line in lines)
        print(json.dumps({k: round(v, 3) for k, v in rates((r["gold"], r["asr"]) for r in rows).items()}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
