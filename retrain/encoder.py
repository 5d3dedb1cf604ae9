"""Word vectors from a sentence encoder's folder, so that words of a language the tagger never saw have a
place.

Reads a sentence-transformers folder whose first module is a StaticEmbedding (one vector a subword; a text
is their mean) with `tokenizers` and `safetensors` alone: neither torch nor sentence-transformers is loaded
for it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schemas.errors import InputError

TOKENIZER, WEIGHTS = "tokenizer.json", "model.safetensors"


def _folder_with_weights(folder: Path) -> Path:
    for candidate in (folder, *sorted(p for p in folder.glob("*") if p.is_dir())):
        if (candidate / TOKENIZER).is_file() and (candidate / WEIGHTS).is_file():
            return candidate
    raise InputError(
        f"no StaticEmbedding in {folder}: expected {TOKENIZER} and {WEIGHTS} in it or one folder below; "
        "train one with the step `encoder`, or train without an encoder"
    )


class SubwordVectors:
    """Vectors of words: the mean of their subwords' vectors, scaled so that a component has unit variance.

    Args:
        folder: the encoder, or a folder that `save` wrote.

    Raises:
        InputError: the folder holds no StaticEmbedding.
    """

    def __init__(self, folder: Path | str) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._folder = _folder_with_weights(Path(folder))
        tensors = load_file(self._folder / WEIGHTS)
        matrices = [t for name, t in sorted(tensors.items()) if t.ndim == 2]
        if len(matrices) != 1:
            raise InputError(f"{self._folder / WEIGHTS} holds {len(matrices)} matrices; a StaticEmbedding holds one")
        table = matrices[0].astype(np.float32)
        self._table = table / max(float(table.std()), 1e-6)
        self._tokenizer = Tokenizer.from_file(str(self._folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self._table.shape[1])

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the tokenizer and the weights."""
        digest = hashlib.blake2b(digest_size=8)
        for name in (TOKENIZER, WEIGHTS):
            digest.update((self._folder / name).read_bytes())
        return digest.hexdigest()

    def vectors(self, words: Sequence[str]) -> np.ndarray:
        """float32 (words, dimensions); a word without a subword is zero. O(characters)."""
        out = np.zeros((len(words), self.dimensions), np.float32)
        for i, coded in enumerate(self._tokenizer.encode_batch(list(words), add_special_tokens=False)):
            if coded.ids:
                out[i] = self._table[coded.ids].mean(0)
        return out

    def save(self, folder: Path) -> None:
        """Copy what is needed to make the same vectors again."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in (TOKENIZER, WEIGHTS):
            shutil.copyfile(self._folder / name, folder / name)
