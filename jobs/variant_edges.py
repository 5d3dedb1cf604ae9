"""utterances (and rephrase_edges) -> variant_edges: formulations that mean the same, in one locale and across two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import mining.edges
import mining.neighbours
import mining.thresholds
from jobs.lake import Run, Step, spark_schema
from mining.edges import Edges, cross_edges, mutual_edges, near_edges, neighbourhood, scored
from mining.neighbours import Plan, assign, fixed_point, neighbours, norms_of, plan, search_cell, train_cells
from mining.thresholds import DRAWN, Threshold, threshold
from schemas.lake import Lake
from schemas.settings import NeighbourSettings
from schemas.tables import VARIANT_EDGES

_SCHEMA = pa.schema([f for f in VARIANT_EDGES.arrow if f.name != "run_id"])
_VISITS = "cell int, home boolean, formulation_id string, codes binary"
_Stream = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
_SCORED = ("cosine", "mutual_rank", "mean", "other_mean", "wide", "other_wide")
_FOUND = "formulation_id string, near string, rank int, cosine double, mean double, wide double"


def vectors_of(utterances: pa.Table) -> NDArray[np.float32]:
    """The embeddings of a table of utterances, n x dim."""
    column = utterances.column("embedding").combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(len(utterances), -1), dtype=np.float32)


def _chosen(rows: int, dimensions: int, settings: NeighbourSettings) -> Plan:
    return plan(
        rows, dimensions, exact_below=settings.exact_below, probes=settings.probes,
        memory_gb=settings.memory_gb, device=settings.device,
    )  # fmt: skip


def _table(locale: str, left: pa.Array, right: pa.Array, found: Edges, kind: str) -> pa.Table:
    many = len(found.left)
    ranks = found.mutual_rank.astype(np.int32)
    columns = [[locale] * many, left, right, found.cosine, found.margin, ranks, [kind] * many]
    return pa.table(dict(zip(_SCHEMA.names, columns, strict=True))).cast(_SCHEMA)


def _width(settings: NeighbourSettings) -> int:
    return max(settings.k, settings.near_k)


def _thresholds(run: Run, locales: Iterable[str]) -> dict[str, Threshold]:
    """The least cosine of an edge for each locale: as set, or told by the locale's first wordings (`threshold`).

    Formulation ids are hashes, so that those which sort first are a random sample, the same however rows are
    partitioned. One scan of the embeddings; `DRAWN` of each locale and one batch are held.
    """
    if run.settings.neighbours.min_cosine is not None:
        return {locale: Threshold(run.settings.neighbours.min_cosine, 0) for locale in locales}
    first: dict[str, pa.Table] = {}
    names = ["locale", "formulation_id", "embedding"]
    scan = run.lake.dataset("utterances", run.inputs["utterances"]).scanner(columns=names, batch_size=16_384)
    for batch in scan.to_batches():
        of_batch = pa.Table.from_batches([batch])
        for locale in pc.unique(batch.column("locale")).to_pylist():
            mine = of_batch.filter(pc.field("locale") == locale).drop("locale")
            mine = pa.concat_tables([first[locale], mine]) if locale in first else mine
            least = pc.select_k_unstable(mine.column("formulation_id"), DRAWN, [("formulation_id", "ascending")])
            first[locale] = mine.take(least)
    return {locale: threshold(vectors_of(first[locale].sort_by("formulation_id"))) for locale in locales}


def _within(settings: NeighbourSettings, seed: int, least: Mapping[str, float]) -> Callable[[pa.Table], pa.Table]:
    def kernel(utterances: pa.Table) -> pa.Table:
        utterances = utterances.sort_by("formulation_id")  # ties and k-means do not depend on the shuffle
        vectors = vectors_of(utterances)
        chosen = _chosen(len(vectors), vectors.shape[1], settings)
        # Formulation ids are hashes, so the first rows are a random sample; the distributed form takes the same.
        cells = train_cells(vectors[: chosen.sample], chosen.cells, seed) if chosen.cells else None
        near, cosine = neighbours(vectors, _width(settings), chosen=chosen, cells=cells)
        ids, locale = utterances.column("formulation_id").combine_chunks(), utterances.column("locale")[0].as_py()
        k = settings.k
        found = mutual_edges(near[:, :k], cosine[:, :k], min_cosine=least[locale], min_margin=settings.min_margin)
        loose = near_edges(
            near[:, : settings.near_k], cosine[:, : settings.near_k], found, min_cosine=settings.near_min_cosine
        )
        return pa.concat_tables(
            _table(locale, ids.take(pa.array(edges.left)), ids.take(pa.array(edges.right)), edges, kind)
            for edges, kind in ((found, "same_locale"), (loose, "near"))
        )

    return kernel


def _across(settings: NeighbourSettings, seed: int) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def kernel(launch: pa.Table, mature: pa.Table) -> pa.Table:
        if not len(launch) or not len(mature):
            return _SCHEMA.empty_table()
        launch, mature = launch.sort_by("formulation_id"), mature.sort_by("formulation_id")
        found = cross_edges(
            vectors_of(launch), vectors_of(mature), k=settings.k, min_cosine=settings.cross_min_cosine,
            min_margin=settings.cross_min_margin, exact_below=settings.exact_below, seed=seed,
        )  # fmt: skip
        one = launch.column("formulation_id").take(pa.array(found.left)).to_numpy()
        other = mature.column("formulation_id").take(pa.array(found.right)).to_numpy()
        left, right = np.where(one < other, one, other), np.where(one < other, other, one)
        return _table(launch.column("locale")[0].as_py(), left, right, found, "cross_locale")

    return kernel


# The distributed form: a formulation lives in its nearest cell and is copied to the cells it visits; a task compares
# the residents of its cells with all who came. The result is that of `_within`.


def _visiting(
    cells: NDArray[np.float32], probes: int
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if not len(batch):
                continue
            codes = fixed_point(vectors_of(pa.Table.from_batches([batch])))
            visits = assign(codes, cells, probes)
            which = pa.array(np.repeat(np.arange(len(codes)), probes))
            packed = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(codes.shape[1] * 2), len(codes), [None, pa.py_buffer(codes.tobytes())]
            )
            home = np.zeros(visits.shape, dtype=bool)
            home[:, 0] = True
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(visits.ravel()),
                    pa.array(home.ravel()),
                    batch.column("formulation_id").take(which),
                    packed.take(which).cast(pa.binary()),
                ],
                ["cell", "home", "formulation_id", "codes"],
            )

    return kernel


def _searching(settings: NeighbourSettings, rows: int) -> Callable[[pa.Table], pa.Table]:
    def kernel(cell: pa.Table) -> pa.Table:
        cell = cell.sort_by("formulation_id")
        packed = b"".join(cell.column("codes").to_pylist())
        codes = np.frombuffer(packed, dtype=np.int16).reshape(len(cell), -1)
        home = np.flatnonzero(cell.column("home").to_numpy())
        norms, everyone = norms_of(codes), np.arange(len(cell))
        width = min(_width(settings), rows - 1)
        near, cosine = search_cell(codes[home], codes, norms[home], norms, home, everyone, width)
        mean, wide = neighbourhood(cosine[:, : settings.k]), neighbourhood(cosine[:, : settings.near_k])
        row, place = np.nonzero(near >= 0)
        ids = cell.column("formulation_id").combine_chunks()
        return pa.table(
            {
                "formulation_id": ids.take(pa.array(home[row])),
                "near": ids.take(pa.array(near[row, place])),
                "rank": pa.array(place + 1, pa.int32()),
                "cosine": cosine[row, place],
                "mean": mean[row],
                "wide": wide[row],
            }
        )

    return kernel


def _scoring(locale: str, settings: NeighbourSettings, least: float) -> _Stream:
    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            left, right = (np.arange(len(batch)) for _ in range(2))
            column = {name: batch.column(name).to_numpy() for name in _SCORED}
            cosine, rank = column["cosine"], column["mutual_rank"]
            found = scored(
                left,
                right,
                cosine,
                rank,
                column["mean"],
                column["other_mean"],
                least,
                settings.min_margin,
            )
            found = found.where(found.mutual_rank <= settings.k)
            loose = scored(
                left, right, cosine, rank, column["wide"], column["other_wide"], settings.near_min_cosine, -np.inf
            )
            loose = loose.where((loose.mutual_rank <= settings.near_k) & ~np.isin(loose.left, found.left))
            for edges, kind in ((found, "same_locale"), (loose, "near")):
                kept = pa.array(edges.left)
                ends = batch.column("left").take(kept), batch.column("right").take(kept)
                yield from _table(locale, *ends, edges, kind).to_batches()

    return kernel


def distributed(
    utterances: DataFrame, locale: str, rows: int, settings: NeighbourSettings, seed: int, least: float
) -> DataFrame:
    """Edges of one locale with the search spread over Spark's tasks: those that the local form gives, row for row.

    Args:
        utterances: locale, formulation_id, embedding.
        locale: the one to search.
        rows: how many formulations it has.
        least: the least cosine of an edge.

    Cost: each vector is shuffled `probes` times at 2 x dim bytes; a task holds the residents and visitors of one cell
    at a time (about (1 + probes) x rows / cells); the driver trains the cells on `Plan.sample` rows.
    """
    mine = utterances.where(F.col("locale") == locale)
    dimensions = len(mine.select("embedding").first()["embedding"])
    chosen = _chosen(rows, dimensions, settings)
    if not chosen.cells:
        return mine.groupBy("locale").applyInArrow(
            _within(settings, seed, {locale: least}), spark_schema(VARIANT_EDGES, "run_id")
        )
    sample = mine.select("formulation_id", "embedding").orderBy("formulation_id").limit(chosen.sample).toArrow()
    cells = train_cells(vectors_of(sample), chosen.cells, seed)
    found = (
        mine.mapInArrow(_visiting(cells, chosen.probes), _VISITS)
        .groupBy("cell")
        .applyInArrow(_searching(settings, rows), _FOUND)
    )
    forth = found.where("formulation_id < near").withColumnsRenamed({"formulation_id": "left", "near": "right"})
    back = found.where("formulation_id > near").select(
        F.col("near").alias("left"), F.col("formulation_id").alias("right"),
        F.col("rank").alias("other_rank"), F.col("mean").alias("other_mean"), F.col("wide").alias("other_wide"),
    )  # fmt: skip
    mutual = forth.join(back, ["left", "right"]).withColumn(
        "mutual_rank", F.greatest("rank", "other_rank").cast("long")
    )
    shape = spark_schema(VARIANT_EDGES, "run_id")
    return mutual.select("left", "right", *_SCORED).mapInArrow(_scoring(locale, settings, least), shape)


def _rephrased(run: Run, utterances: DataFrame) -> DataFrame:
    """Edges between wordings that enough users said one for the other."""
    a, b = F.col("source_formulation"), F.col("target_formulation")
    strong = (
        run.read("rephrase_edges")
        .withColumn("left", F.least(a, b))
        .withColumn("right", F.greatest(a, b))
        .groupBy("locale", "left", "right")
        .agg(F.max("users").alias("users"))
        .where(F.col("users") >= run.settings.clusters.min_rephrase_users)
    )
    left = utterances.select(F.col("formulation_id").alias("left"), F.col("embedding").alias("x"))
    right = utterances.select(F.col("formulation_id").alias("right"), F.col("embedding").alias("y"))
    cosine = F.round(F.aggregate(F.zip_with("x", "y", lambda p, q: p * q), F.lit(0.0), lambda s, p: s + p), 5)
    return (
        strong.join(left, "left")
        .join(right, "right")
        .select(
            "locale", "left", "right", cosine.alias("cosine"), F.lit(1.0).alias("margin"),
            F.lit(1).alias("mutual_rank"), F.lit("rephrase").alias("kind"),
        )
    )  # fmt: skip


def _run(run: Run) -> None:
    settings, seed, shape = run.settings.neighbours, run.settings.seed, spark_schema(VARIANT_EDGES, "run_id")
    utterances = run.read("utterances").select("locale", "formulation_id", "embedding")
    rows = {locale: count for (locale,), count in run.tally("utterances", "locale").items()}
    told = _thresholds(run, rows)
    run.details["min_cosine"] = {locale: one._asdict() for locale, one in sorted(told.items())}
    least = {locale: one.cosine for locale, one in told.items()}
    large = sorted(name for name, count in rows.items() if count > settings.distribute_above)
    small = utterances.where(~F.col("locale").isin(large)) if large else utterances
    edges = small.groupBy("locale").applyInArrow(_within(settings, seed, least), shape)
    for locale in large:
        edges = edges.unionByName(distributed(utterances, locale, rows[locale], settings, seed, least[locale]))
    launch = run.settings.locale
    if launch in rows and len(rows) > 1:
        mine, others = (utterances.where(F.col("locale") == launch), utterances.where(F.col("locale") != launch))
        copies = mine.crossJoin(F.broadcast(others.select(F.col("locale").alias("other")).distinct()))
        across = copies.groupBy("other").cogroup(others.groupBy("locale")).applyInArrow(_across(settings, seed), shape)
        edges = edges.unionByName(across)
    run.count(edges=run.write(VARIANT_EDGES, edges.unionByName(_rephrased(run, utterances))))
    by_kind = run.tally(VARIANT_EDGES.name, "kind")
    run.count(**{kind: by_kind[kind,] for kind in ("same_locale", "near", "cross_locale", "rephrase")})


STEP = Step(
    name="variant_edges",
    reads=("utterances", "rephrase_edges"),
    writes=(VARIANT_EDGES,),
    settings=("neighbours", "clusters"),
    code=(mining.neighbours, mining.edges, mining.thresholds),
    run=_run,
    locale=True,
)


def thresholds_of(lake: Lake) -> dict[str, float]:
    """The least cosine of an edge in each locale, as the last run of this step told it."""
    manifest = lake.manifest(STEP.name)
    told = manifest.details.get("min_cosine", {}) if manifest else {}
    return {locale: float(one["cosine"]) for locale, one in told.items()}
