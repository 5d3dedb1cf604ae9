"""What neighbours, edges and clusters of one collection take in memory."""

from __future__ import annotations

from mining.clusters import MEMBERS
from mining.neighbours import Plan


def peak_bytes(chosen: Plan, k: int, edges: int, divided: int | None = None) -> int:
    """Peak of `neighbours`, `mutual_edges` and `cluster` in one process, beside the vectors (4 x n x dim).

    Args:
        chosen: the plan of the search.
        k: neighbours of each row.
        edges: between the rows; at most n x k / 2, as a rule two to five a row.
        divided: edges of the largest component that Leiden divides; any of them if None.

    The largest of three, one after the other, each beside the neighbours' 16 x n x k: the search (`Plan.bytes`); edges
    being sorted out, 104 bytes each; and clusters, which hold the codes of all rows and of those that join (4 x n x dim
    at most), 40 bytes an edge and 64 more while components are found, 500 more while Leiden divides one (it names its
    nodes by strings), 200 bytes a row, and blocks of members.
    """
    rows, dimensions = chosen.rows, chosen.dimensions
    sorting = 104 * edges + 8 * rows
    of_edges = (40 + 64) * edges + 500 * (edges if divided is None else divided)
    clustering = 4 * rows * dimensions + of_edges + 200 * rows + 5 * 8 * MEMBERS * dimensions
    return 16 * rows * k + max(chosen.bytes, sorting, clustering)
