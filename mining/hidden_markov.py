"""Messages and the best path of a hidden Markov model with its own transitions at every step, many sequences at once.

Source: Rabiner 1989, "A Tutorial on Hidden Markov Models". B sequences of at most L steps, K states; row 0 of the
transitions into the first step is the start. All O(B L K^2) time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def forward(emitted: Floats, moves: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Scaled forward messages (B, L, K) and log-likelihoods (B,)."""
    peak = emitted.max(-1, keepdims=True)
    likely = np.exp(emitted - peak)
    messages = np.zeros_like(emitted)
    total = np.zeros(len(emitted))
    alpha = moves[:, 0, 0] * likely[:, 0]
    for i in range(emitted.shape[1]):
        if i:
            alpha = np.where(mask[:, i, None], np.einsum("bk,bkj->bj", alpha, moves[:, i]) * likely[:, i], alpha)
        scale = np.maximum(alpha.sum(-1, keepdims=True), 1e-300)
        alpha = alpha / scale
        total += np.where(mask[:, i], np.log(scale[:, 0]) + peak[:, i, 0], 0.0)
        messages[:, i] = alpha
    return messages, total


def backward(emitted: Floats, moves: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Backward messages (B, L, K), each scaled to sum to one, and the likelihoods that they were scaled with."""
    likely = np.exp(emitted - emitted.max(-1, keepdims=True))
    b, length, k = emitted.shape
    messages = np.ones((b, length, k)) / k
    for i in range(length - 2, -1, -1):
        beta = np.einsum("bkj,bj->bk", moves[:, i + 1], likely[:, i + 1] * messages[:, i + 1])
        beta = beta / np.maximum(beta.sum(-1, keepdims=True), 1e-300)
        messages[:, i] = np.where(mask[:, i + 1, None], beta, 1.0 / k)
    return messages, likely


def best(emitted: Floats, moves: Floats, mask: NDArray[np.bool_]) -> tuple[Ints, Floats]:
    """Viterbi paths (B, L) and their joint log-probabilities (B,)."""
    log_moves = np.log(moves + 1e-300)
    b, length, k = emitted.shape
    alpha = log_moves[:, 0, 0] + emitted[:, 0]
    back = np.zeros((b, length, k), np.int64)
    for i in range(1, length):
        through = alpha[:, :, None] + log_moves[:, i]
        best = through.max(1) + emitted[:, i]
        on = mask[:, i, None]
        back[:, i] = np.where(on, through.argmax(1), np.arange(k))
        alpha = np.where(on, best, alpha)
    paths = np.zeros((b, length), np.int64)
    paths[:, -1] = alpha.argmax(1)
    for i in range(length - 1, 0, -1):
        paths[:, i - 1] = back[np.arange(b), i, paths[:, i]]
    return paths, alpha.max(1)
