"""What an epoch of fine-tuning shows, and for how many epochs.

A rehearsal share of the mature language's gold keeps the tagger from forgetting (Ratcliff 1990; Chaudhry et al. 2019: a
small replayed sample suffices).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from retrain.data import MINED, Example, in_stable_order, of_split
from retrain.fit import Schedule
from retrain.lexicon import BilingualLexicon
from schemas.settings import Settings

REHEARSAL = 0.5  # source gold rows an epoch, per target row
MIN_REHEARSAL = 200  # rows an epoch
MIN_UPDATES = 400  # few rows get more epochs, until they have this many steps of fine-tuning
MAX_REPEATS = 10  # times that an annotated row is shown in an epoch, beside many more pseudo-labels


def balanced(rows: Sequence[Example], gold_weight: float, beside: int = 0) -> list[Example]:
    """Annotated rows at `gold_weight` beside mined rows of mean weight one, shown up to `MAX_REPEATS` times as long
    as they are fewer; unchanged where there is only one kind, and no others stand `beside` them.

    Labels are wrong now and then and often leave the slots open, annotations never: many labels must not outvote a few
    annotations, nor keep the tagger from them.
    """
    mined = [e.weight for e in rows if e.source in MINED]
    if not rows or len(mined) == len(rows) or not (mined or beside):
        return list(rows)
    mean = max(sum(mined) / len(mined), 1e-9) if mined else 1.0
    annotated = [replace(e, weight=e.weight * gold_weight) for e in rows if e.source not in MINED]
    labels = [replace(e, weight=e.weight / mean) for e in rows if e.source in MINED]
    return annotated * max(1, min(MAX_REPEATS, (len(labels) + beside) // len(annotated))) + labels


def weight_of_words(rows: Sequence[Example]) -> float:
    """What the tags of rows with open spans count for: 1 as long as they weigh no more than whole sequences together,
    0 from twice as much on.

    Which of their words are settled is no fair sample: words that are no value are sooner sure than values are. A few
    such rows teach the tagger; many more than there are whole sequences teach it to be silent (docs/labels.md).
    """
    whole = sum(e.weight for e in rows if e.slots is not None)
    some = sum(e.weight for e in rows if e.slots is None and e.tags)
    return min(1.0, max(0.0, 2 - some / max(whole, 1e-9)))


@dataclass(frozen=True)
class Plan:
    """What fine-tuning is shown, and for how long.

    Args:
        rows: of the launch locale, in every epoch.
        switching: rows of the mature language that an epoch shows in words of the launch language.
        sample: rows of the mature language that an epoch shows as they are.
    """

    rows: list[Example]
    switching: int
    sample: int
    schedule: Schedule

    @classmethod
    def of(
        cls,
        settings: Settings,
        target: Sequence[Example],
        source: Sequence[Example] = (),
        lexicon: BilingualLexicon | None = None,
        epochs: int | None = None,
    ) -> Plan:
        """Few rows get more epochs and many rows fewer, so that the number of steps stays useful and the time
        bounded."""
        t, rehearsed = settings.training, len(of_split(source, "train"))
        switching = round(t.code_switching * rehearsed) if lexicon else 0
        rows = in_stable_order(balanced(of_split(target, "train"), t.gold_weight, switching))
        sample = min(rehearsed, max(MIN_REHEARSAL, round(REHEARSAL * (len(rows) + switching))))
        seen = max(1, len(rows) + switching + sample)
        wanted = epochs or max(t.finetune_epochs, -(-MIN_UPDATES * t.batch_size // seen))
        epochs_now = max(1, min(wanted, max(3, t.max_seen // seen)))
        words = weight_of_words(rows)
        schedule = Schedule(epochs_now, t.batch_size, t.learning_rate, t.forgiving, t.consistency, words)
        return cls(rows, switching, sample, schedule)

    def parameters(self) -> dict[str, str]:
        """What a run tells of it: what the settings leave to the data."""
        return {
            "epochs": str(self.schedule.epochs),
            "rows_an_epoch": str(len(self.rows) + self.switching + self.sample),
            "weight_of_words": f"{self.schedule.words:.3g}",
        }
