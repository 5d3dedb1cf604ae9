"""Which users a challenger on trial serves. An assistant that runs trials divides its users as this does."""

from __future__ import annotations

import hashlib

_SIZE = 2**64


def on_trial(version: str, user_id: str, share: float) -> bool:
    """Whether the challenger serves this user while it is on trial.

    Args:
        version: of the challenger, `sayagain-<locale>/<n>`; another version draws other users.
        user_id: as the assistant knows it, before it becomes a pseudonym.
        share: of the users, 0 to 1 (`gate.trial_share`). Raising it keeps the users who are on trial.

    By the first eight bytes of SHA-256 over version, unit separator and user id, as a fraction of 2^64: a user stays
    with one model for the whole trial, and nobody has to store who is where.
    """
    first = hashlib.sha256(f"{version}\x1f{user_id}".encode()).digest()[:8]
    return int.from_bytes(first, "big") < share * _SIZE
