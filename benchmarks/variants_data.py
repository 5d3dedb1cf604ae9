"""What the variants benchmark runs on: planted clusters, and utterances of MASSIVE with their signatures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mining.encoder import embed, load_encoder, train_embedded
from mining.positives import gold_positives, halves
from schemas.annotated import massive_file, read_annotated
from schemas.normalise import normalise

_TOPICS, _NEAR, _SPREAD, _LARGEST = 300, 0.9, 0.6, 200


class Sample(NamedTuple):
    """Texts, their unit vectors (n x dim, float32) and the number of the group that each truly belongs to."""

    texts: list[str]
    vectors: NDArray[np.float32]
    truth: NDArray[np.int64]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def planted(rows: int, dimensions: int, seed: int) -> Sample:
    """Clusters around centres around topics, in random order.

    Sizes follow a Zipf law (exponent 1.6, at most 200), as wordings of requests do. Members of a cluster have a cosine
    of 0.74 with each other on average, centres of one topic 0.55: neighbours are not given away by a wide gap.
    """
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.zipf(1.6, size=rows), _LARGEST)
    sizes = sizes[: np.searchsorted(np.cumsum(sizes), rows) + 1]
    sizes[-1] -= sizes.sum() - rows
    scale = np.float32(1 / np.sqrt(dimensions))
    topics = _unit(rng.standard_normal((_TOPICS, dimensions), dtype=np.float32))
    centres = topics[rng.integers(0, _TOPICS, len(sizes))]
    centres = _unit(centres + _NEAR * scale * rng.standard_normal(centres.shape, dtype=np.float32))
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = np.empty((rows, dimensions), dtype=np.float32)
    for start in range(0, rows, 65_536):
        block = centres[truth[start : start + 65_536]]
        noise = rng.standard_normal(block.shape, dtype=np.float32)
        vectors[start : start + 65_536] = _unit(block + _SPREAD * scale * noise)
    return Sample([f"utterance {row}" for row in range(rows)], vectors, truth)


def gold_encoder(folder: Path, locales: list[str], out: Path, *, dimensions: int, epochs: int, seed: int) -> Path:
    """An embedded encoder as the pipeline trains it, on the annotated train partitions of MASSIVE's locales."""
    rows = [row for locale in locales for row in read_annotated(massive_file(folder, locale), ("train",))]
    pairs = [pair for draw in range(3) for pair in gold_positives(rows, seed=seed + draw)]
    texts = [normalise(row.utterance) for row in rows]
    return train_embedded(
        texts,
        pairs,
        out,
        first=halves(texts, seed=seed),
        dimensions=dimensions,
        vocabulary=16_000,
        epochs=epochs,
        batch_size=256,
        seed=seed,
    )


def massive(folder: Path, locale: str, partition: str, encoder: Path) -> Sample:
    """Distinct formulations of one partition with their signature (intent and slot types; the first seen wins)."""
    seen: dict[str, object] = {}
    for row in read_annotated(massive_file(folder, locale), (partition,)):
        seen.setdefault(normalise(row.utterance), row.signature)
    texts = sorted(text for text in seen if text)
    numbers = {signature: i for i, signature in enumerate(sorted({seen[t] for t in texts}))}  # type: ignore[type-var]
    truth = np.array([numbers[seen[text]] for text in texts], dtype=np.int64)
    return Sample(texts, embed(load_encoder(encoder), texts), truth)
