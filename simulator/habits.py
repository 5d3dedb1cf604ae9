"""Which wording a person says first: their own habit, or one that is popular that week."""

from __future__ import annotations

import numpy as np

from simulator.catalogue import Catalogue, Signature, Wording, draw
from simulator.population import Population

_HABIT, _DRIFT = 0x4AB1, 0xD21F  # keep these streams apart from those of users and tasks
WEEK_SECONDS = 7 * 86_400


class Habits:
    """Popularity of wordings over the weeks, and each person's habits.

    Popularity follows Zipf's law by rank in week 0; each week the logarithm of a wording's popularity takes a step of
    standard deviation `drift`, the same for all users. A person's habit for a signature is drawn once, from week 0,
    and does not depend on the round.

    Args:
        catalogue: the wordings.
        population: exponents, `habit` and `drift`.
        seed: of the whole simulation.
    """

    def __init__(self, catalogue: Catalogue, population: Population, seed: int) -> None:
        self.catalogue, self.population, self.seed = catalogue, population, seed
        self._number = {signature: i for i, signature in enumerate(catalogue.signatures)}
        self._laws: dict[tuple[Signature, int], np.ndarray] = {}

    def law(self, signature: Signature, week: int) -> np.ndarray:
        """Cumulative probabilities of a signature's wordings in a week. O(wordings x weeks) the first time."""
        key = (signature, week if self.population.drift else 0)
        if key not in self._laws:
            size = len(self.catalogue.wordings[signature])
            walked = -self.population.wording_exponent * np.log(np.arange(1, size + 1))
            for past in range(key[1]):
                steps = np.random.default_rng([self.seed, _DRIFT, self._number[signature], past])
                walked = walked + self.population.drift * steps.standard_normal(size)
            weights = np.exp(walked - walked.max())
            self._laws[key] = np.cumsum(weights) / weights.sum()
        return self._laws[key]

    def first(self, signature: Signature, who: tuple[int, ...], seconds: float, rng: np.random.Generator) -> Wording:
        """What this person says first for a signature.

        Args:
            signature: of what they want.
            who: the user's index and the person's.
            seconds: since the start of round 0.
            rng: the task's stream; two draws.
        """
        own, chance = rng.random(2)
        ways = self.catalogue.wordings[signature]
        if own < self.population.habit:
            stream = np.random.default_rng([self.seed, _HABIT, *who, self._number[signature]])
            return ways[draw(self.law(signature, 0), stream)]
        law = self.law(signature, int(seconds // WEEK_SECONDS))
        return ways[min(int(np.searchsorted(law, chance, side="right")), len(ways) - 1)]
