"""The commands and their global flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sayagain import (
    commands_bench,
    commands_data,
    commands_decisions,
    commands_encoder,
    commands_explain,
    commands_labels,
    commands_loop,
    commands_models,
    commands_reports,
)

if TYPE_CHECKING:
    from schemas.settings import Settings

app = typer.Typer(
    name="sayagain",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    help="Self-learning for voice assistants: when users say it again, the wording that works labels the one that "
    "did not.\n\nSettings come from sayagain.toml, SAYAGAIN_* variables and flags, in rising order. "
    "Exit codes: 0 done, 1 failed, 2 bad input or settings, 3 refused by a gate.",
)


class Context:
    """Global flags, and the settings made from them when a command first asks."""

    def __init__(self, file: Path | None, flags: dict[str, Any]) -> None:
        self.file, self.flags = file, flags

    def settings(self, **more: Any) -> Settings:
        """The settings; every bad one is reported at once. `more` wins over the global flags."""
        from schemas.settings import load_settings

        return load_settings(self.flags | {k: v for k, v in more.items() if v is not None}, self.file)


@app.callback()
def _flags(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Settings file instead of ./sayagain.toml.")] = None,
    lake: Annotated[Path | None, typer.Option(help="Folder of the lake.")] = None,
    locale: Annotated[str | None, typer.Option(help="Launch locale, such as sw-KE.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting, such as labels.vote_floor=3."),
    ] = None,
) -> None:
    from schemas.errors import InputError

    flags: dict[str, Any] = {}
    for pair in set_ or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--set {pair}: expected NAME=VALUE, such as --set labels.vote_floor=3")
        flags[name.strip()] = value
    given = {"lake": lake, "locale": locale, "seed": seed}
    context.obj = Context(config, flags | {name: value for name, value in given.items() if value is not None})


commands_data.add_to(app)
commands_models.add_to(app)
commands_labels.add_to(app)
commands_explain.add_to(app)
bench = typer.Typer(no_args_is_help=True, help="Benchmarks: every published figure has its command here.")
commands_loop.add_to(bench)
commands_decisions.add_to(bench)
commands_reports.add_to(bench)
commands_bench.add_to(bench)
app.add_typer(bench, name="bench")
commands_encoder.add_to(app)
