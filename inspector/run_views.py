"""Tabs beside the pairs: pseudo-labels, counts by stage, quarantine, and models."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import pyarrow.compute as pc
import streamlit as st

from inspector.charts import FOR
from inspector.lake import LABEL_COLUMNS, Published, Search
from inspector.pairs_view import TABLE_HEIGHT, share

SHOWN = 500  # labels in the table at once
EXAMPLES = 100  # rejected records, or pairs behind a label, shown
STATUSES = {
    "accepted": "Enough users, enough agreement: it may teach the next model.",
    "contested": "The votes disagree.",
    "too_few_users": "Too few different people are behind it.",
}


def stages(published: Published) -> None:
    """What each step read, wrote and dropped in its newest run."""
    runs = published.latest_runs()
    if not runs:
        st.info("No step has run yet.", icon=":material/hourglass_empty:")
        return
    st.caption("The newest run of each step, in the order they ran. Whatever is dropped is counted by name.")
    counts = [[(count["name"], count["value"]) for count in run["counts"] or ()] for run in runs]
    frame = pd.DataFrame(
        {
            "step": [run["step"] for run in runs],
            "status": [run["status"] for run in runs],
            "counts": ["  ·  ".join(f"{name} {value:,}" for name, value in named) for named in counts],
            "seconds": [run["seconds"] for run in runs],
            "peak MB": [run["peak_memory_mb"] for run in runs],
            "read": [", ".join(run["inputs"] or ()) for run in runs],
            "wrote": [", ".join(run["outputs"] or ()) for run in runs],
            "started (UTC)": [f"{run['started_at']:%Y-%m-%d %H:%M:%S}" for run in runs],
        }
    )
    columns = {
        "counts": st.column_config.TextColumn(width="large"),
        "seconds": st.column_config.NumberColumn(format="%.1f"),
        "peak MB": st.column_config.NumberColumn(format="%.0f"),
    }
    st.dataframe(frame, hide_index=True, height=38 + 35 * len(runs), column_config=columns)
    st.subheader("Every count", anchor=False)
    steps = ["every step", *(run["step"] for run in runs)]
    chosen = st.selectbox("Step", steps, key="count_step")
    rows = [
        {"step": run["step"], "count": name, "rows": value}
        for run, named in zip(runs, counts, strict=True)
        for name, value in named
        if chosen in ("every step", run["step"])
    ]
    st.dataframe(
        pd.DataFrame(rows, columns=["step", "count", "rows"]),
        hide_index=True,
        width=520,
        height=38 + 35 * len(rows),
        column_config={"rows": st.column_config.NumberColumn(format="localized")},
    )


def labels(published: Published, locale: str) -> None:
    """Pseudo-labels by status, a table to search, and the votes behind one of them."""
    if "pseudo_labels" not in published.versions:
        st.info("No labels yet: run `sayagain mine`.", icon=":material/hourglass_empty:")
        return
    st.caption("What users' own behaviour says a wording means. Only accepted labels go into a training set.")
    statuses = published.label_statuses(locale)
    for place, (status, meaning) in zip(st.columns(len(STATUSES)), STATUSES.items(), strict=True):
        place.metric(status.replace("_", " "), f"{statuses[status]:,}", help=meaning)
    text, status, least = st.columns([3, 1, 2])
    words = text.text_input("Words", key="label_text", placeholder="in the wording")
    chosen = str(status.selectbox("Status", ["any", *STATUSES], key="label_status"))
    search = Search(
        locale=locale,
        text=words,
        status="" if chosen == "any" else chosen,
        min_posterior=least.slider("Posterior at least", 0.0, 1.0, 0.0, 0.05, key="label_posterior"),
    )
    found, total = published.found("pseudo_labels", search, LABEL_COLUMNS, SHOWN)
    if not total:
        st.info("No label fits this search.", icon=":material/search_off:")
        return
    st.caption(f"{total:,} found" + (f"; the {SHOWN} most believed are listed" if total > SHOWN else ""))
    frame = found.to_pandas()
    frame["slots"] = [
        _spans(slots, tags)
        for slots, tags in zip(*(found[name].to_pylist() for name in ("slots", "tags")), strict=True)
    ]
    columns = {
        "utterance": st.column_config.TextColumn("wording", width="medium"),
        "intent": st.column_config.TextColumn("intent"),
        "posterior": share("posterior", "Probability of the intent."),
        "slots": st.column_config.TextColumn(
            "slots", help="(open): the spans are not settled. The tagger learns what is known of single words."
        ),
        "users": st.column_config.NumberColumn("users", help="Different people behind the votes."),
        "events": st.column_config.NumberColumn("spoken", help="How often it was said."),
        "status": st.column_config.TextColumn("status"),
        "why": st.column_config.TextColumn("why", width="large"),
        "locale": st.column_config.TextColumn("locale"),
    }
    st.dataframe(
        frame,
        hide_index=True,
        height=min(TABLE_HEIGHT, 38 + 35 * len(frame)),
        column_order=list(columns),
        column_config=columns,
    )
    names = dict(zip(frame["formulation_id"], frame["utterance"], strict=True))
    if st.session_state.get("label") not in names:
        st.session_state["label"] = next(iter(names))
    formulation = st.selectbox("Label to explain", list(names), format_func=names.__getitem__, key="label")
    _votes(published, formulation)


def _spans(slots: list[dict[str, Any]] | None, tags: list[list[str]] | None) -> str:
    if slots is not None:
        return ", ".join(f"{slot['name']} = {slot['value']}" for slot in slots)
    return f"(open, {sum(map(bool, tags))} of {len(tags)} words known)" if tags else "(open)"


def _votes(published: Published, formulation: str) -> None:
    label = published.one("pseudo_labels", formulation)
    if label is None:
        return
    st.text(f"{label['status'].replace('_', ' ')}: {label['why']}")
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Votes", anchor=False)
        st.caption("Each source, what it votes for, and how many different people are behind it.")
        votes = pd.DataFrame(label["sources"] or [], columns=["source", "intent", "users", "weight"])
        st.dataframe(votes, hide_index=True, column_config={"weight": st.column_config.NumberColumn(format="%.2f")})
    with right:
        st.subheader("Probable intents", anchor=False)
        st.caption("What the votes leave possible.")
        intents = pd.DataFrame(label["intents"] or [], columns=["intent", "probability"])
        st.dataframe(intents, hide_index=True, column_config={"probability": share("probability")})
    wish = label.get("wish_id")
    if wish:
        st.subheader("Wordings of the same wish", anchor=False)
        told = next(s for s in label["sources"] if s["source"] == "wish")
        st.caption(
            f"People said them instead of each other, or they are nearly alike. Together they are held for "
            f"{told['intent']} ({told['weight']:.2f}), from {told['users']:,} people. The most spoken:"
        )
        wanted = ("utterance", "intent", "posterior", "status", "events")
        members = published.rows("pseudo_labels", wanted, pc.field("wish_id") == wish).to_pandas()
        members = members.sort_values(["events", "utterance"], ascending=[False, True]).head(EXAMPLES)
        shown = {
            "utterance": st.column_config.TextColumn("wording", width="large"),
            "posterior": share("posterior", "Probability of the intent."),
            "events": st.column_config.NumberColumn("spoken"),
        }
        st.dataframe(members, hide_index=True, column_config=shown)
    ids = label["pair_ids"] or []
    if ids:
        st.subheader("Rephrase pairs behind it", anchor=False)
        st.caption(f"{len(ids):,} in all" + (f"; {EXAMPLES} are listed" if len(ids) > EXAMPLES else ""))
        columns = ("source_utterance", "target_utterance", "posterior", "pair_id")
        pairs = published.rows("rephrase_pairs", columns, pc.field("pair_id").isin(ids[:EXAMPLES]))
        shown = {
            "source_utterance": st.column_config.TextColumn("what failed", width="medium"),
            "target_utterance": st.column_config.TextColumn("said instead", width="medium"),
            "posterior": share("posterior", "Probability that both meant the same."),
            "pair_id": st.column_config.TextColumn("pair"),
        }
        st.dataframe(pairs.to_pandas(), hide_index=True, column_config=shown)


def quarantine(published: Published) -> None:
    """Why records were rejected, and some of them."""
    reasons = published.quarantine_reasons()
    if not reasons:
        st.success("No record was rejected.", icon=":material/check:")
        return
    st.caption("Records that ingest could not take, each with every fault it has.")
    frame = pd.DataFrame(reasons.most_common(), columns=["reason", "records"])
    bars = alt.Chart(frame.head(25)).mark_bar(color=FOR, cornerRadius=2, height={"band": 0.62})
    bars = bars.encode(
        x=alt.X("records:Q", title="records with this fault", axis=alt.Axis(format="d", tickMinStep=1)),
        y=alt.Y("reason:N", sort="-x", title=None, axis=alt.Axis(labelLimit=420)),
        tooltip=["reason", "records"],
    )
    st.altair_chart(bars.properties(height=60 + 30 * min(25, len(frame))), width="stretch")
    reason = str(st.selectbox("Reason", ["any", *frame["reason"]], key="reason"))
    columns = {"raw": st.column_config.TextColumn("record", width="large")}
    st.dataframe(_rejected(published, reason), hide_index=True, column_config=columns)


def _rejected(published: Published, reason: str) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for row in published.rows("quarantine", ("file", "line", "reasons", "raw")).to_pylist():
        if reason == "any" or reason in (row["reasons"] or ()):
            rows.append(row | {"reasons": "; ".join(row["reasons"] or ())})
        if len(rows) == EXAMPLES:
            break
    return pd.DataFrame(rows, columns=["file", "line", "reasons", "raw"])


def models(published: Published, locale: str) -> None:
    """Training runs and the decisions about them."""
    runs = published.rows("model_runs", condition=Search(locale).condition("model_runs"))
    reports = published.rows("gate_reports", condition=Search(locale).condition("gate_reports"))
    if not len(runs) and not len(reports):
        st.info("No model yet: run `sayagain train`, then `sayagain gate`.", icon=":material/hourglass_empty:")
        return
    numbers = {
        name: st.column_config.NumberColumn(name.replace("_", " "), format="%.3f")
        for name in (
            "intent_accuracy",
            "slot_f1",
            "exact_match",
            "challenger_accuracy",
            "champion_accuracy",
            "lower_bound",
            "margin",
        )
    } | {"seconds": st.column_config.NumberColumn(format="%.0f")}
    st.subheader("Training runs", anchor=False)
    st.caption("Each model, the frozen training set it came from, and how it did on that set's dev rows.")
    frame = runs.sort_by([("trained_at", "descending")]).to_pandas()
    st.dataframe(frame, hide_index=True, column_config=numbers)
    st.subheader("Gate reports", anchor=False)
    st.caption(
        "Whether a new model may replace the champion. The lower bound of the difference must not fall below "
        "minus the margin. Of a challenger on trial (snapshot `trial`) accuracies are shares of turns served."
    )
    frame = reports.sort_by([("decided_at", "descending")]).to_pandas()
    frame.insert(0, "verdict", ["passed" if passed else "refused" for passed in frame["passed"]])
    order = ["verdict", "challenger", "champion", "reason", "challenger_accuracy", "champion_accuracy"]
    order += ["lower_bound", "margin", "examples", "snapshot_id", "locale", "decided_at"]
    st.dataframe(frame, hide_index=True, column_order=order, column_config=numbers)
