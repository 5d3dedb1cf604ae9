"""Utterances to tensors: a table of distinct words, and batches of near lengths in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retrain.bio import encode_bio, tokens_of
from retrain.data import MINED, Example
from retrain.encoder import SubwordVectors
from retrain.model import CHAR_WIDTHS, Batch, Partial
from retrain.vocabulary import CHAR_SPECIALS, UNKNOWN, Vocabulary

MAX_TOKENS = 64  # an utterance's further tokens are not read: O
MAX_CHARS = 16  # of a word, with its boundary marks
_BEGIN, _END = CHAR_SPECIALS.index("\x00begin"), CHAR_SPECIALS.index("\x00end")
_MIN_CHARS = max(CHAR_WIDTHS)


class Lexicon:
    """Distinct words with their inputs: index in the vocabulary, characters, encoder vector.

    Word 0 is the unknown word, and stands in for an utterance without a token. Memory: 128 bytes of
    characters and 4 V bytes of vector a word.
    """

    def __init__(self, vocabulary: Vocabulary, encoder: SubwordVectors | None) -> None:
        self._vocabulary, self._encoder = vocabulary, encoder
        self._index: dict[str, int] = {}
        self.word_ids = np.zeros(0, np.int64)
        self.chars = np.zeros((0, MAX_CHARS), np.int64)
        self.vectors = np.zeros((0, encoder.dimensions if encoder else 0), np.float32)
        self.add([UNKNOWN])

    def __len__(self) -> int:
        return len(self._index)

    @property
    def intents(self) -> int:
        """How many the vocabulary has."""
        return len(self._vocabulary.intents)

    def add(self, words: Sequence[str]) -> None:
        """Add the words that are new."""
        new = [w for w in dict.fromkeys(words) if w not in self._index]
        if not new:
            return
        for word in new:
            self._index[word] = len(self._index)
        vocabulary = self._vocabulary
        ids = [vocabulary.word_index.get(word, 0) for word in new]
        rows = np.zeros((len(new), MAX_CHARS), np.int64)
        for row, word in zip(rows, new, strict=True):
            inner = [] if word == UNKNOWN else [vocabulary.char_index.get(c, 1) for c in word[: MAX_CHARS - 2]]
            coded = [_BEGIN, *inner, _END]
            row[: len(coded)] = coded
        self.word_ids = np.concatenate([self.word_ids, np.array(ids, np.int64)])
        self.chars = np.concatenate([self.chars, rows])
        if self._encoder is not None:
            texts = ["" if word == UNKNOWN else word for word in new]
            self.vectors = np.concatenate([self.vectors, self._encoder.vectors(texts)])

    def indices(self, words: Sequence[str]) -> np.ndarray:
        """Indices of words that were added; at least one, at most MAX_TOKENS."""
        return np.array([self._index[w] for w in words[:MAX_TOKENS]] or [0], np.int64)

    def batch(self, utterances: Sequence[np.ndarray]) -> Batch:
        """Tensors of utterances given as `indices`."""
        lengths = np.array([len(u) for u in utterances])
        flat, where = np.unique(np.concatenate(utterances), return_inverse=True)
        tokens = np.zeros((len(utterances), lengths.max()), np.int64)
        tokens[np.arange(lengths.max())[None, :] < lengths[:, None]] = where
        chars = self.chars[flat]
        used = max(_MIN_CHARS, int((chars != 0).sum(1).max()))
        return Batch(
            torch.from_numpy(self.word_ids[flat]),
            torch.from_numpy(np.ascontiguousarray(chars[:, :used])),
            torch.from_numpy(self.vectors[flat]) if self._encoder is not None else None,
            torch.from_numpy(tokens),
            torch.from_numpy(lengths),
        )


@dataclass(frozen=True)
class Encoded:
    """A training example as indices; `tags` is None where they are not known, `allowed` (L, K) then those that each
    token may have, None where the tagger is masked; `mined` true of what nobody annotated, `soft` the probabilities of
    intents where they are the target."""

    words: np.ndarray
    intent: int
    tags: np.ndarray | None
    weight: float
    mined: bool = False
    soft: tuple[tuple[int, float], ...] = ()
    allowed: np.ndarray | None = None


@dataclass(frozen=True)
class Targets:
    """What B utterances should give: `intents` (B, I), rows summing to 1, `tags` (B, L), weights of the two losses
    (B,), whether nobody annotated them (B,), and of those with some tags only, which; None without any."""

    intents: Tensor
    tags: Tensor
    intent_weights: Tensor
    tag_weights: Tensor
    mined: Tensor
    partial: Partial | None = None


def encode(examples: Sequence[Example], vocabulary: Vocabulary, lexicon: Lexicon) -> list[Encoded]:
    """Examples as indices; their words are added to the lexicon. Their labels must be in the vocabulary."""
    tokens = [tokens_of(e.utterance) for e in examples]
    lexicon.add([t.text for ts in tokens for t in ts])
    encoded, known = [], vocabulary.intent_index
    for example, ts in zip(examples, tokens, strict=True):
        tags = None
        if example.slots is not None:
            tags = np.array([vocabulary.tag_index[t] for t in encode_bio(ts, example.slots)][:MAX_TOKENS] or [0])
        encoded.append(
            Encoded(
                lexicon.indices([t.text for t in ts]),
                vocabulary.intent_index[example.intent],
                tags,
                example.weight,
                example.source in MINED,
                tuple((known[name], p) for name, p in example.intents if name in known),
                _allowed(example.tags, vocabulary.tag_index) if example.tags and tags is None else None,
            )
        )
    return encoded


def _allowed(tags: Sequence[Sequence[str]], known: Mapping[str, int]) -> np.ndarray:
    """The tags that each token may have, bool (L, K)."""
    allowed = np.zeros((min(len(tags), MAX_TOKENS), len(known)), bool)
    for row, may in zip(allowed, tags, strict=False):
        row[[known[tag] for tag in may] if may else slice(None)] = True
    return allowed


def _partial(examples: Sequence[Encoded], length: int) -> Partial | None:
    rows = [i for i, example in enumerate(examples) if example.allowed is not None]
    if not rows:
        return None
    told = [allowed for i in rows if (allowed := examples[i].allowed) is not None]
    allowed = np.ones((len(rows), length, told[0].shape[1]), bool)
    for into, of in zip(allowed, told, strict=True):
        into[: len(of)] = of
    return Partial(torch.tensor(rows), torch.from_numpy(allowed))


def _intents(examples: Sequence[Encoded], intents: int) -> np.ndarray:
    target = np.zeros((len(examples), intents), np.float32)
    for row, example in zip(target, examples, strict=True):
        for intent, probability in example.soft or ((example.intent, 1.0),):
            row[intent] += probability
        row += (1 - row.sum()) / intents
    return target


def batches(
    encoded: Sequence[Encoded], lexicon: Lexicon, size: int, random: np.random.Generator
) -> Iterator[tuple[Batch, Targets]]:
    """One epoch: shuffled, then cut so that a batch holds near lengths, then the batches shuffled."""
    order = random.permutation(len(encoded))
    lengths = np.array([len(encoded[i].words) for i in order]) + random.uniform(0, 1.5, len(order))
    order = order[np.argsort(lengths, kind="stable")]
    cuts = [order[i : i + size] for i in range(0, len(order), size)]
    for k in random.permutation(len(cuts)):
        chosen = [encoded[i] for i in cuts[k]]
        batch = lexicon.batch([e.words for e in chosen])
        tags = np.zeros(batch.tokens.shape, np.int64)
        for row, example in zip(tags, chosen, strict=True):
            if example.tags is not None:
                row[: len(example.tags)] = example.tags
        weights = torch.tensor([e.weight for e in chosen], dtype=torch.float32)
        known = torch.tensor([e.tags is not None or e.allowed is not None for e in chosen])
        yield (
            batch,
            Targets(
                torch.from_numpy(_intents(chosen, lexicon.intents)),
                torch.from_numpy(tags),
                weights,
                weights * known,
                torch.tensor([e.mined for e in chosen]),
                _partial(chosen, batch.tokens.shape[1]),
            ),
        )
