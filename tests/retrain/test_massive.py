from __future__ import annotations

from pathlib import Path

import pytest

from retrain.data import Example, read_gold
from retrain.evaluate import evaluate
from retrain.train import finetune, pretrain
from schemas.annotated import massive_file
from schemas.settings import Settings

MASSIVE = Path(__file__).parents[2].parent / "shared" / "data" / "massive"


@pytest.mark.skipif(not (MASSIVE / "de-DE.jsonl.gz").is_file(), reason=f"no MASSIVE files in {MASSIVE}")
def test_a_few_labels_beat_none() -> None:
    def gold(locale: str, split: str, n: int) -> list[Example]:
        return read_gold([massive_file(MASSIVE, locale)], (split,))[:n]

    settings = Settings(
        locale="de-DE",
        training={"word_dimensions": 48, "char_dimensions": 24, "hidden": 48, "batch_size": 16, "threads": 1},  # type: ignore[arg-type]
    )
    source, judged = gold("en-US", "train", 1200), [e.annotated for e in gold("de-DE", "dev", 400)]
    zero_shot = pretrain(settings, source, epochs=4)
    few_shot = finetune(settings, zero_shot, gold("de-DE", "train", 400), source=source, epochs=6)
    none, some = evaluate(zero_shot, judged), evaluate(few_shot, judged)
    assert some.intent_accuracy > none.intent_accuracy + 0.1
    assert some.exact_match > none.exact_match
    assert some.slot_f1 > none.slot_f1
