"""Charts of evidence: what each comparison adds to, or takes from, a belief."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import altair as alt
import pandas as pd

FOR, AGAINST, TOTAL = "#2a9d8f", "#e76f51", "#264653"
ROW_HEIGHT, AXIS_HEIGHT = 30, 72


class Step(TypedDict):
    """One bar of a waterfall: from where the sum stood to where it stands, in bits."""

    label: str
    start: float
    end: float
    weight: float
    kind: str


def probability(bits: float) -> float:
    """The probability whose log2 odds are `bits`."""
    return 1 / (1 + 2 ** -max(-1000.0, min(1000.0, bits)))


def waterfall_steps(evidence: Sequence[dict[str, Any]]) -> list[Step]:
    """Bars of a waterfall: each piece of evidence from the sum before it to the sum after; last, the sum."""
    steps: list[Step] = []
    total = 0.0
    for piece in evidence:
        weight = float(piece["weight"] or 0.0)
        if piece["name"] == "prior":
            label = "prior: before any evidence"
        else:
            label = f"{piece['name']}: {piece['level']}".replace("_", " ")
        kind = "for" if weight >= 0 else "against"
        steps.append(Step(label=label, start=total, end=total + weight, weight=weight, kind=kind))
        total += weight
    steps.append(Step(label="all together", start=0.0, end=total, weight=total, kind="total"))
    return steps


def waterfall(evidence: Sequence[dict[str, Any]]) -> alt.LayerChart:
    """A waterfall of match weights in bits (log2 of odds): one row a comparison, the total last."""
    steps = waterfall_steps(evidence)
    data = pd.DataFrame(steps)
    # Two comparisons could share a label: a number in front, cut off by the axis, keeps them apart.
    data["row"] = [f"{i:02d}{step['label']}" for i, step in enumerate(steps)]
    data["shown"] = [f"{step['weight']:+.1f}" for step in steps]
    data["right"] = data[["start", "end"]].max(axis=1)
    low, high = min(float(data[["start", "end"]].min().min()), 0.0), max(float(data["right"].max()), 0.0)
    room = 0.16 * max(high - low, 1.0)  # for the numbers beside the bars

    rows = alt.Y(
        "row:N",
        sort=None,
        title=None,
        axis=alt.Axis(
            labelExpr="slice(datum.value, 2)",
            labelLimit=320,
            labelOverlap=False,
            ticks=False,
            domain=False,
            labelPadding=8,
        ),
    )
    along = alt.X(
        "start:Q",
        title="bits of evidence (each bit doubles the odds)",
        scale=alt.Scale(domain=[low - room / 3, high + room], nice=False),
    )
    kinds = alt.Scale(domain=["for", "against", "total"], range=[FOR, AGAINST, TOTAL])
    tooltip = [
        alt.Tooltip("label:N", title="evidence"),
        alt.Tooltip("weight:Q", title="bits", format="+.2f"),
        alt.Tooltip("end:Q", title="sum so far", format="+.2f"),
    ]
    bars = alt.Chart(data).mark_bar(height={"band": 0.62}, cornerRadius=2)
    bars = bars.encode(
        y=rows, x=along, x2="end:Q", color=alt.Color("kind:N", scale=kinds, legend=None), tooltip=tooltip
    )
    numbers = alt.Chart(data).mark_text(align="left", dx=5).encode(y=rows, x="right:Q", text="shown:N")
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color="#999", strokeDash=[3, 3])
    layers = alt.layer(zero.encode(x="zero:Q"), bars, numbers)
    return layers.properties(height=ROW_HEIGHT * len(steps) + AXIS_HEIGHT).configure_view(stroke=None)
