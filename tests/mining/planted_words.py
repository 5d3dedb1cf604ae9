"""Two planted languages: utterances of intents, none of which says what another says."""

from __future__ import annotations

import numpy as np

from mining.translations import Worded

CARRIERS, CONTENT, INTENTS = 10, 90, 15  # words that every intent has, words of few intents
PLANTED = {f"word{i:02d}": f"neno{(7 * i) % 100:02d}" for i in range(CARRIERS + CONTENT)}  # 7 and 100 have no divisor


def _spoken(random: np.random.Generator, intent: int, many: int) -> list[list[str]]:
    """Utterances of an intent: some carriers, and of the twelve words that it has (others have them, too) some, the
    first oftenest."""
    own = np.random.default_rng(intent).choice(CONTENT, 12, replace=False) + CARRIERS
    often, seldom = 1 / (np.arange(CARRIERS) + 1), 1 / (np.arange(12) + 2)
    said = []
    for _ in range(many):
        carriers = random.choice(CARRIERS, random.integers(1, 4), replace=False, p=often / often.sum())
        words = [*carriers, *random.choice(own, random.integers(2, 5), replace=False, p=seldom / seldom.sum())]
        said.append([f"word{int(i):02d}" for i in words])
    return said


def planted(seed: int, wrong: float = 0.0, many: int = 40) -> tuple[list[Worded], list[Worded]]:
    """Utterances of one language, and others in the other language: none says what another says, words stand in any
    order, some are left out and some are heard wrong; a share of the intents is wrong."""
    random = np.random.default_rng(seed)
    mature, launch = [], []
    for intent in range(INTENTS):
        mature += [Worded(tuple(words), f"intent{intent}") for words in _spoken(random, intent, many)]
        for words in _spoken(random, intent, 3 * many):
            said = [PLANTED[word] for word in words if random.random() > 0.1]
            said = [f"noise{random.integers(500)}" if random.random() < 0.05 else word for word in said]
            believed = random.integers(INTENTS) if random.random() < wrong else intent
            launch.append(Worded(tuple(said[i] for i in random.permutation(len(said))), f"intent{believed}", 0.9))
    return mature, launch
