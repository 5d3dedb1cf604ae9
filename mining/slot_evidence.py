"""What a log says about the slots of one formulation, token by token, as observations for `mining.slot_model`.

Six things are looked at: what stays when the wording changes (`kept`), what varies while the wording stays
(`substituted`), what a model tagged here (`Tagging`) and whether that served its users (`served`), the values of what
was said instead (`Tagging`), and what was answered when the assistant asked for a slot (`answered`). Fillers that
recur are typed jointly by the model itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rapidfuzz import fuzz

from mining.slots import project
from schemas.normalise import Token, is_unspaced, normalise, span_end, tokenise
from schemas.predictor import Slot

OUTSIDE = "O"
SPELT_ALIKE = 82.0  # fuzz.ratio, 0 to 100: a recogniser's or an inflection's difference
_MOST_FILLER = 4  # tokens of a span that a frame may leave open
_MOST_FILLER_UNSPACED = 6
_MOST_FILLERS = 64  # kept of a frame: more say nothing more
MOST_PARTNERS = 6.0  # other wordings that count: they share the popular ones

Tags = tuple[str | None, ...]  # O, B-type or I-type; None where nothing is said of the token


@dataclass(frozen=True)
class Tagging:
    """What one source says of the tokens.

    Args:
        source: a name; sources of one name share their reliability.
        tags: one a token.
        weight: what the vote counts for, 0 to 1.
    """

    source: str
    tags: Tags
    weight: float


@dataclass(frozen=True)
class Sighting:
    """A formulation of which the intent is believed, with what was observed of its tokens.

    Args:
        tokens: normalised words.
        intent: its label.
        taggings: of all sources.
        kept: for each token, in how many of `partners` other wordings of the same wish it stands.
        partners: other wordings, at most `MOST_PARTNERS`; not necessarily whole.
        substituted: for each token, how many other fillers stand in its place in the same frame.
        served: whole answers that users were given under this intent, and by how many bits what they did then speaks
            for all of it being right.
        believed: the probability that the intent is right, before the users of these answers are heard.
        gold: the tags, where a person annotated them.
        weight: of the formulation when the model is fitted.
    """

    tokens: tuple[str, ...]
    intent: str
    taggings: tuple[Tagging, ...] = ()
    kept: tuple[float, ...] = ()
    partners: float = 0.0
    substituted: tuple[int, ...] = ()
    served: tuple[tuple[Tags, float], ...] = ()
    believed: float = 1.0
    gold: Tags | None = None
    weight: float = 1.0


def words(utterance: str) -> tuple[list[Token], tuple[str, ...]]:
    """Tokens with offsets into the utterance, and their normalised forms."""
    tokens = tokenise(utterance)
    return tokens, tuple(normalise(token.text) for token in tokens)


def tags_of(tokens: Sequence[Token], slots: Iterable[Slot]) -> Tags:
    """One tag a token, BIO; a span that cuts a token covers it. O(tokens x slots)."""
    tags: list[str | None] = [OUTSIDE] * len(tokens)
    for slot in sorted(slots, key=lambda s: (s.start, s.end)):
        begun = False
        for i, token in enumerate(tokens):
            if token.start < slot.end and token.end > slot.start and tags[i] == OUTSIDE:
                tags[i] = f"{'I' if begun else 'B'}-{slot.name}"
                begun = True
    return tuple(tags)


def spans_of(utterance: str, tokens: Sequence[Token], tags: Sequence[str | None]) -> tuple[Slot, ...]:
    """The spans of BIO tags, by start."""
    found: list[tuple[str, int, int]] = []
    for i, tag in enumerate(tags):
        if tag is None or tag == OUTSIDE:
            continue
        prefix, name = tag.split("-", 1)
        if prefix == "I" and found and found[-1][0] == name and found[-1][2] == i - 1:
            found[-1] = (name, found[-1][1], i)
        else:
            found.append((name, i, i))
    return tuple(
        Slot(name, utterance[tokens[a].start : (end := span_end(utterance, tokens[b]))], tokens[a].start, end)
        for name, a, b in found
    )


def alike(one: str, other: str) -> bool:
    """The same word, or one spelt two ways. Short words and single characters must be equal."""
    if one == other:
        return True
    if len(one) < 4 or len(other) < 4 or is_unspaced(one[0]):
        return False
    return fuzz.ratio(one, other, score_cutoff=SPELT_ALIKE) > 0


def kept(tokens: Sequence[str], partners: Mapping[tuple[str, ...], float]) -> tuple[tuple[float, ...], float]:
    """For each token the weight of the other wordings it stands in, and the weight of all, scaled to at most
    `MOST_PARTNERS`.

    Args:
        partners: words of the other wordings of the same wish, and the probability that they are one.

    O(tokens x words of the partners).
    """
    total = sum(partners.values())
    if total <= 0:
        return (0.0,) * len(tokens), 0.0
    counts = [0.0] * len(tokens)
    for other, weight in partners.items():
        there = set(other)
        for i, token in enumerate(tokens):
            if token in there or any(alike(token, word) for word in there):
                counts[i] += weight
    scale = min(1.0, MOST_PARTNERS / total)
    return tuple(count * scale for count in counts), total * scale


def substituted(texts: Sequence[tuple[str, ...]]) -> list[tuple[int, ...]]:
    """For each token of each text, how many other fillers are found in its place: "wake me at _" takes "seven" and
    "eight". Fillers that are one misheard word count once; a frame has at least one word.

    Args:
        texts: distinct, of one intent: frames of other wishes say nothing.

    O(words x longest filler) time and memory.
    """
    frames: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[str, ...]]] = defaultdict(list)

    def of(text: tuple[str, ...]) -> Iterable[tuple[int, int]]:
        most = _MOST_FILLER_UNSPACED if text and is_unspaced(text[0][0]) else _MOST_FILLER
        for start in range(len(text)):
            for end in range(start + 1, min(start + most, len(text)) + 1):
                if end - start < len(text):
                    yield start, end

    for text in texts:
        for start, end in of(text):
            fillers = frames[text[:start], text[end:]]
            filler = text[start:end]
            if len(fillers) < _MOST_FILLERS and not any(_same_filler(filler, other) for other in fillers):
                fillers.append(filler)
    found = []
    for text in texts:
        most = [0] * len(text)
        for start, end in of(text):
            others = len(frames[text[:start], text[end:]]) - 1
            for i in range(start, end):
                most[i] = max(most[i], others)
        found.append(tuple(most))
    return found


def _same_filler(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return one == other or (len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True)))


def answered(utterance: str, tokens: Sequence[Token], slot: str, answer: str) -> Tags | None:
    """What an answer to "which <slot>?" says of the request it belongs to: where the request has the answer's words,
    they are a filler of the slot. None where it has not."""
    found = project([(slot, answer)], utterance)
    if not found:
        return None
    return tuple(None if tag == OUTSIDE else tag for tag in tags_of(tokens, found))


def carried(utterance: str, tokens: Sequence[Token], values: Iterable[tuple[str, str]]) -> Tags:
    """What the values of another wording say of this one: those that are found here are fillers, the rest is left
    open unless all were found."""
    wanted = list(values)
    whole = project(wanted, utterance)
    if whole is not None:
        return tags_of(tokens, whole)
    some = [slot for value in wanted for slot in project([value], utterance) or ()]
    return tuple(None if tag == OUTSIDE else tag for tag in tags_of(tokens, some))


_TARGETS = 3  # interpretations of rephrase targets that count, the best supported
_SERVED = 3  # answers whose users speak, those of whom they say most
_ANSWERS = 2.0  # users of one answer that count
_GOLD_WEIGHT = 5.0  # of an annotated utterance, in formulations


@dataclass(frozen=True)
class Vote:
    """An interpretation of a formulation or of what was said instead.

    Args:
        source: own or rephrase.
        intent: of the interpretation.
        values: type and value of its slots.
        right: of what was said instead, the probability that it is the same wish, served with these values.
        bits: of an answer, by how much what its user did speaks for its having served; None where it was not carried
            out.
        taught: the model had been taught these spans, and tags them whether they are right or not.
    """

    source: str
    intent: str
    values: tuple[tuple[str, str], ...]
    right: float = 1.0
    bits: float | None = None
    taught: bool = False


def sighting(
    utterance: str,
    intent: str,
    votes: Iterable[Vote],
    partners: Iterable[tuple[str, float]],
    answers: Iterable[tuple[str, str, int]],
    believed: float = 1.0,
) -> Sighting:
    """Everything observed of one formulation but what varies in its frames, which takes its mates (`in_frames`).

    Args:
        utterance: its spelling as logged.
        intent: its label.
        votes: interpretations of it, and of what was said instead.
        partners: other wordings of the same wish, with the probability that they are one.
        answers: (slot type, answer, users) of clarifications that it was followed by.
        believed: the probability that its label is right, before the users of its own answers are heard.

    O(tokens x (partners' tokens + votes)).
    """
    tokens, normal = words(utterance)
    own: dict[tuple[str, tuple[tuple[str, str], ...]], list[Vote]] = defaultdict(list)
    said: dict[tuple[tuple[str, str], ...], float] = defaultdict(float)
    for vote in votes:
        if vote.source == "own":
            own[vote.intent, vote.values].append(vote)
        elif vote.intent == intent and not vote.taught:
            said[vote.values] = max(said[vote.values], vote.right)
    taggings: list[Tagging] = []
    served: dict[Tags, list[float]] = defaultdict(list)  # values that are spelt otherwise have the same tags
    for (voted, values), answers_of in sorted(own.items()):
        tags = carried(utterance, tokens, values)
        if not all(vote.taught for vote in answers_of):
            name, weight = ("own", 1.0) if voted == intent else ("other", 0.7)
            taggings.append(Tagging(name, tags, weight))
        if voted == intent and None not in tags:
            served[tags] += [vote.bits for vote in answers_of if vote.bits is not None]
    best = sorted(said.items(), key=lambda item: (-round(item[1], 9), item[0]))[:_TARGETS]
    taggings += [Tagging("rephrase", carried(utterance, tokens, values), min(support, 1.0)) for values, support in best]
    for slot, answer, users in sorted(answers):
        filled = answered(utterance, tokens, slot, answer)
        if filled is not None:
            taggings.append(Tagging("answer", filled, min(float(users), _ANSWERS)))
    others: dict[tuple[str, ...], float] = {}
    for text, probability in partners:
        other = words(text)[1]
        if other != normal:
            others[other] = max(others.get(other, 0.0), probability)
    stay, total = kept(normal, others)
    # Friction is fitted wording by wording: the users of one answer show the same.
    means = [(tags, sum(bits) / len(bits)) for tags, bits in served.items() if bits]
    clearest = sorted(means, key=lambda answer: (-abs(round(answer[1], 9)), str(answer[0])))[:_SERVED]
    return Sighting(normal, intent, tuple(taggings), stay, total, served=tuple(clearest), believed=believed)


def annotated(utterance: str, intent: str, slots: Iterable[Slot]) -> Sighting:
    """An annotated utterance as a formulation of which the tags are known."""
    tokens, normal = words(utterance)
    return Sighting(normal, intent, gold=tags_of(tokens, slots), weight=_GOLD_WEIGHT)


def in_frames(sightings: Sequence[Sighting]) -> list[Sighting]:
    """The formulations with their `substituted`, counted among those of the same intent."""
    texts: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for s in sightings:
        texts[s.intent].add(s.tokens)
    found = {}
    for intent in sorted(texts):
        ordered = sorted(texts[intent])
        found[intent] = dict(zip(ordered, substituted(ordered), strict=True))
    return [replace(s, substituted=found[s.intent][s.tokens]) for s in sightings]
