"""Text normalisation and tokens: what makes two logged utterances the same formulation.

A *formulation* is a normalised utterance in one locale. Tokens are words in scripts that write spaces and single
characters in scripts that do not (Han, Kana, Thai, Lao, Khmer, Burmese), so that one rule serves every language.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

# Scripts written without spaces between words: inclusive code point ranges, Unicode 16 block names.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration marks and zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # CJK extension A
    (0x4E00, 0x9FFF),  # CJK unified ideographs
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0x20000, 0x323AF),  # CJK extensions B to H
)
# Below this code point there are no marks, no unspaced scripts, and of joiners and modifiers only ' and ^ `, so that an
# expression finds the tokens.
_PLAIN = "\u02b0"
_WORD = re.compile(r"[^\W_](?:[^\W_]|[\^`]|'(?=[^\W_]))*")
_JOINERS = frozenset("'’ʼ‌‍")  # apostrophes and zero-width (non-)joiners stay inside a word


class Token(NamedTuple):
    """A token and its half-open offsets, in Unicode code points, into the text it was cut from."""

    text: str
    start: int
    end: int


def is_unspaced(character: str) -> bool:
    """True if `character` belongs to a script that writes no spaces between words."""
    point = ord(character)
    return point >= 0x0E00 and any(low <= point <= high for low, high in _UNSPACED)


def tokenise(text: str) -> list[Token]:
    """Cut `text` into tokens with offsets into it; punctuation and white space are left out.

    Combining marks stay with what they combine with, also in unspaced scripts. O(len(text)).
    """
    tokens: list[Token] = []
    start = -1
    for i, character in enumerate(text):
        category = unicodedata.category(character)
        if category[0] == "M" and (start >= 0 or (tokens and tokens[-1].end == i)):
            if start < 0:
                last = tokens.pop()
                tokens.append(Token(text[last.start : i + 1], last.start, i + 1))
            continue
        inside_word = category[0] in "LNM" or (category == "Sk" and start >= 0)
        if inside_word and is_unspaced(character):
            if start >= 0:
                tokens.append(Token(text[start:i], start, i))
                start = -1
            tokens.append(Token(character, i, i + 1))
        elif inside_word:
            if start < 0:
                start = i
        elif character in _JOINERS and start >= 0 and i + 1 < len(text) and text[i + 1].isalnum():
            continue
        elif start >= 0:
            tokens.append(Token(text[start:i], start, i))
            start = -1
    if start >= 0:
        tokens.append(Token(text[start:], start, len(text)))
    return tokens


def span_end(text: str, last: Token) -> int:
    """Where a span ends whose last token this is: the full stop of an abbreviation spelt in single letters ("at
    [time : two p. m.]") belongs to the span, though to no token."""
    stops = last.end - last.start == 1 and text[last.end : last.end + 1] == "." and text[last.end - 1].isalpha()
    return last.end + stops


def normalise(text: str) -> str:
    """NFKC, case folded, punctuation dropped, one space between words and none between unspaced characters.

    Idempotent: `normalise(normalise(x)) == normalise(x)`. An utterance without a letter or digit gives "".
    """
    if text.isascii():
        return " ".join(_WORD.findall(text.lower()))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    if max(folded, default="") < _PLAIN:
        return " ".join(_WORD.findall(folded))
    parts: list[str] = []
    previous_unspaced = True
    for token in tokenise(folded):
        unspaced = is_unspaced(token.text[0])
        if parts and not (unspaced and previous_unspaced):
            parts.append(" ")
        parts.append(token.text)
        previous_unspaced = unspaced
    return "".join(parts)


@lru_cache(maxsize=1 << 16)
def words(normalised: str) -> tuple[str, ...]:
    """The tokens of a text that `normalise` made, without their offsets; of a text seen lately it costs a look-up."""
    if normalised.isascii() or max(normalised) < _PLAIN:
        return tuple(normalised.split())
    return tuple(token.text for token in tokenise(normalised))


def squash(text: str) -> str:
    """`text` without white space: how Japanese and Chinese spans are compared (annotation adds spaces there)."""
    return "".join(text.split())


def formulation_id(locale: str, normalised: str) -> str:
    """A stable 16-hex-digit id of a normalised utterance in a locale."""
    return hashlib.blake2b(f"{locale}\x1f{normalised}".encode(), digest_size=8).hexdigest()
