"""Words for alignment: where no spaces are written, characters that often stand together are one word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from schemas.normalise import is_unspaced, tokenise

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MOST_PIECES, _OFTEN = 50_000, 3  # of a language without spaces, and how often their parts stand together


class Segmenter:
    """Cuts normalised texts into words that can be aligned with those of another language.

    Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units" (byte-pair encoding).
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def learn(cls, texts: Iterable[str]) -> Segmenter:
        """The words of these texts, whatever their order: of the scripts that write spaces, what stands between them.

        Cost: seconds for 100,000 texts without spaces, a pass over others.
        """
        distinct = sorted(set(texts))
        if not any(is_unspaced(character) for text in distinct for character in text):
            return cls()
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE(unk_token="\0"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.BpeTrainer(
            vocab_size=_MOST_PIECES, min_frequency=_OFTEN, special_tokens=["\0"], show_progress=False
        )
        tokenizer.train_from_iterator(distinct, trainer)
        return cls(tokenizer)

    def words(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The words of each normalised text."""
        return [tuple(word for word, _ in found) for found in self.counted(texts)]

    def counted(self, texts: Sequence[str]) -> list[list[tuple[str, int]]]:
        """The words of each normalised text, each with how many of `schemas.normalise.words` it covers; the numbers of
        a text add up to all of them, also where a word ends within one."""
        if self._tokenizer is None:
            return [[(token.text, 1) for token in tokenise(text)] for text in texts]
        coded = self._tokenizer.encode_batch(list(texts))
        return [_counted(text, found.offsets) for text, found in zip(texts, coded, strict=True)]


def _counted(text: str, offsets: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    starts = [token.start for token in tokenise(text)]
    found, at = [], 0
    for place, (start, end) in enumerate(offsets):
        until = len(starts) if place + 1 == len(offsets) else at
        while until < len(starts) and starts[until] < end:
            until += 1
        found.append((text[start:end], until - at))
        at = until
    return found
