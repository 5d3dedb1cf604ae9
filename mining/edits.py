"""How the words changed from one try to the next.

The types are those that studies of reformulation tell apart: Huang & Efthimiadis 2009, "Analyzing and Evaluating Query
Reformulation Strategies in Web Search Logs" (words added, dropped, exchanged, put in another order, respelled); Jiang,
Jeng & He 2013, "How do users respond to voice input errors?" (repetition, and spelling that the recogniser changed).
"""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz import fuzz

SAME_WORDS = "same_words"
RESPELLED = "respelled"
REORDERED = "reordered"
ADDED = "words_added"
DROPPED = "words_dropped"
EXCHANGED = "words_exchanged"
OTHER_WORDS = "other_words"
TYPES = (SAME_WORDS, RESPELLED, REORDERED, ADDED, DROPPED, EXCHANGED, OTHER_WORDS)
_ONE_WORD = 60.0  # fuzz.ratio, 0 to 100, from which two words are one, misheard or spelt out


def edit_type(source: Sequence[str], target: Sequence[str]) -> str:
    """What changed from the words of `source` to those of `target`, one of `TYPES`.

    Words that resemble each other are one word (a recogniser's error, an inflection), and so are those that are only
    joined or split. `OTHER_WORDS` share none.

    O(words of one x words of the other).
    """
    if tuple(source) == tuple(target):
        return SAME_WORDS
    if "".join(source) == "".join(target):
        return RESPELLED
    gone, new = [], sorted(target)
    for word in sorted(source):
        if word in new:
            new.remove(word)
        else:
            gone.append(word)
    shared = len(source) - len(gone)
    if not gone and not new:
        return REORDERED
    missing, respelled = 0, 0
    for word in gone:
        best, alike = _ONE_WORD, None
        for other in new:  # of equals the last by the alphabet
            ratio = fuzz.ratio(word, other, score_cutoff=best)
            if ratio >= best:
                best, alike = ratio, other
        if alike is None:
            missing += 1
        else:
            new.remove(alike)
            respelled += 1
    if not shared and not respelled:
        return OTHER_WORDS
    if missing and new:
        return EXCHANGED
    return DROPPED if missing else ADDED if new else RESPELLED
