"""Seconds against rows, both logarithmic, as a small SVG without a library."""

from __future__ import annotations

from collections import defaultdict
from math import log10
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 380, 60, 20, 170, 45
_COLOURS = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98", "#17a589", "#566573", "#d98cb3")


def plot(speed: list[dict[str, Any]]) -> str:
    """One line a method; extrapolated points are hollow.

    Args:
        speed: rows of the benchmark: method, rows, seconds, extrapolated.
    """
    if not speed:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    sizes, seconds = [r["rows"] for r in speed], [max(r["seconds"], 1e-3) for r in speed]
    x0, x1 = log10(min(sizes)), max(log10(max(sizes)), log10(min(sizes)) + 1)
    y0, y1 = min(map(log10, seconds)) - 0.1, max(map(log10, seconds)) + 0.1

    def at(rows: float, took: float) -> tuple[float, float]:
        across = (log10(rows) - x0) / (x1 - x0) * (_WIDTH - _LEFT - _RIGHT)
        up = (log10(max(took, 1e-3)) - y0) / (y1 - y0) * (_HEIGHT - _TOP - _BOTTOM)
        return round(_LEFT + across, 1), round(_HEIGHT - _BOTTOM - up, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
    ]
    for size in sorted(set(sizes)):
        x = at(size, 1)[0]
        parts.append(f'<path d="M{x} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{_HEIGHT - 28}" text-anchor="middle">{size:,}</text>')
    for power in range(int(y0) - 1, int(y1) + 2):
        if y0 <= power <= y1:
            y = at(10**x0, 10.0**power)[1]
            parts.append(f'<path d="M{_LEFT} {y}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{10.0**power:g} s</text>')
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in speed:
        lines[row["method"]].append(row)
    for number, (method, rows) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [at(r["rows"], r["seconds"]) for r in sorted(rows, key=lambda r: r["rows"])]
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), row in zip(points, sorted(rows, key=lambda r: r["rows"]), strict=True):
            fill = "white" if row["extrapolated"] else colour
            parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{fill}" stroke="{colour}"/>')
        y = _TOP + 14 + 18 * number
        parts.append(f'<text x="{_WIDTH - _RIGHT + 14}" y="{y}" fill="{colour}">{method}</text>')
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 8}">rows (256 dimensions); hollow: extrapolated</text></svg>')
    return "\n".join(parts) + "\n"
