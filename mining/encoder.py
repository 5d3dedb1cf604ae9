"""The sentence encoder: any sentence-transformers model, or the embedded default that the project trains itself.

The embedded default is a `StaticEmbedding` (mean of token vectors) over a unigram tokenizer. Token vectors start as
random directions scaled by smooth inverse frequency (Arora et al., "A simple but tough-to-beat baseline for sentence
embeddings", ICLR 2017), which already gives a weighted bag-of-pieces cosine, and are then trained contrastively with
in-batch negatives (multiple negatives ranking, Henderson et al. 2017). Texts of one group (signature) are never each
other's negatives, which sentence-transformers' own loss cannot express: hence the short loop here. Its pieces are
`mining.pieces`, what it learns from is made in `mining.positives`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.pieces import train_tokenizer
from mining.positives import Positive
from schemas.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

_SIF = 1e-3
_TEMPERATURE = 0.05


def train_embedded(
    texts: Sequence[str],
    positives: Sequence[Positive],
    folder: Path,
    *,
    first: Sequence[Positive] = (),
    dimensions: int,
    vocabulary: int,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Path:
    """Train the embedded encoder and save it as an ordinary sentence-transformers folder.

    Args:
        texts: what the tokenizer and the token frequencies are learnt from, at least one.
        positives: pairs to pull together; none leaves the frequency-weighted start.
        folder: where to save; a bare `SentenceTransformer(folder)` loads it.
        first: weaker pairs (`mining.positives.halves`), learnt before the others for as many epochs; beside the others
            they would outweigh the few that are sure.

    Cost: O(epochs x pairs x (length + batch_size) x dimensions); memory vocabulary x dimensions x 16 bytes.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, StaticEmbedding

    # Sorted and unique: the pieces do not depend on the order in which Spark gave the texts.
    corpus = sorted(set(texts))
    tokenizer = train_tokenizer(corpus, vocabulary)
    size = tokenizer.get_vocab_size()
    counts = Counter(token for encoded in tokenizer.encode_batch(corpus) for token in encoded.ids)
    total = max(sum(counts.values()), 1)
    share = np.array([counts.get(token, 0) / total for token in range(size)])
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((size, dimensions)) / np.sqrt(dimensions)
    weights = torch.tensor(start * (_SIF / (_SIF + share))[:, None], dtype=torch.float32)
    for pairs in (first, positives):
        if pairs:
            weights = _contrast(tokenizer.encode_batch, weights, pairs, epochs, batch_size, seed)
    static = StaticEmbedding(tokenizer, embedding_weights=weights.numpy())
    model = SentenceTransformer(modules=[static, Normalize()], device="cpu")
    folder.parent.mkdir(parents=True, exist_ok=True)
    model.save(str(folder), create_model_card=False)
    (folder / "README.md").write_text(
        _card(len(corpus), len(first), len(positives), size, dimensions, seed), encoding="utf-8"
    )
    return folder


def _contrast(
    encode: Callable[[list[str]], Sequence[Any]],
    weights: Tensor,
    positives: Sequence[Positive],
    epochs: int,
    batch_size: int,
    seed: int,
) -> Tensor:
    import torch

    left = [e.ids or [0] for e in encode([p.left for p in positives])]
    right = [e.ids or [0] for e in encode([p.right for p in positives])]
    against = [e.ids or [0] for e in encode([p.negative for p in positives])]
    group, has = torch.tensor([p.group for p in positives]), torch.tensor([bool(p.negative) for p in positives])
    table = torch.nn.Parameter(weights.clone())
    optimiser = torch.optim.Adam([table], lr=2e-3)
    draw = torch.Generator().manual_seed(seed)

    def embed(rows: list[list[int]]) -> Tensor:
        offsets = torch.tensor(np.cumsum([0, *(len(r) for r in rows[:-1])]))
        flat = torch.tensor([token for row in rows for token in row])
        bag = torch.nn.functional.embedding_bag(flat, table, offsets, mode="mean")
        return torch.nn.functional.normalize(bag, dim=1)

    for _ in range(epochs):
        order = torch.randperm(len(positives), generator=draw)
        for batch in torch.split(order, batch_size):
            rows = batch.tolist()
            a, b = embed([left[i] for i in rows]), embed([right[i] for i in rows])
            scores = a @ b.T / _TEMPERATURE
            groups = group[batch]
            same = (groups[:, None] == groups[None, :]) & (groups[:, None] >= 0)
            same.fill_diagonal_(False)
            scores = scores.masked_fill(same, float("-inf"))
            target = torch.arange(len(rows))
            loss = torch.nn.functional.cross_entropy(scores.T, target)
            if has[batch].any():
                hard = (a * embed([against[i] for i in rows])).sum(dim=1) / _TEMPERATURE
                scores = torch.cat([scores, hard.masked_fill(~has[batch], float("-inf"))[:, None]], dim=1)
            loss = loss + torch.nn.functional.cross_entropy(scores, target)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return table.detach()


def _card(texts: int, halved: int, positives: int, vocabulary: int, dimensions: int, seed: int) -> str:
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
---
# Embedded Sayagain encoder

A static embedding of {dimensions} dimensions over {vocabulary} unigram pieces, trained from {texts} formulations of
the lake, first from {halved} of them in halves, then from {positives} positive pairs (annotated utterances of one
signature, mined rephrases, parallel text where given). Seed {seed}.

`SentenceTransformer(path).encode(texts)` gives unit vectors.
"""


def load_encoder(
    name: str | Path, *, prompt: str = "", truncate: int | None = None, half: bool = False
) -> SentenceTransformer:
    """Load a sentence-transformers model by name or path; on the GPU where torch sees one.

    Args:
        name: folder, or name in the models' hub.
        prompt: put before every text; models trained with prompts want theirs.
        truncate: keep so many dimensions (for models trained so that a prefix suffices, Kusupati et al. 2022).
        half: 16-bit weights; what embeds on a CPU becomes slower, on a GPU faster.

    Raises:
        InputError: it cannot be loaded; says so and how to use the embedded one.
    """
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(
            str(name),
            truncate_dim=truncate,
            prompts={"sayagain": prompt} if prompt else None,
            default_prompt_name="sayagain" if prompt else None,
        )
    except (OSError, ValueError) as fault:
        raise InputError(
            f"encoder.model {str(name)!r} cannot be loaded as a sentence-transformers model "
            f"({str(fault).splitlines()[0]}); give a folder, or `embedded`"
        ) from None
    return model.half() if half else model


def embed(model: SentenceTransformer, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
    """Unit vectors of the texts: len(texts) x dimensions, float32.

    A batch that does not fit into the device's memory is tried again in halves.

    Raises:
        MemoryError: one text alone does not fit.
    """
    import torch

    if not texts:
        return np.zeros((0, model.get_embedding_dimension() or 0), dtype=np.float32)
    while True:
        try:
            vectors = model.encode(
                list(texts),
                batch_size=batch_size,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
            break
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise MemoryError("one text alone does not fit into the memory of the encoder's device") from None
            batch_size //= 2
    return np.ascontiguousarray(np.nan_to_num(vectors), dtype=np.float32)


def fingerprint(name: str | Path, prompt: str = "", truncate: int | None = None, half: bool = False) -> str:
    """What identifies the space that a model embeds into: a hash of its files, or of its name if it is no folder.

    Prompt, truncation and precision are part of it: each gives other vectors.
    """
    folder, content = Path(name), hashlib.blake2b(digest_size=8)
    if prompt or truncate is not None or half:
        content.update(f"{prompt}\x1f{truncate}\x1f{half}\x1f".encode())
    if not folder.is_dir():
        content.update(str(name).encode())
        return content.hexdigest()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".md"):
        content.update(str(path.relative_to(folder)).encode())
        content.update(path.read_bytes())
    return content.hexdigest()
