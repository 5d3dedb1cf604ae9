"""An audit as a file: a uniform random sample of turns that a person fills in, and what it says of the labels.

No Spark: a sample is small. The file is the person's; nothing in the lake is written.
"""

from __future__ import annotations

import json
from pathlib import Path

from mining.audit import Audited, Share, draw, score
from schemas.annotated import align_markup
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.normalise import normalise


def draw_audit(lake: Lake, locale: str, n: int, seed: int, out: Path) -> int:
    """Write `n` turns of a locale to `out`, JSON Lines, for a person to fill `intent` and `annot_utt`.

    The lines hold what was said and nothing that the model or the miner thinks: an answer must not be led. Returns
    how many were drawn.

    Raises:
        InputError: the file exists, or the lake has no such turns.

    Cost: memory of the locale's interaction ids.
    """
    if out.exists():
        raise InputError(f"{out} exists, perhaps with a person's answers in it: give --out another file")
    turns = {
        t["interaction_id"]: t["utterance"]
        for t in lake.rows("turns", ["interaction_id", "locale", "utterance", "text"])
        if t["locale"] == locale and t["text"]
    }
    if not turns:
        raise InputError(f"the lake at {lake.path} has no turns of {locale}")
    chosen = draw(turns, n, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as lines:
        for name in chosen:
            row = {"interaction_id": name, "utt": turns[name], "intent": None, "annot_utt": None}
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(chosen)


def _answers(path: Path) -> dict[str, tuple[str, frozenset[tuple[str, str]] | None]]:
    if not path.is_file():
        raise InputError(f"no audit file at {path}: `sayagain audit draw` writes one")
    answers = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not row["intent"]:
                continue
            marked = row.get("annot_utt")
            slots = None if marked is None else align_markup(row["utt"], marked)
            values = None if slots is None else frozenset((s.name, normalise(s.value)) for s in slots)
            answers[str(row["interaction_id"])] = (str(row["intent"]), values)
        except (ValueError, KeyError, TypeError) as fault:
            raise InputError(
                f"{path}:{number}: {type(fault).__name__}: {fault}; expected interaction_id, utt, intent and annot_utt "
                "(the utterance with [slot : value] marks, or null)"
            ) from None
    if not answers:
        raise InputError(f"{path} has no answered line: fill in `intent`, and `annot_utt` where you can")
    return answers


def score_audit(lake: Lake, path: Path) -> dict[str, Share]:
    """What the answered lines say of the lake's labels and of acceptance; see `mining.audit.score`.

    Unbiased as long as lines are answered without regard to what they say: leave none out for being hard.

    Raises:
        InputError: no such file, a line that is none, no answer, or turns that the lake does not hold.
    """
    answers = _answers(path)
    columns = ["interaction_id", "formulation_id", "interpretation", "response", "friction"]
    turns = {t["interaction_id"]: t for t in lake.rows("turns", columns) if t["interaction_id"] in answers}
    if missing := sorted(set(answers) - set(turns)):
        raise InputError(f"{path}: the lake has no turn {missing[0]} ({len(missing)} in all): was it drawn from it?")
    wanted = {t["formulation_id"] for t in turns.values()}
    labels = {
        r["formulation_id"]: r
        for r in lake.rows("pseudo_labels", ["formulation_id", "status", "intent", "slots"])
        if r["status"] == "accepted" and r["formulation_id"] in wanted
    }
    rows = []
    for name, (intent, slots) in sorted(answers.items()):
        turn = turns[name]
        label = labels.get(turn["formulation_id"])
        settled = label is not None and label["slots"] is not None
        served = turn["interpretation"] if turn["response"] == "completed" else None
        rows.append(
            Audited(
                intent,
                slots,
                label["intent"] if label else None,
                frozenset((s["name"], normalise(s["value"])) for s in label["slots"]) if label and settled else None,
                served["intent"] if served else None,
                turn["friction"],
            )
        )
    return score(rows)
