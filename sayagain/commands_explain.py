"""`sayagain explain`: why a pair is believed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sayagain.show import console, metric_rows


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(explain)


def explain(
    context: typer.Context, pair_id: Annotated[str, typer.Argument(help="As in the table rephrase_pairs.")]
) -> None:
    """Why a pair is believed: the waterfall of its match weights, and the session around it."""
    import pyarrow.compute as pc

    from schemas.errors import InputError
    from schemas.lake import Lake

    lake = Lake(context.obj.settings().lake).open()

    def rows(table: str, column: str, value: str) -> list[dict[str, Any]]:
        return lake.rows(table, where=pc.field(column) == value)

    found = rows("rephrase_pairs", "pair_id", pair_id)
    if not found:
        raise InputError(f"no pair {pair_id} in {lake.path}: `sayagain inspect` lists them")
    pair = found[0]
    console.print(f'\n[bold]"{pair["source_utterance"]}"[/bold] -> [bold]"{pair["target_utterance"]}"[/bold]')
    console.print(
        f"{pair['kind']}, {pair['locale']}, {pair['gap_seconds']:.1f} s and {pair['steps']} turns apart; posterior "
        f"{pair['posterior']:.4f}, that no turn of the session was meant instead {pair['none_posterior']:.4f}"
    )
    metric_rows("Match weights, in bits", ("evidence", "level", "weight", "sum"), waterfall(pair["features"]))
    session = sorted(rows("turns", "session_id", pair["session_id"]), key=lambda t: t["position"])
    marks = {pair["source"]: "source", pair["target"]: "target"}
    lines = [
        (
            marks.get(turn["interaction_id"], ""),
            f"{turn['occurred_at']:%H:%M:%S}",
            turn["utterance"],
            (turn["interpretation"] or {}).get("intent") or "",
            turn["response"],
            f"{turn['friction']:.3f}",
        )
        for turn in session
    ]
    metric_rows("The session", ("", "UTC", "said", "understood", "response", "friction"), lines)


def waterfall(features: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Each piece of evidence with its weight and the sum so far, in bits."""
    lines, total = [], 0.0
    for feature in features:
        total += feature["weight"]
        lines.append((feature["name"], feature["level"], f"{feature['weight']:+.2f}", f"{total:+.2f}"))
    return lines
