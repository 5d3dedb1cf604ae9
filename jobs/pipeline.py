"""All mining steps in order."""

from __future__ import annotations

from collections.abc import Iterator

from jobs import (
    encoder,
    pseudo_labels,
    reformulations,
    rephrase_edges,
    rephrase_pairs,
    training_sets,
    turns,
    utterances,
    variant_clusters,
    variant_edges,
)
from jobs.lake import Result, Step, run_step
from schemas.lake import Lake
from schemas.settings import Settings

STEPS: dict[str, Step] = {
    module.STEP.name: module.STEP
    for module in (
        turns,
        rephrase_pairs,
        rephrase_edges,
        encoder,
        utterances,
        variant_edges,
        variant_clusters,
        reformulations,
        pseudo_labels,
        training_sets,
    )
}


def mine(lake: Lake, settings: Settings, only: str | None = None) -> Iterator[Result]:
    """Run the mining steps (or one of them), giving each result as it is done."""
    for step in [STEPS[only]] if only else STEPS.values():
        yield run_step(step, lake, settings)
