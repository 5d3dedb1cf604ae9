"""Errors a person can act on. The command line maps each to its exit code and prints no traceback for them."""


class InputError(Exception):
    """Bad input or settings: says what, where and what to do. Exit code 2."""


class RefusedError(Exception):
    """A data or model gate refused; nothing was published. Exit code 3."""
