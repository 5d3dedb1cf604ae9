"""What translations say of intents: how well a wording's words are explained by annotated utterances of each intent of
the mature language.

Which words say which is learnt of the wordings whose intent is sure and of annotated utterances of the launch language,
and tells of those that nobody understood: a wish of which no model knows a word but "kesho" and "saa nane" is rather an
alarm than a joke. The more wordings are sure, the more words are known, so a posterior asks again and again
(`mining.intent_posterior`), as self-training does, but with the words of annotated utterances between. No wording is
told by what it taught, nor by what its community did: a wish that was named wrong would teach its own words, and hear
from them that it was named well.

Sources: the mixture of `mining.translations`; Ravi & Knight 2011, "Deciphering Foreign Language" (translation models
learnt without parallel text); Stone 1974, "Cross-Validatory Choice and Assessment of Statistical Predictions".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mining.translations import LENGTHS, Side, Worded, said_as, shortened

_SURE = 0.9  # probability from which a wording teaches: lower ones teach wrong words (docs/labels.md)
_MOST_TAUGHT = 20_000  # wordings that teach, evenly spread
_ANNOTATED = 3.0  # wordings that an annotated utterance teaches as much as (docs/labels.md)
_OF_ONE = 50.0  # wordings of one user that count in full: nobody teaches many words alone
_USUAL = 0.1  # share of a word's sayings that may be any word
_CHUNK = 20_000  # wordings that are told at once

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


class TranslatedIntents:
    """Learns translations with a posterior, and says what they say of every wording.

    Args:
        mature: annotated utterances of the mature language.
        parallel: (words of the mature language, words of the launch language) of sentences that say the same.
        wordings: words of each row.
        intents: of the posterior's columns.
        spoken: row and number of a user who said it, each pair once. Rows that nobody said who is heard teach nothing;
            where it is empty, everybody is heard.
        annotated: utterances of the launch language, which teach every part.
    """

    def __init__(
        self,
        mature: Sequence[Worded],
        parallel: Sequence[tuple[Sequence[str], Sequence[str]]],
        wordings: Sequence[tuple[str, ...]],
        intents: Sequence[str],
        spoken: tuple[Ints, Ints],
        annotated: Sequence[Worded] = (),
    ) -> None:
        self._known = shortened(parallel)
        self._annotated = [replace(one, weight=_ANNOTATED * one.weight) for one in annotated]
        self._mature = Side.of(mature, (one for one, _ in self._known))
        self._wordings, self._intents, self._spoken = wordings, intents, spoken

    def __call__(self, probability: Doubles, part: Ints) -> Doubles | None:
        """What the translations that this posterior teaches say: n x intents, rows summing to 1, or of zeros where no
        word is known; None where nothing is sure.

        Args:
            part: of each row, numbered from 0. A part is told by what the others teach; where there is one alone,
                nothing is.

        Cost: for each part half of `mining.translations.learn_translations`, and O(annotated utterances x words of its
        rows).
        """
        told, some = np.zeros(probability.shape), False
        for number in range(int(part.max(initial=-1)) + 1):
            taught = self._taught(probability, part != number)
            if not taught or not self._mature.rows:
                continue
            launch = Side.of(taught, (other for _, other in self._known))
            said = said_as(self._mature, launch, self._known)
            said = ((1 - _USUAL) * said + _USUAL * launch.usual).astype(np.float32)
            rows, some = np.flatnonzero(part == number), True
            for first in range(0, len(rows), _CHUNK):
                chunk = rows[first : first + _CHUNK]
                told[chunk] = self._told([self._wordings[i] for i in chunk.tolist()], launch, said)
        return told if some else None

    def _taught(self, probability: Doubles, may: NDArray[np.bool_]) -> list[Worded]:
        """The rows that teach, of those that may, and the annotated utterances."""
        row, user = self._spoken
        chance, best = probability.max(axis=1), probability.argmax(axis=1)
        sure = (chance >= _SURE) & may
        voice = np.ones(len(sure))
        if len(row):
            of_sure = sure[row]
            many = np.bincount(user[of_sure], minlength=int(user.max()) + 1)
            count = np.minimum(1.0, _OF_ONE / np.maximum(many, 1))[user]
            people = np.bincount(row, minlength=len(sure))
            voice = np.bincount(row, weights=count, minlength=len(sure)) / np.maximum(people, 1)
            sure = sure & (people > 0)
        chosen = np.flatnonzero(sure)
        chosen = chosen[:: max(1, len(chosen) // _MOST_TAUGHT)]
        weight = chance * voice
        sure_ones = [Worded(self._wordings[i], self._intents[best[i]], float(weight[i])) for i in chosen.tolist()]
        return sure_ones + self._annotated

    def _told(self, wordings: Sequence[tuple[str, ...]], launch: Side, said: NDArray[np.float32]) -> Doubles:
        number = {word: i for i, word in enumerate(launch.names)}
        row, column = [], []
        for i, words in enumerate(wordings):
            known = [number[word] for word in words if word in number]
            row += [i] * len(known)
            column += known
        shape = (len(wordings), len(launch.names))
        bags = sparse.csr_array((np.ones(len(row), np.float32), (row, column)), shape=shape)
        lengths = np.log(np.array([max(len(words), 1) for words in wordings], np.float32))[:, None]
        usual = np.log(np.maximum(launch.usual, 1e-12))
        # Beside words as usual, which is what an intent without annotated utterances says.
        score = np.zeros((len(wordings), len(self._intents)))
        for k, intent in enumerate(self._intents):
            if intent not in self._mature.rows:
                continue
            of = self._mature.rows[intent]
            likely = np.log(np.maximum(self._mature.shares(of) @ said, 1e-12)) - usual
            likely[:, 0] = 0
            away = lengths - np.log(self._mature.lengths[of])[None, :]
            each = bags @ likely.T.astype(np.float32) - 0.5 * (away / LENGTHS) ** 2
            top = each.max(axis=1, keepdims=True)
            score[:, k] = (top + np.log(np.exp(each - top).mean(axis=1, keepdims=True))).ravel()
        powers = np.exp(score - score.max(axis=1, keepdims=True))
        powers /= powers.sum(axis=1, keepdims=True)
        powers[np.bincount(np.array(row, np.int64), minlength=len(wordings)) == 0] = 0
        return np.asarray(powers)
