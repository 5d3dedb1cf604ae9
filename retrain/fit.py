"""The training loop: seeded, deterministic, weights averaged; the best epoch is kept where enough rows judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils import deterministic

from retrain.batches import Encoded, Lexicon, batches, encode
from retrain.consistency import PAIRS_A_ROW, EncodedPairs
from retrain.data import Example, Pair
from retrain.encoder import SubwordVectors
from retrain.evaluate import Metrics, evaluate
from retrain.model import WORD_DROPOUT, WORD_DROPOUT_FLOOR, Network
from retrain.predictor import TorchPredictor
from retrain.vocabulary import Vocabulary

MIN_DEV = 30  # dev rows below which nothing is measured on them
# Dev rows that choose an epoch; with fewer the last is kept. The rate falls to nothing and weights are averaged, so the
# last is good, and a hundred mined rows in a few clusters chose the third of eight.
MIN_CHOICE = 500
MAX_DEV = 1000  # dev rows scored after an epoch
TAG_LOSS = 0.2  # weight of a tag sequence's loss beside the intent's
SMOOTHING = 0.05  # label smoothing of the intent
WARM_UP = 0.05  # share of the steps
CLIP = 5.0
AVERAGE = 0.995  # decay of the moving average of the weights a step (Polyak and Juditsky 1992)

Progress = Callable[[str, int, int, Metrics | None], None]  # stage, epoch done, epochs, dev metrics


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: epochs, batch size, peak learning rate (linear warm-up, cosine decay to 2% of
    it).
    """

    epochs: int
    batch_size: int
    learning_rate: float
    forgiving: float = 0.0  # q of the generalised cross entropy of mined intents; 0 is cross entropy
    consistency: float = 0.0  # weight of the losses of pairs beside those of examples
    words: float = 1.0  # weight of the tag loss of examples of which single words are known, beside whole sequences


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Seed torch, ask for deterministic kernels and a thread count; put all three back afterwards."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling every new tensor was a sixth of the time, and nothing here reads memory that it has not written.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.set_rng_state(before[2])


def generalised_cross_entropy(logits: Tensor, targets: Tensor, q: float) -> Tensor:
    """(1 - p^q) / q of the probability p that falls on the target: cross entropy as q goes to 0, mean absolute error
    at 1. A label that the model holds for very unlikely pulls less, which is what a wrong one should do.

    Source: Zhang and Sabuncu 2018, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
    Labels". Shapes (B, I), (B, I) -> (B,).
    """
    log_p = (logits.softmax(-1) * targets).sum(1).clamp_min(1e-30).log()
    return (1 - (q * log_p).exp()) / q


def _losses(
    network: Network,
    encoded: list[Encoded],
    pairs: EncodedPairs,
    lexicon: Lexicon,
    dropout: Tensor,
    schedule: Schedule,
    random: np.random.Generator,
    smoothing: float,
) -> Iterator[Tensor]:
    steps = math.ceil(len(encoded) / schedule.batch_size)
    portions = pairs.portions(steps, max(1, int(PAIRS_A_ROW * schedule.batch_size)), random)
    for (batch, targets), chosen in zip(batches(encoded, lexicon, schedule.batch_size, random), portions, strict=True):
        logits, scores = network(batch, dropout)
        of_intents = cross_entropy(logits, targets.intents, reduction="none", label_smoothing=smoothing)
        if schedule.forgiving and bool(targets.mined.any()):
            of_intents = torch.where(
                targets.mined, generalised_cross_entropy(logits, targets.intents, schedule.forgiving), of_intents
            )
        loss = (of_intents * targets.intent_weights).sum()
        if bool((targets.tag_weights > 0).any()):
            of_tags = network.tag_losses(scores, targets.tags, batch.mask, targets.partial)
            weights = targets.tag_weights
            if targets.partial is not None:
                weights = weights.index_copy(0, targets.partial.rows, schedule.words * weights[targets.partial.rows])
            loss = loss + TAG_LOSS * (of_tags * weights).sum()
        if len(chosen):
            loss = loss + schedule.consistency * pairs.losses(network, chosen, dropout).sum()
        yield loss / len(batch.lengths)


def fit(
    network: Network,
    vocabulary: Vocabulary,
    encoder: SubwordVectors | None,
    train: Callable[[np.random.Generator], Sequence[Example]],
    dev: Sequence[Example],
    schedule: Schedule,
    seed: int,
    stage: str = "train",
    progress: Progress | None = None,
    pairs: Sequence[Pair] = (),
) -> tuple[Network, list[Metrics]]:
    """Train in place; returns the averaged weights of the best epoch by dev exact match plus intent
    accuracy, or of the last where fewer than `MIN_CHOICE` rows judge, and the dev metrics of each epoch.

    Args:
        train: the examples of an epoch, drawn with the generator it is given.
        pairs: wordings that are pulled together, by `schedule.consistency`.

    Cost: 1.7 ms an example and epoch on one core without AVX-512 (the phrasebook's English, default sizes).
    """
    random = np.random.default_rng(seed)
    lexicon = Lexicon(vocabulary, encoder)
    pulled = EncodedPairs(pairs if schedule.consistency else (), lexicon)
    judges = [e.annotated for e in dev if e.slots is not None]
    judges = judges if len(judges) <= MAX_DEV else [judges[i] for i in random.permutation(len(judges))[:MAX_DEV]]
    counts = torch.tensor(vocabulary.counts, dtype=torch.float32)
    dropout = (WORD_DROPOUT / (WORD_DROPOUT + counts)).clamp_min(WORD_DROPOUT_FLOOR)
    optimiser = torch.optim.Adam(network.parameters(), lr=schedule.learning_rate, fused=True)
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    steps_an_epoch = math.ceil(len(train(np.random.default_rng(seed))) / schedule.batch_size)
    total, step = max(1, steps_an_epoch * schedule.epochs), 0
    best, best_state, history = -1.0, None, []
    for epoch in range(schedule.epochs):
        network.train()
        encoded = encode(train(random), vocabulary, lexicon)
        for loss in _losses(network, encoded, pulled, lexicon, dropout, schedule, random, SMOOTHING):
            rate = min(1.0, (step + 1) / (WARM_UP * total + 1))
            rate *= 0.02 + 0.98 * (1 + math.cos(math.pi * min(1.0, step / total))) / 2
            for group in optimiser.param_groups:
                group["lr"] = schedule.learning_rate * rate
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimiser.step()
            step += 1
            decay = min(AVERAGE, step / (step + 10))  # early averages must not remember the first weights
            now = network.state_dict()
            torch._foreach_lerp_(list(average.values()), [now[k] for k in average], 1 - decay)
        metrics = None
        if len(judges) >= MIN_DEV:
            judge = Network(network.architecture, vocabulary)
            judge.load_state_dict(average)
            metrics = evaluate(TorchPredictor(judge, vocabulary, encoder), judges)
            history.append(metrics)
            if len(judges) >= MIN_CHOICE and metrics.exact_match + metrics.intent_accuracy > best:
                best = metrics.exact_match + metrics.intent_accuracy
                best_state = {k: v.clone() for k, v in average.items()}
        if progress is not None:
            progress(stage, epoch + 1, schedule.epochs, metrics)
    network.load_state_dict(best_state or average)
    return network.eval(), history
