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


def best(emitted: Floats, moves: Floats, mask: NDArray[np.bool_], many: int = 1) -> tuple[Ints, Floats]:
    """The `many` best paths (B, many, L), best first, and their joint log-probabilities (B, many); -inf where there are
    fewer. O(B L K^2 many) time.

    Source: Seshadri and Sundberg 1994, "List Viterbi Decoding Algorithms with Applications" (the parallel form).
    """
    log_moves = np.log(moves + 1e-300)
    b, length, k = emitted.shape
    alpha = np.full((b, k, many), -np.inf)
    alpha[:, :, 0] = log_moves[:, 0, 0] + emitted[:, 0]
    back = np.zeros((b, length, k, many), np.int64)  # state x rank of the step before, as one number
    still = np.arange(k * many).reshape(k, many)
    for i in range(1, length):
        through = (alpha[:, :, :, None] + log_moves[:, i, :, None, :]).reshape(b, k * many, k)
        came = _largest(through.transpose(0, 2, 1), many)
        reached = np.take_along_axis(through.transpose(0, 2, 1), came, -1) + emitted[:, i, :, None]
        on = mask[:, i, None, None]
        back[:, i] = np.where(on, came, still)
        alpha = np.where(on, reached, alpha)
    ends = alpha.reshape(b, k * many)
    at = _largest(ends, many)
    scores = np.take_along_axis(ends, at, -1)
    paths = np.zeros((b, many, length), np.int64)
    for i in range(length - 1, -1, -1):
        paths[:, :, i] = at // many
        at = np.take_along_axis(back[:, i].reshape(b, k * many), at, -1)
    return paths, scores


def _largest(values: Floats, many: int) -> Ints:
    """Where the `many` largest of the last axis are, largest first; of equal ones the first."""
    if many == 1:
        return np.asarray(values.argmax(-1)[..., None])
    return np.asarray(np.argsort(-values, axis=-1, kind="stable")[..., :many])


def path_score(path: Ints, emitted: Floats, moves: Floats) -> float:
    """Joint log-probability of one sequence's path (n,), of its emissions (L, K) and transitions (L, K, K)."""
    steps = np.arange(len(path))
    before = np.concatenate([[0], path[:-1]])
    return float((np.log(moves[steps, before, path] + 1e-300) + emitted[steps, path]).sum())
