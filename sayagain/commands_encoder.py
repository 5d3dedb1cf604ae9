"""Commands about the sentence encoder: encoder train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sayagain.show import console, working

encoder = typer.Typer(no_args_is_help=True, help="The sentence encoder.")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(encoder, name="encoder")


@encoder.callback()
def _group() -> None:
    """A group of one command stays a group."""


@encoder.command()
def train(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="Folder to make; SentenceTransformer(FOLDER) loads it.")],
    gold: Annotated[
        list[Path] | None, typer.Option(help="MASSIVE-format file; its train partition is learnt. May be repeated.")
    ] = None,
    parallel: Annotated[
        list[Path] | None,
        typer.Option(help="TSV file (sentence, tab, translation) or Tatoeba folder. May be repeated."),
    ] = None,
) -> None:
    """Train the embedded encoder from annotated and parallel text.

    Size and epochs are the settings encoder.dimensions, encoder.vocabulary, encoder.epochs and encoder.batch_size;
    encoder.model = FOLDER then makes the pipeline use it.
    """
    settings = context.obj.settings()
    from mining.encoder import fingerprint, train_embedded
    from mining.positives import Positive, gold_positives, halves
    from schemas.annotated import read_annotated
    from schemas.errors import InputError
    from schemas.normalise import normalise
    from schemas.parallel import read_parallel

    if out.exists():
        raise InputError(f"{out} exists: give a new folder")
    rows = [row for path in gold or settings.training.gold for row in read_annotated(path, ("train",))]
    same = gold_positives(rows, seed=settings.seed)
    translated = [
        Positive(normalise(left), normalise(right))
        for path in parallel or settings.encoder.parallel
        for left, right in read_parallel(path)
    ]
    if not rows and not translated:
        raise InputError("nothing to learn from: give --gold or --parallel (or training.gold, encoder.parallel)")
    texts = [normalise(row.utterance) for row in rows]
    texts += [text for pair in translated for text in (pair.left, pair.right)]
    halved = halves(texts, seed=settings.seed)
    chosen = settings.encoder
    with working(f"{len(same) + len(translated) + len(halved):,} pairs"):
        train_embedded(
            texts, [*same, *translated], out, first=halved, dimensions=chosen.dimensions, vocabulary=chosen.vocabulary,
            epochs=chosen.epochs, batch_size=chosen.batch_size, seed=settings.seed,
        )  # fmt: skip
    console.print(
        f"encoder          [green]done[/green]  {out}: {len(same):,} pairs of one signature, "
        f"{len(translated):,} translations, {len(halved):,} halved texts, fingerprint {fingerprint(out)}",
        soft_wrap=True,
    )
