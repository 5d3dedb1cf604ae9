"""The secret that turns user ids into pseudonyms: where it lies, and that it stays the same for a lake."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import IngestSettings


def key_file(lake: Lake) -> Path:
    """Where a lake's key lies if no setting gives one: beside the lake, so that a copy of one is not both."""
    path = lake.path.absolute()
    return path.with_name(f"{path.name}.key")


def pseudonym_key(lake: Lake, settings: IngestSettings) -> tuple[bytes, str]:
    """The HMAC key of a lake's pseudonyms, and its fingerprint.

    Taken from `ingest.pseudonym_key`, else from the key file, which is made for a lake that has no rows yet.

    Raises:
        InputError: the key is missing, empty, or another than the one the lake was filled with.
    """
    last = lake.manifest("ingest")
    known = last.details.get("key_fingerprint") if last else None
    path, source = key_file(lake), "the setting ingest.pseudonym_key"
    if settings.pseudonym_key is not None:
        text = settings.pseudonym_key.get_secret_value()
    else:
        source = str(path)
        if not path.exists():
            if known:
                raise InputError(
                    f"the pseudonym key of the lake at {lake.path} is gone: restore {path}, or give "
                    "ingest.pseudonym_key; a new key would make every user two voters"
                )
            _make_key(path)
        try:
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise InputError(f"cannot read the pseudonym key {path}: {fault}") from None
    if not text:
        raise InputError(f"{source} is empty: give a secret of at least 16 characters")
    key = text.encode()
    fingerprint = hashlib.blake2b(key, digest_size=8, person=b"fingerprint").hexdigest()
    if known and known != fingerprint:
        raise InputError(
            f"{source} is not the key that the lake at {lake.path} was filled with: a changed key would make "
            "every user two voters; restore the old key, or fill a new lake"
        )
    return key, fingerprint


def _make_key(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_hex(32) + "\n")
        try:
            os.link(temporary, path)  # unlike a rename, never replaces a key that another run made meanwhile
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    except OSError as fault:
        raise InputError(f"cannot write the pseudonym key {path} ({fault.strerror}): fix the folder's mode") from None
