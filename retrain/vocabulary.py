"""What a model has names for: words, characters, intents and tags. Append-only, so that a launch language's
words can be added to a trained model without moving what it has learnt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from retrain.bio import OUTSIDE, tokens_of
from retrain.data import Example

UNKNOWN = "\x00unknown"
CHAR_SPECIALS = ("\x00padding", UNKNOWN, "\x00begin", "\x00end")


@dataclass(frozen=True)
class Vocabulary:
    """Names by index; `counts[i]` is how often word i was seen in training. Tags are O, then B and I of
    each slot.
    """

    words: tuple[str, ...] = (UNKNOWN,)
    counts: tuple[int, ...] = (0,)
    chars: tuple[str, ...] = CHAR_SPECIALS
    intents: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    locales: tuple[str, ...] = field(default=())

    @cached_property
    def word_index(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def char_index(self) -> dict[str, int]:
        return {char: i for i, char in enumerate(self.chars)}

    @cached_property
    def intent_index(self) -> dict[str, int]:
        return {intent: i for i, intent in enumerate(self.intents)}

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """O first, then B-x at 1 + 2 i and I-x at 2 + 2 i of the i-th slot name."""
        return (OUTSIDE, *(f"{prefix}-{name}" for name in self.slots for prefix in "BI"))

    @cached_property
    def tag_index(self) -> dict[str, int]:
        return {tag: i for i, tag in enumerate(self.tags)}

    def grown(self, examples: Iterable[Example], texts: Iterable[str] = ()) -> Vocabulary:
        """This vocabulary with what `examples`, and `texts` without a label, add appended, each kind in sorted order;
        nothing old moves."""
        counts: Counter[str] = Counter()
        chars: set[str] = set()
        intents: set[str] = set()
        slots: set[str] = set()
        locales: set[str] = set()
        examples = list(examples)
        for text in (*(example.utterance for example in examples), *texts):
            words = [token.text for token in tokens_of(text)]
            counts.update(words)
            chars.update(*words)
        for example in examples:
            intents.add(example.intent)
            slots.update(s.name for s in example.slots or ())
            slots.update(tag[2:] for may in example.tags for tag in may if tag != OUTSIDE)
            locales.add(example.locale)

        def appended(old: tuple[str, ...], new: Iterable[str]) -> tuple[str, ...]:
            known = set(old)
            return old + tuple(sorted(x for x in new if x not in known))

        words_now = appended(self.words, counts)
        before = dict(zip(self.words, self.counts, strict=True))
        return Vocabulary(
            words_now,
            tuple(before.get(word, 0) + counts[word] for word in words_now),
            appended(self.chars, chars),
            appended(self.intents, intents),
            appended(self.slots, slots),
            appended(self.locales, locales),
        )

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote."""
        return cls(**{key: tuple(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()})
