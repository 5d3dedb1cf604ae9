"""The tab of rephrase pairs: find one, and see why it is believed."""

from __future__ import annotations

from html import escape
from itertools import accumulate
from typing import Any

import pandas as pd
import streamlit as st

from inspector.charts import AGAINST, FOR, probability, waterfall
from inspector.lake import PAIR_COLUMNS, Published, Search

SHOWN = 500  # pairs in the table at once
SOURCE_TINT, TARGET_TINT = "#fbe3dc", "#d9f0ec"
TABLE_HEIGHT = 318


def share(label: str, meaning: str = "") -> Any:
    """A column of probabilities, drawn as bars."""
    return st.column_config.ProgressColumn(label, help=meaning or None, min_value=0.0, max_value=1.0, format="%.2f")


def understood(interpretation: dict[str, Any] | None) -> str:
    """An interpretation in one line."""
    if not interpretation:
        return "(nothing)"
    slots = ", ".join(f"{slot['name']} = {slot['value']}" for slot in interpretation["slots"] or ())
    return f"{interpretation['intent']} ({slots})" if slots else str(interpretation["intent"])


def draw(published: Published, locale: str) -> None:
    """Draw the tab."""
    if "rephrase_pairs" not in published.versions:
        st.info("No pairs yet: run `sayagain mine`.", icon=":material/hourglass_empty:")
        return
    st.caption(
        "Each row is one moment of misunderstanding: what failed, what the same person said instead, and how "
        "probable it is that both meant the same. Click the box before a row to see the reasons below."
    )
    text, kind, least = st.columns([3, 1, 2])
    words = text.text_input("Words", key="pair_text", placeholder="in either wording")
    kinds = {
        "rephrase (other words)": "rephrase",
        "repeat (the same words)": "repeat",
        "new request (another value)": "new_request",
        "any": "",
    }
    # Repeats teach nothing, so rephrases come first; an address may name a pair of either kind.
    st.session_state.setdefault("pair_kind", "any" if "pair" in st.query_params else next(iter(kinds)))
    search = Search(
        locale=locale,
        text=words,
        kind=kinds[str(kind.selectbox("Kind", list(kinds), key="pair_kind"))],
        min_posterior=least.slider("Posterior at least", 0.0, 1.0, 0.5, 0.05, key="pair_posterior"),
    )
    found, total = published.found("rephrase_pairs", search, PAIR_COLUMNS, SHOWN)
    if not total:
        st.info("No pair fits this search.", icon=":material/search_off:")
        return
    st.caption(f"{total:,} found" + (f"; the {SHOWN} most believed are listed" if total > SHOWN else ""))
    frame = found.to_pandas()
    wordings = zip(frame["source_utterance"], frame["target_utterance"], strict=True)
    names = dict(zip(frame["pair_id"], (f"{s}  →  {t}" for s, t in wordings), strict=True))
    _table(frame)
    if st.session_state.get("pair") not in names:
        asked = st.query_params.get("pair")
        st.session_state["pair"] = asked if asked in names else next(iter(names))
    pair_id = st.selectbox("Pair to explain", list(names), format_func=names.__getitem__, key="pair")
    st.query_params["pair"] = pair_id  # so that the address of the page can be sent to a colleague
    _explain(published, pair_id)


def _table(frame: pd.DataFrame) -> None:
    def clicked() -> None:
        rows = st.session_state["pair_table"].selection.rows
        if rows and rows[0] < len(frame):
            st.session_state["pair"] = frame["pair_id"].iloc[rows[0]]

    columns = {
        "source_utterance": st.column_config.TextColumn("what failed", width="medium"),
        "target_utterance": st.column_config.TextColumn("said instead", width="medium"),
        "posterior": share("posterior", "Probability that both meant the same."),
        "new_request": share("new request", "Probability that the second asks for something else in like words."),
        "kind": st.column_config.TextColumn("kind"),
        "edit": st.column_config.TextColumn("edit", help="What became of the words."),
        "gap_seconds": st.column_config.NumberColumn("seconds between", format="%.0f"),
        "target_acceptance": share("served", "Probability that the answer to the second was right."),
        "locale": st.column_config.TextColumn("locale"),
    }
    st.dataframe(
        frame,
        key="pair_table",
        on_select=clicked,
        selection_mode="single-row",
        hide_index=True,
        height=min(TABLE_HEIGHT, 38 + 35 * len(frame)),
        column_order=list(columns),
        column_config=columns,
    )


def _explain(published: Published, pair_id: str) -> None:
    pair = published.one("rephrase_pairs", pair_id)
    if pair is None:
        return
    _wordings(pair)
    figures = (
        ("Posterior", f"{pair['posterior']:.3f}", "Probability that the second is what the first meant."),
        ("New request", f"{pair['new_request']:.3f}", "Probability that it asks for something else in like words."),
        (
            "No rephrase",
            f"{pair['none_posterior']:.3f}",
            "Probability that no later turn is one of the first.",
        ),
        (
            "Match weight",
            f"{pair['match_weight']:+.1f} bits",
            "Prior and evidence; each bit doubles the odds.",
        ),
        ("First failed", f"{pair['source_friction']:.3f}", "Probability that the first did not serve."),
        ("Second served", f"{pair['target_acceptance']:.3f}", "Probability that the second did serve."),
    )
    for place, (label, value, meaning) in zip(st.columns(len(figures)), figures, strict=True):
        place.metric(label, value, help=meaning)
    said = f"A person said: {pair['review']}. " if pair["review"] else ""
    st.caption(f"{said}You know better? `sayagain review {pair_id} same_wish`, `new_request` or `unrelated`.")
    turns = published.session(pair["session_id"])
    source = next((turn for turn in turns if turn["interaction_id"] == pair["source"]), None)

    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Why these two belong together", anchor=False)
        st.caption("From the prior on, each comparison speaks for it (to the right) or against it (to the left).")
        _evidence(pair["features"] or [], "comparison")
    with right:
        st.subheader("Why the first seems to have failed", anchor=False)
        st.caption("Friction: what the assistant answered, and how all who met that answer went on.")
        if source is None:
            st.info("Its turn is not in the published sessions.", icon=":material/link_off:")
        else:
            _evidence(source["evidence"] or [], "evidence")

    st.subheader("The session around it", anchor=False)
    st.caption("Everything this user said in one sitting. Red: the try that failed. Green: what was said instead.")
    if turns:
        _session(turns, pair)
    else:
        st.info("The session is not in the published turns: mine again.", icon=":material/link_off:")


def _wordings(pair: dict[str, Any]) -> None:
    """Both wordings, side by side. They are what users said, so nothing in them may act as markup."""
    box = "color:#222;padding:.3rem .7rem;border-radius:.2rem;border-left:4px solid"
    source, target = escape(pair["source_utterance"]), escape(pair["target_utterance"])
    st.html(
        '<div style="font-size:1.3rem;line-height:2.1;padding:.3rem 0">'
        f'<span dir="auto" style="background:{SOURCE_TINT};{box} {AGAINST}">{source}</span>'
        "&nbsp; → &nbsp;"
        f'<span dir="auto" style="background:{TARGET_TINT};{box} {FOR}">{target}</span></div>'
    )


def _evidence(evidence: list[dict[str, Any]], name: str) -> None:
    if not evidence:
        st.text("(none recorded)")
        return
    st.altair_chart(waterfall(evidence), width="stretch")
    sums = accumulate(piece["weight"] for piece in evidence)
    frame = pd.DataFrame(
        {
            name: [piece["name"] for piece in evidence],
            "level": [piece["level"] for piece in evidence],
            "bits": [round(piece["weight"], 2) for piece in evidence],
            "probability so far": [round(probability(total), 3) for total in sums],
        }
    )
    with st.expander("The same as a table"):
        st.dataframe(frame, hide_index=True)


def _session(turns: list[dict[str, Any]], pair: dict[str, Any]) -> None:
    role = {pair["source"]: "failed", pair["target"]: "said instead"}
    tint = {"failed": SOURCE_TINT, "said instead": TARGET_TINT}
    frame = pd.DataFrame(
        {
            "role": [role.get(turn["interaction_id"], "") for turn in turns],
            "time (UTC)": [f"{turn['occurred_at']:%Y-%m-%d %H:%M:%S}" for turn in turns],
            "said": [turn["utterance"] for turn in turns],
            "understood": [understood(turn["interpretation"]) for turn in turns],
            "answer": [turn["response"] for turn in turns],
            "feedback": [", ".join(turn["feedback"] or ()) for turn in turns],
            "confidence": [turn["confidence"] for turn in turns],
            "friction": [turn["friction"] for turn in turns],
            "model": [turn["model_version"] or "" for turn in turns],
        }
    )

    def colour(row: pd.Series[Any]) -> list[str]:
        return [f"background-color: {tint[row['role']]}; color: #222" if row["role"] else ""] * len(row)

    # A column without any number would be of Python objects, which the format cannot take.
    frame = frame.astype({"confidence": float, "friction": float})
    coloured = frame.style.apply(colour, axis=1)
    widths = {
        "role": st.column_config.TextColumn(width=96),
        "said": st.column_config.TextColumn(width=290),
        "understood": st.column_config.TextColumn(width=210),
    }
    shown = coloured.format({"confidence": "{:.2f}", "friction": "{:.2f}"}, na_rep="")
    st.dataframe(shown, hide_index=True, column_config=widths)
