"""What a launch model knows before its first user, without a lexicon of the launch language and with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.loop import LoopOptions
from benchmarks.loop_metrics import difference_interval
from benchmarks.rounds import figures, of_loop, write_gold
from retrain.evaluate import Outcomes, outcomes
from retrain.lexicon import read_lexicon
from retrain.train import train
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import Settings
from simulator.massive import MassiveCatalogue

STARTS = ("annotations alone", "with a lexicon")


def run_launch(settings: Settings, options: LoopOptions, say: Callable[[str], None]) -> dict[str, Any]:
    """Train the launch model of one locale twice and score both on the test partition, which nothing else reads.

    Args:
        options: `massive`, `source`, `locale`, `seed_labels`, `parallel`, `sample` and the folder `out`, where the
            pretrained model is kept for all locales, are used.

    Returns:
        locale, seed, seed_labels, words of the lexicon, for each of `STARTS` the three metrics with their intervals,
        and the paired difference (95%, in fractions of 1).

    Raises:
        InputError: no parallel text is given, or none in the launch language.

    Cost: two trainings, one to four minutes each on two cores.
    """
    if not options.parallel:
        raise InputError("nothing to compare: give --parallel")
    book = MassiveCatalogue(options.massive, options.source, options.locale, options.sample, settings.seed)
    folder = options.out / "gold" / f"{options.locale}-{options.seed_labels}"
    gold = write_gold(book, folder, options.source, options.locale, options.seed_labels, settings.seed)
    lake = Lake(options.out / "lake").open(create=True)
    encoder = settings.encoder.model_copy(update={"parallel": options.parallel})
    chosen = of_loop(settings.model_copy(update={"encoder": encoder}), lake.path, options.source, options.locale, gold)
    test = book.gold(options.locale, "test")
    told: dict[str, Any] = {"locale": options.locale, "seed": settings.seed, "seed_labels": options.seed_labels}
    mature = (row.utterance for row in book.gold(options.source, "train"))
    told |= {"test_utterances": len(test), "words": len(read_lexicon(options.parallel, options.locale, mature))}
    if not told["words"]:
        raise InputError(f"--parallel has no text of {options.locale}'s language")
    found: dict[str, Outcomes] = {}
    for name, share in zip(STARTS, (0.0, settings.training.code_switching), strict=True):
        say(f"{options.locale}, {options.seed_labels} seed labels, {name}: training")
        training = chosen.training.model_copy(update={"code_switching": share})
        trained = train(chosen.model_copy(update={"training": training}), lake)
        found[name] = outcomes(trained.predictor, test)
        told[name] = figures(found[name], settings.seed)
    told["difference"] = difference_interval(found[STARTS[1]], found[STARTS[0]], settings.seed)
    return told
