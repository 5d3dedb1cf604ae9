"""Slot spans as BIO tags over tokens, and back to exact character spans.

Source: Ramshaw and Marcus, "Text Chunking using Transformation-Based Learning", 1995 (BIO, here its BIO-2
form: every span begins with B). Offsets are half-open, in Unicode code points into the utterance as logged.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from schemas.normalise import Token, span_end, tokenise
from schemas.predictor import Slot

OUTSIDE = "O"


def tokens_of(utterance: str) -> list[Token]:
    """Tokens of an utterance as logged: offsets into it, text NFKC-normalised and lower-cased.
    O(len(utterance)).
    """
    return [Token(unicodedata.normalize("NFKC", t.text).lower(), t.start, t.end) for t in tokenise(utterance)]


def encode_bio(tokens: Sequence[Token], slots: Iterable[Slot]) -> list[str]:
    """One tag a token. A span that cuts a token covers the token; of two spans on one token the first keeps
    it.

    Returns:
        len(tokens) tags: `O`, `B-<name>` or `I-<name>`. O(tokens + slots).
    """
    tags = [OUTSIDE] * len(tokens)
    for slot in sorted(slots, key=lambda s: (s.start, s.end)):
        begun = False
        for i, token in enumerate(tokens):
            if token.start < slot.end and token.end > slot.start and tags[i] == OUTSIDE:
                tags[i] = f"{'I' if begun else 'B'}-{slot.name}"
                begun = True
    return tags


def decode_bio(utterance: str, tokens: Sequence[Token], tags: Sequence[str]) -> tuple[Slot, ...]:
    """Spans of a tag sequence, from the first character of the first token to the last of the last, by start.

    An `I` that continues no span of its name begins one, so that any tag sequence decodes.
    """
    spans: list[tuple[str, int, int]] = []
    open_name = ""
    for i, tag in enumerate(tags):
        if tag == OUTSIDE:
            open_name = ""
            continue
        prefix, name = tag.split("-", 1)
        if prefix == "B" or name != open_name:
            spans.append((name, i, i))
        else:
            spans[-1] = (name, spans[-1][1], i)
        open_name = name
    decoded = []
    for name, first, last in spans:
        start, end = tokens[first].start, span_end(utterance, tokens[last])
        decoded.append(Slot(name, utterance[start:end], start, end))
    return tuple(decoded)
