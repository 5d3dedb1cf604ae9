"""Annotated utterances of the mature language in words of the launch language, as far as a lexicon has them.

Word for word and in the mature language's order, so that intent and spans stay what they were; what the lexicon does
not have is left out, replaced by any word, or stays, so that the model learns to do without it.

Source: Qin et al. 2020, "CoSDA-ML: Multi-Lingual Code-Switching Data Augmentation for Zero-Shot Cross-Lingual NLP".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrain.bio import encode_bio, tokens_of
from retrain.data import SWITCHED, Example
from retrain.lexicon import BilingualLexicon
from schemas.normalise import normalise
from schemas.predictor import Slot

_TRANSLATED = 0.95  # of the words that the lexicon has; loans and names stay now and then
# Of the carriers that it has not: any word of the launch language stands there, or nothing; the others stay.
_ANY, _NONE = 0.5, 0.25


def code_switched(example: Example, lexicon: BilingualLexicon, locale: str, random: np.random.Generator) -> Example:
    """The example in the launch locale's words where it has them.

    Values keep the words that the lexicon has not: names and numbers are often the same. O(length).
    """
    tokens = tokens_of(example.utterance)
    tags = encode_bio(tokens, example.slots or ())
    said: list[tuple[str, str]] = []  # (word, tag)
    for token, tag in zip(tokens, tags, strict=True):
        word = _instead(token.text, tag == "O", lexicon, random)
        if word:
            said.append((word, tag))
    if not said:
        return replace(example, locale=locale, source=SWITCHED)
    text, spans = "", list[tuple[str, int, int]]()
    for word, tag in said:
        start = len(text) + bool(text)
        text = f"{text} {word}" if text else word
        if tag[0] == "B":
            spans.append((tag[2:], start, len(text)))
        elif tag[0] == "I":
            spans[-1] = (spans[-1][0], spans[-1][1], len(text))
    slots = tuple(Slot(name, text[start:end], start, end) for name, start, end in spans)
    kept = None if example.slots is None else slots
    return replace(example, utterance=text, slots=kept, locale=locale, source=SWITCHED)


def _instead(word: str, carrier: bool, lexicon: BilingualLexicon, random: np.random.Generator) -> str:
    ways = lexicon.entries.get(normalise(word))
    draw = random.random()
    if ways is not None:
        if draw >= _TRANSLATED:
            return word
        draw /= _TRANSLATED
        for other, share in ways:
            draw -= share
            if draw < 0:
                return other
        return ways[-1][0]
    if not carrier or draw >= _ANY + _NONE:
        return word
    return lexicon.target_words[int(random.integers(len(lexicon.target_words)))] if draw < _ANY else ""
