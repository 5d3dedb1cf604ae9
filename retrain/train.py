"""Training: pretrain on the mature language's gold, fine-tune on what the launch language has.

Transfer after Upadhyay et al. 2018 and the joint transfer of section 9.2 of the design: every layer
transfers, the vocabulary grows by the launch language's words, and a rehearsal share of source gold keeps
the tagger from forgetting (Ratcliff 1990; Chaudhry et al. 2019: a small replayed sample suffices).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from retrain.code_switching import code_switched
from retrain.data import (
    Example,
    Pair,
    fingerprint,
    in_stable_order,
    of_split,
    read_gold,
    read_pairs,
    read_snapshot,
    read_translations,
)
from retrain.encoder import SubwordVectors
from retrain.evaluate import Metrics, evaluate
from retrain.fit import MIN_DEV, Progress, Schedule, fit, reproducible
from retrain.lexicon import BilingualLexicon, read_lexicon
from retrain.model import Architecture, Network, grow
from retrain.plan import Plan
from retrain.predictor import TorchPredictor
from retrain.substitution import fillers_of, substituted
from retrain.temperature import fitted_temperature
from retrain.vocabulary import Vocabulary
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import Settings

# Settings of what comes after pretraining.
_AFTERWARDS = frozenset(
    {"max_per_cluster", "head_share", "finetune_epochs", "max_seen", "substitution", "code_switching", "gold_weight",
     "forgiving", "contested", "consistency"}
)  # fmt: skip
_SOURCES = (
    "bio.py",
    "data.py",
    "vocabulary.py",
    "encoder.py",
    "batches.py",
    "lexicon.py",
    "code_switching.py",
    "model.py",
    "consistency.py",
    "fit.py",
    "substitution.py",
    "plan.py",
    "train.py",
)


@dataclass(frozen=True)
class TrainedModel:
    """A model and what it came from. `dev`: its figures on the target's dev rows, None below 30 of them."""

    predictor: TorchPredictor
    locale: str
    snapshot_id: str
    examples: int
    seconds: float
    run_id: str
    parameters: dict[str, str] = field(default_factory=dict)
    dev: Metrics | None = None


def _code() -> str:
    here = Path(__file__).parent
    return hashlib.blake2b(b"".join((here / name).read_bytes() for name in _SOURCES), digest_size=8).hexdigest()


def _key(settings: Settings, *parts: object, besides: frozenset[str] = frozenset()) -> str:
    training = settings.training.model_dump(mode="json", exclude={"gold", *besides})
    said = json.dumps([_code(), torch.__version__, settings.seed, training, [str(p) for p in parts]])
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


def _architecture(settings: Settings, encoder: SubwordVectors | None) -> Architecture:
    t = settings.training
    return Architecture(t.word_dimensions, t.char_dimensions, t.hidden, t.dropout, encoder.dimensions if encoder else 0)


def pretrain(
    settings: Settings,
    examples: Sequence[Example],
    *,
    encoder: SubwordVectors | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    epochs: int | None = None,
) -> TorchPredictor:
    """Train from scratch on the mature language's gold; the best epoch by its own dev rows.

    Args:
        examples: train and dev rows.
        cache: folder (the lake's registry) that keeps the model under a hash of code, data, settings, seed
        and
            encoder: a second call with the same loads it.

    Raises:
        InputError: no training rows.

    Cost: as `fit`'s, 1.7 ms a row and epoch on one core without AVX-512.
    """
    rows = in_stable_order(of_split(examples, "train"))
    dev = in_stable_order(of_split(examples, "dev"))
    if not rows:
        raise InputError(
            f"no training rows in {settings.training.source_locale}: name its MASSIVE-format file in training.gold"
        )
    epochs = epochs or settings.training.pretrain_epochs
    kept = None
    if cache is not None:
        space = encoder.fingerprint if encoder else "none"
        key = _key(settings, fingerprint([*rows, *dev]), epochs, space, besides=_AFTERWARDS)
        kept = cache / "pretrained" / key
        if (kept / "config.json").is_file():
            return TorchPredictor.load(kept)
    t = settings.training
    with reproducible(settings.seed, t.threads):
        vocabulary = Vocabulary().grown(rows)
        network = Network(_architecture(settings, encoder), vocabulary)
        schedule = Schedule(epochs, t.batch_size, t.learning_rate)
        fit(network, vocabulary, encoder, lambda _: rows, dev, schedule, settings.seed, "pretrain", progress)
        predictor = TorchPredictor(network, vocabulary, encoder, version="pretrained", locale=t.source_locale)
        predictor.temperature = fitted_temperature(predictor, dev)
    if kept is not None:
        building = kept.with_name(f"{kept.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        predictor.save(building)
        shutil.rmtree(kept, ignore_errors=True)
        building.replace(kept)
    return predictor


def lexicon_of(
    settings: Settings,
    locale: str,
    source: Sequence[Example],
    mined: Mapping[str, Sequence[tuple[str, float]]] | None = None,
) -> BilingualLexicon | None:
    """What `encoder.parallel` and a snapshot say of the launch locale's words; None where code-switching is off or
    there are none.

    Args:
        source: examples of the mature language, by which its side of the parallel text is known.
        mined: translations that the snapshot has, in place of those of parallel text.

    Raises:
        InputError: a file is missing or not in the format.
    """
    if not settings.training.code_switching or locale == settings.training.source_locale:
        return None
    spoken = (e.utterance for e in of_split(source, "train"))
    return read_lexicon(settings.encoder.parallel, locale, spoken).revised(mined or {}) or None


def finetune(
    settings: Settings,
    start: TorchPredictor,
    target: Sequence[Example],
    *,
    source: Sequence[Example] = (),
    locale: str | None = None,
    progress: Progress | None = None,
    epochs: int | None = None,
    pairs: Sequence[Pair] = (),
    lexicon: BilingualLexicon | None = None,
) -> TorchPredictor:
    """Fine-tune a copy of `start` on the launch locale's rows, gold and weighted pseudo-labels, beside a
    rehearsal sample of `source` that is drawn anew each epoch. `start` is not changed.

    `Plan` says for how long. With a `lexicon` each epoch also shows `source` in words of the launch language
    (`training.code_switching`), drawn anew. `pairs` are wordings of the locale that say the same
    (`retrain.consistency`), whatever they say; they are read where `training.consistency` is above 0.

    Raises:
        InputError: no target training rows, and no lexicon.
    """
    t = settings.training
    rehearsed, dev = in_stable_order(of_split(source, "train")), in_stable_order(of_split(target, "dev"))
    plan = Plan.of(settings, target, source, lexicon if locale else None, epochs)
    rows, switching = plan.rows, plan.switching
    if not rows and not switching:
        raise InputError(f"no training rows in {locale or 'the launch locale'}")
    pairs = pairs if t.consistency else ()

    fillers = fillers_of([*of_split(target, "train"), *rehearsed])

    def switched(many: int, random: np.random.Generator) -> list[Example]:
        if lexicon is None or locale is None or not many:
            return []
        of = sorted(random.permutation(len(rehearsed))[:many])
        return [code_switched(rehearsed[i], lexicon, locale, random) for i in of]

    def epoch(random: np.random.Generator) -> list[Example]:
        chosen = random.permutation(len(rehearsed))[: plan.sample]
        shown = rows + [rehearsed[i] for i in sorted(chosen)] + switched(switching, random)
        return [substituted(e, fillers, t.substitution, random) for e in shown] if t.substitution else shown

    with reproducible(settings.seed, t.threads):
        others = [text for pair in pairs for text in (pair.left, pair.right)]
        if switching and lexicon:
            once = switched(len(rehearsed), np.random.default_rng(settings.seed))
            others += [*lexicon.target_words, *(e.utterance for e in once)]
        vocabulary = start.vocabulary.grown(rows, others)
        network = grow(start.network, vocabulary)
        fit(network, vocabulary, start.encoder, epoch, dev, plan.schedule, settings.seed, "finetune", progress, pairs)
        predictor = TorchPredictor(network, vocabulary, start.encoder, locale=locale)
        if len(dev) < MIN_DEV and switching and lexicon and locale:
            random = np.random.default_rng(settings.seed)
            dev = [code_switched(e, lexicon, locale, random) for e in in_stable_order(of_split(source, "dev"))]
        predictor.temperature = fitted_temperature(predictor, dev) if len(dev) >= MIN_DEV else start.temperature
    return predictor


def supervised(
    settings: Settings,
    examples: Sequence[Example],
    *,
    encoder: Path | str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    epochs: int | None = None,
) -> TorchPredictor:
    """The ceiling: the same model pretrained and fine-tuned on all the gold that is given."""
    t = settings.training
    source = [e for e in examples if e.locale == t.source_locale]
    target = [e for e in examples if e.locale != t.source_locale]
    vectors = SubwordVectors(encoder) if encoder else None
    start = pretrain(settings, source, encoder=vectors, cache=cache, progress=progress)
    if not of_split(target, "train"):
        return start
    locale = target[0].locale
    lexicon = lexicon_of(settings, locale, source)
    return finetune(
        settings, start, target, source=source, locale=locale, progress=progress, epochs=epochs, lexicon=lexicon
    )


def train(
    settings: Settings,
    lake: Lake,
    *,
    snapshot_id: str | None = None,
    encoder: Path | str | None = None,
    progress: Progress | None = None,
    epochs: int | None = None,
) -> TrainedModel:
    """Train the launch locale's model.

    Without a snapshot this is the launch model: source-locale gold pretrains it and whatever gold
    `training.gold` has in `settings.locale` are its seed labels; parallel text of the locale in
    `encoder.parallel` gives a lexicon, and the source's gold in its words. With neither it is the pretrained
    model, zero-shot. With a snapshot its rows of the launch locale fine-tune the same pretrained model, never
    the last champion: a nightly chain of fine-tunings would remember every mistake it ever learnt.

    Args:
        encoder: a sentence-transformers folder with a StaticEmbedding, or None.
        epochs: of fine-tuning, instead of `training.finetune_epochs` and its adaption to the number of rows.

    Raises:
        InputError: no launch locale in the settings, no gold of the source locale, no such snapshot or
        encoder.
    """
    began = time.monotonic()
    locale, t = settings.locale, settings.training
    if locale is None:
        raise InputError("no launch locale: set `locale` in sayagain.toml, or give --locale")
    vectors = SubwordVectors(encoder) if encoder else None
    gold = read_gold(t.gold)
    rows = gold if snapshot_id is None else read_snapshot(lake, snapshot_id, ("train", "dev"))
    source = [e for e in gold if e.locale == t.source_locale] or [e for e in rows if e.locale == t.source_locale]
    target = [e for e in rows if e.locale == locale]
    paired = read_pairs(lake, snapshot_id) if snapshot_id is not None and t.consistency else []
    pairs = [pair for pair in paired if pair.locale == locale]
    start = pretrain(settings, source, encoder=vectors, cache=lake.registry, progress=progress)
    if locale == t.source_locale and snapshot_id is None:
        target = []
    mined = read_translations(lake, snapshot_id, locale) if snapshot_id is not None else {}
    lexicon, planned = lexicon_of(settings, locale, source, mined), {}
    if of_split(target, "train") or lexicon:
        beside = [] if locale == t.source_locale else source
        planned = Plan.of(settings, target, beside, lexicon, epochs).parameters()
        predictor = finetune(
            settings,
            start,
            target,
            source=beside,
            locale=locale,
            progress=progress,
            epochs=epochs,
            pairs=pairs,
            lexicon=lexicon,
        )
    else:
        predictor = TorchPredictor(
            start.network, start.vocabulary, start.encoder, locale=locale, temperature=start.temperature
        )
    judges = [e.annotated for e in of_split(target, "dev") if e.slots is not None]
    used = of_split(target, "train") or of_split(source, "train")
    data = fingerprint([*source, *target])
    words = lexicon.fingerprint if lexicon else "none"
    return TrainedModel(
        predictor,
        locale,
        snapshot_id or f"gold-{data}",
        len(used),
        time.monotonic() - began,
        _key(settings, data, locale, epochs, vectors.fingerprint if vectors else "none", words, *pairs),
        {
            "locale": locale,
            "seed": str(settings.seed),
            "encoder": vectors.fingerprint if vectors else "none",
            "target_rows": str(len(of_split(target, "train"))),
            "source_rows": str(len(of_split(source, "train"))),
            "pairs": str(len(pairs)),
            "lexicon": str(len(lexicon) if lexicon else 0),
            "translations": str(len(mined) if lexicon else 0),
            **{f"parallel_{name}": str(n) for name, n in (lexicon.counts if lexicon else {}).items()},
            **planned,
            **{k: str(v) for k, v in t.model_dump(mode="json", exclude={"gold"}).items()},
        },
        evaluate(predictor, judges) if len(judges) >= MIN_DEV else None,
    )
