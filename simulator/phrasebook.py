"""Our own phrasebook as a catalogue: templates and fillers of `simulator/phrasebook/<locale>.toml`.

A seeded quarter of each intent's templates is the test partition: no user speaks them and no gold trains on
them, so a test score says how well a model does on wordings that nobody has taught it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from schemas.annotated import PARTITIONS, Annotated
from schemas.errors import InputError
from schemas.predictor import Interpretation
from simulator.catalogue import OUT_OF_SCOPE, Catalogue, Goal, Signature, Wording, fill, group_by_signature

_PLACE = re.compile(r"\{(\w+)\}")
TEST_SHARE = 0.25


@dataclass(frozen=True)
class Book:
    """One locale's TOML file as read."""

    locale: str
    intents: dict[str, list[Wording]]
    fillers: dict[str, list[str]]
    out_of_scope: list[str]
    cancel: list[str]


def parse_template(intent: str, template: str) -> Wording:
    """The wording of `wake me at {time}`."""
    parts = _PLACE.split(template)
    return Wording(intent, tuple(parts[::2]), tuple(parts[1::2]))


def locales() -> list[str]:
    """The locales that the phrasebook has."""
    found = (f.name for f in files("simulator").joinpath("phrasebook").iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


def read_book(locale: str) -> Book:
    """Read one locale's file, a few milliseconds.

    Raises:
        InputError: there is none; names those there are.
    """
    path = files("simulator").joinpath("phrasebook", f"{locale}.toml")
    if not path.is_file():
        raise InputError(f"the phrasebook has no {locale}; it has {', '.join(locales())}")
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    intents = {intent: [parse_template(intent, t) for t in found] for intent, found in raw["intents"].items()}
    return Book(raw["locale"], intents, raw["fillers"], raw["out_of_scope"], raw["cancel"])


def _split(items: dict[Signature, list[Wording]], rng: np.random.Generator) -> set[Wording]:
    """A quarter of one intent's wordings, shared out over its signatures; each keeps two for its users."""
    total = sum(len(ways) for ways in items.values())
    queues = [list(rng.permutation(len(ways))[: max(len(ways) - 2, 0)]) for ways in items.values()]
    chosen: set[Wording] = set()
    while len(chosen) < round(TEST_SHARE * total) and any(queues):
        # the signature that is furthest behind its quarter gives the next one
        behind = [
            (sum(w in chosen for w in ways) / len(ways) if queue else 2.0)
            for ways, queue in zip(items.values(), queues, strict=True)
        ]
        place = int(np.argmin(behind))
        chosen.add(list(items.values())[place][queues[place].pop()])
    return chosen


class Phrasebook(Catalogue):
    """The phrasebook of a target locale, with gold of the source locale.

    Args:
        seed: draws popularity, the test templates and the fillings.
        source: the mature locale.
        target: the locale that users speak.
        fillings: how often each template is filled for train gold, duplicates left out;
            dev and test gold take a sixth of it.

    Raises:
        InputError: no phrasebook of a locale, or a bad size.
    """

    def __init__(self, seed: int = 0, source: str = "en-US", target: str = "es-ES", *, fillings: int = 60) -> None:
        if fillings < 1:
            raise InputError(f"fillings is {fillings}: give at least 1")
        self.seed, self.fillings = seed, fillings
        self._books = {locale: read_book(locale) for locale in dict.fromkeys((source, target))}
        self._test = {locale: self._test_wordings(book) for locale, book in self._books.items()}
        self._gold: dict[tuple[str, str], list[Annotated]] = {}
        book, rng = self._books[target], self._rng(target, 1)
        spoken = group_by_signature(w for ways in book.intents.values() for w in ways if w not in self._test[target])
        order = rng.permutation(len(spoken))
        popular = [list(spoken.items())[i] for i in order]
        wordings = {signature: [ways[i] for i in rng.permutation(len(ways))] for signature, ways in popular}
        ranked = {name: [found[i] for i in rng.permutation(len(found))] for name, found in book.fillers.items()}
        values = {(intent, name): ranked[name] for intent, names in wordings for name in names}
        super().__init__(target, source, wordings, values, self._out_of_scope(target, "train"), [*book.cancel])

    def _rng(self, locale: str, purpose: int) -> np.random.Generator:
        # One stream a locale and purpose: nothing in the order of one locale's draws tells of the other's.
        return np.random.default_rng([self.seed, purpose, *locale.encode()])

    def _test_wordings(self, book: Book) -> frozenset[Wording]:
        rng = self._rng(book.locale, 2)
        chosen = [_split(group_by_signature(ways), rng) for ways in book.intents.values()]
        return frozenset().union(*chosen)

    def _out_of_scope(self, locale: str, partition: str) -> list[str]:
        found = self._books[locale].out_of_scope
        order = [found[i] for i in self._rng(locale, 3).permutation(len(found))]
        tested = round(TEST_SHARE * len(order))
        return order[:tested] if partition == "test" else order[tested:]

    def test_wordings(self, locale: str) -> frozenset[Wording]:
        """The templates that no user speaks."""
        return self._test[locale]

    def gold(self, locale: str, partition: str = "train") -> list[Annotated]:
        """See `Catalogue.gold`. Sampled fillings, no duplicates; dev shares templates with train, not texts.

        Out-of-scope utterances come along under their own intent (dev has none). A second the first time.
        """
        if locale not in self._books or partition not in PARTITIONS:
            raise InputError(
                f"no {partition} gold of {locale}: locales are {', '.join(sorted(self._books))}, "
                f"partitions {', '.join(PARTITIONS)}"
            )
        if (locale, partition) not in self._gold:
            self._gold[(locale, partition)] = self._fill(locale, partition)
        return list(self._gold[(locale, partition)])

    def _fill(self, locale: str, partition: str) -> list[Annotated]:
        book, taken = self._books[locale], set()
        if partition == "dev":
            taken = {row.utterance for row in self.gold(locale, "train")}
        rng = self._rng(locale, 4 + PARTITIONS.index(partition))
        each = self.fillings if partition == "train" else max(1, self.fillings // 6)
        rows = []
        for intent, ways in book.intents.items():
            for wording in ways:
                if (wording in self._test[locale]) != (partition == "test"):
                    continue
                for _ in range(each):
                    values = sorted((name, str(rng.choice(book.fillers[name]))) for name in wording.names)
                    row = fill(wording, Goal(intent, tuple(values)), locale, partition)
                    if row.utterance not in taken:
                        taken.add(row.utterance)
                        rows.append(row)
        if partition != "dev":
            unserved = Interpretation(OUT_OF_SCOPE)
            rows += [Annotated(t, locale, unserved, partition) for t in self._out_of_scope(locale, partition)]
        return rows
