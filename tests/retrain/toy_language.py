"""A planted toy language, big enough to be learnt, small enough for seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrain.data import Example
from retrain.predictor import TorchPredictor
from retrain.train import TrainedModel
from schemas.annotated import parse_markup
from schemas.settings import Settings

PLACES = ("paris", "rome", "oslo", "berlin", "madrid", "lima")
TIMES = ("seven", "eight thirty", "noon", "half past two", "nine")
CYRILLIC = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абвгдежзийклмнопрстуфхцчшщ")
CARRIERS = {
    "weather_query": (
        "weather in [place : {p}]",
        "will it rain in [place : {p}] at [time : {t}]",
        "is it cold",
    ),
    "alarm_set": ("wake me at [time : {t}]", "set an alarm for [time : {t}] please", "alarm at [time : {t}]"),
    "music_play": ("play a song", "i want some music", "put on some jazz now"),
    "taxi_book": (
        "get a taxi to [place : {p}]",
        "book me a cab at [time : {t}] to [place : {p}]",
        "call a taxi",
    ),
}


def toy_settings(**training: object) -> Settings:
    """Small sizes and one thread: CPU-bound CI machines are slower with two."""
    sizes = {
        "word_dimensions": 32,
        "char_dimensions": 16,
        "hidden": 32,
        "batch_size": 16,
        "pretrain_epochs": 6,
        "finetune_epochs": 6,
        "learning_rate": 8e-3,
        "threads": 1,
    }
    return Settings(locale="xx-XX", training={**sizes, **training})  # type: ignore[arg-type]


def toy_rows(
    n: int, seed: int, locale: str = "en-US", split: str = "train", *, foreign: bool = False, **fields: object
) -> list[Example]:
    """Examples of four intents and two slot types; `foreign` spells every carrier word in Cyrillic."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        intent = str(random.choice(list(CARRIERS)))
        marked = str(random.choice(CARRIERS[intent]))
        marked = marked.format(p=random.choice(PLACES), t=random.choice(TIMES))
        if foreign:
            marked = " ".join(
                w if "[" in w or w == ":" or w.endswith("]") else w.translate(CYRILLIC) for w in marked.split(" ")
            )
        utterance, slots = parse_markup(marked)
        rows.append(Example(utterance, locale, intent, slots, split=split, **fields))  # type: ignore[arg-type]
    return rows


def snapshot_row(snapshot_id: str, number: int, example: Example) -> dict[str, object]:
    """A row of `training_sets`."""
    slots = None if example.slots is None else [vars(s) for s in example.slots]
    return {
        "snapshot_id": snapshot_id,
        "example_id": f"{number:06d}",
        "locale": example.locale,
        "split": example.split,
        "source": example.source,
        "utterance": example.utterance,
        "intent": example.intent,
        "intents": [{"intent": n, "probability": p} for n, p in example.intents] or None,
        "slots": slots,
        "tags": [list(may) for may in example.tags] or None,
        "weight": example.weight,
        "stratum": example.stratum,
        "group_id": example.group or str(number),
        "run_id": "r",
    }


def trained(model: TorchPredictor, snapshot: str = "s1") -> TrainedModel:
    return TrainedModel(model, "xx-XX", snapshot, 300, 1.5, "run", {"seed": "17"})


def worthless(model: TorchPredictor) -> TorchPredictor:
    """The model with its intents' names turned round: wrong wherever it was right."""
    names = model.vocabulary.intents
    return TorchPredictor(model.network, replace(model.vocabulary, intents=names[1:] + names[:1]))
