"""The embedded encoder's tokenizer: pieces of words, and of scripts that write no spaces between them.

A unigram model (Kudo 2018, "Subword Regularization") finds the pieces of spaced text within its words. Where no spaces
are written it takes half a sentence for one piece, and two wordings of a wish have none in common. So Japanese is cut
where its script changes (a stem in ideographs, its ending in hiragana, a loanword in katakana), and no piece has more
than two ideographs, the length of most Chinese words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_RUNS = r"[\p{Han}々〆]+|\p{Hiragana}+|[\p{Katakana}ー]+"  # in the terms of Oniguruma, which knows scripts by name
_IDEOGRAPH = re.compile("[々〆\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_MOST_IDEOGRAPHS = 2  # of a piece


def train_tokenizer(corpus: Sequence[str], vocabulary: int) -> Tokenizer:
    """A unigram tokenizer of at most `vocabulary` pieces, the same for the same texts in the same order.

    Longer pieces of ideographs are left out once it is trained. (With a model of their own, that is trained without
    them, the short ones serve no better: docs/variants.md.)

    Cost: seconds for 100,000 utterances; memory of some 100 bytes a character.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex(_RUNS), "isolated")]
    )
    tokenizer.train_from_iterator(
        corpus,
        trainers.UnigramTrainer(
            vocab_size=vocabulary, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
        ),
    )
    return Tokenizer.from_str(_settled(tokenizer.to_str()))


def _settled(state: str) -> str:
    """A trained tokenizer without the pieces that are too long, the others in order, and the last bits of their scores
    dropped.

    The trainer keeps pieces in hash maps: nearly equal scores swap places from run to run, and the characters that no
    piece covers get scores 1e-4 apart, from the least one up, in any order. A piece's place decides its vector.
    """
    plain = json.loads(state)
    unknown, *pieces = plain["model"]["vocab"]
    least = min((score for _, score in pieces), default=0.0)
    uncovered = least + 1e-4 * sum(len(piece) == 1 for piece, _ in pieces)
    settled = [
        (piece, round(least if len(piece) == 1 and score < uncovered else score, 6))
        for piece, score in pieces
        if len(_IDEOGRAPH.findall(piece)) <= _MOST_IDEOGRAPHS
    ]
    plain["model"]["vocab"] = [unknown, *sorted(settled, key=lambda piece: (-piece[1], piece[0]))]
    return json.dumps(plain, ensure_ascii=False)
