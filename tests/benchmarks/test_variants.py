"""The variants benchmark: scores against brute force, planted data, one small run, the plot."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from benchmarks.pictures import as_svg
from benchmarks.variants import WIDTHS, main, quadratic
from benchmarks.variants_data import Sample, planted
from benchmarks.variants_peers import METHODS
from benchmarks.variants_plot import plot
from benchmarks.variants_scores import b_cubed, b_cubed_interval, pair_recall, true_pairs
from benchmarks.variants_thresholds import rows_of, table

labels = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 5), min_size=n, max_size=n) for _ in range(2)))
)


@settings(deadline=None)
@given(labels)
def test_b_cubed_is_what_its_definition_says(drawn: tuple[list[int], list[int]]) -> None:
    label, truth = drawn
    precision = recall = 0.0
    for i in range(len(label)):
        together = [j for j in range(len(label)) if label[j] == label[i]]
        alike = [j for j in range(len(label)) if truth[j] == truth[i]]
        both = len(set(together) & set(alike))
        precision += both / len(together) / len(label)
        recall += both / len(alike) / len(label)
    score = b_cubed(np.array(label), np.array(truth))
    assert score.precision == pytest.approx(precision)
    assert score.recall == pytest.approx(recall)
    assert score.f1 == pytest.approx(2 * precision * recall / (precision + recall))
    low, high = b_cubed_interval(np.array(label), np.array(truth), seed=1, draws=20)
    assert 0 <= low <= high <= 1


def test_pair_recall_counts_pairs_either_way_round() -> None:
    wanted = np.array([[1, 5], [7, 2], [3, 4], [0, 9]])
    left, right = np.array([5, 2, 8]), np.array([1, 7, 9])
    assert pair_recall(left, right, wanted, rows=10) == 0.5


def test_planted_members_are_near_each_other_and_true_pairs_are_exact() -> None:
    sample = planted(3000, 64, seed=1)
    assert np.bincount(sample.truth).max() <= 200
    cosine = sample.vectors @ sample.vectors.T
    same = sample.truth[:, None] == sample.truth[None, :]
    np.fill_diagonal(same, False)
    assert 0.65 < cosine[same].mean() < 0.8
    pairs = true_pairs(sample.vectors, 5, 0.6, queries=100, seed=2)
    np.fill_diagonal(cosine, -1)
    for row in np.unique(pairs[:, 0]):
        best = [j for j in np.argsort(-cosine[row])[:5] if cosine[row, j] >= 0.6]
        assert set(pairs[pairs[:, 0] == row, 1].tolist()) == set(best)


def test_what_is_too_slow_is_extrapolated_from_two_sizes() -> None:
    def row(rows: int, seconds: float) -> dict[str, float]:
        return {"rows": rows, "seconds": seconds}

    assert quadratic([row(1000, 1.0)], 10_000) is None
    assert quadratic([row(1000, 1.0), row(10_000, 100.0)], 100_000) == pytest.approx(10_000)
    assert quadratic([row(1000, 1.0), row(10_000, 10.0)], 100_000) == pytest.approx(100)


def test_one_small_run_prints_a_table_and_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, picture = tmp_path / "report.json", tmp_path / "plot.svg"
    arguments = ["--out", str(out), "--plot", str(picture), "--sizes", "1500", "--dimensions", "32"]
    assert main([*arguments, "--methods", "sayagain", "faiss_hnsw"]) == 0
    report = json.loads(out.read_text())
    ours, other = report["speed"]
    assert (ours["method"], other["method"]) == ("sayagain", "faiss_hnsw")
    assert ours["pair_recall"] > 0.999  # so few rows are compared exactly, on the grid
    assert 0 < other["pair_recall"] <= 1
    assert 0.3 < ours["b_cubed"]["f1"] <= 1
    assert ours["seconds"] > 0
    assert "| sayagain | 1,500 |" in capsys.readouterr().out
    drawn = ElementTree.fromstring(picture.read_text())
    assert {"sayagain", "faiss_hnsw"} <= {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}


def test_every_method_has_a_line_of_its_own_and_what_was_not_run_is_hollow() -> None:
    rows = [
        {"method": name, "rows": size, "seconds": size / 1000, "extrapolated": size > 1000}
        for name in METHODS
        for size in (10_000, 1000)
    ]
    (axes,) = plot(rows).axes
    assert [line.get_label() for line in axes.lines] == list(METHODS)
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == len(METHODS)
    for line, points in zip(axes.lines, axes.collections, strict=True):
        assert line.get_xydata().tolist() == points.get_offsets().tolist() == [[1000, 1], [10_000, 10]]
        measured, guessed = points.get_facecolors()
        assert to_hex(measured) == line.get_color()
        assert to_hex(guessed) == "#ffffff"


def test_a_search_is_widened_until_it_finds_as_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WIDTHS, "faiss_ivf", (1, 2, 30))
    out = tmp_path / "report.json"
    arguments = ["--out", str(out), "--sizes", "1500", "3000", "--dimensions", "32"]
    assert main([*arguments, "--methods", "sayagain", "faiss_ivf"]) == 0
    ours, ivf, more, ivf_more = json.loads(out.read_text())["speed"]
    assert ours["width"] is None
    assert ivf["width"] > 1  # one cell does not find all neighbours of 32 dimensions
    assert ivf["pair_recall"] >= ours["pair_recall"] or ivf["width"] == 30
    assert ivf_more["width"] >= ivf["width"]
    assert ivf_more["pair_recall"] >= more["pair_recall"] or ivf_more["width"] == 30


def test_an_empty_plot_is_still_a_picture() -> None:
    assert ElementTree.fromstring(as_svg(plot([]), "nothing")).tag.endswith("svg")


def test_the_best_of_the_grid_is_what_one_threshold_for_all_does_not_beat() -> None:
    plain = planted(800, 32, seed=3)
    rest = planted(800, 256, seed=4).vectors
    squeezed = np.hstack([plain.vectors * np.float32(0.7**0.5), rest * np.float32(0.3**0.5)])
    rows = rows_of(Sample(plain.texts, squeezed, plain.truth), "sw-KE", seed=1)
    fixed, own, best = rows
    assert [row["choice"] for row in rows] == ["fixed", "own", "best of grid"]
    assert own["threshold"] <= fixed["threshold"] == 0.65
    assert best["threshold"] < 0.65
    assert best["b_cubed"]["f1"] > fixed["b_cubed"]["f1"] + 0.1
    assert len(table(rows).splitlines()) == 5
