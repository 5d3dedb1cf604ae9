"""The page: `streamlit run inspector/page.py -- LAKE`, or with SAYAGAIN_LAKE set. `serve.py` starts it."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import streamlit as st

from inspector import pairs_view, run_views, words_view
from inspector.lake import Published, Search
from schemas.errors import InputError

EVERY = "every locale"
FIGURES = (
    ("Turns", "turns", "Things said to the assistant."),
    ("Rephrase pairs", "rephrase_pairs", "A try that failed, and what the same user said instead."),
    ("Formulations", "utterances", "Different wordings."),
    ("Pseudo-labels", "pseudo_labels", "Wordings with a label that nobody annotated."),
)


def lake_path() -> Path:
    """The lake to show: the first argument after `--`, else SAYAGAIN_LAKE, else `lake`."""
    given = sys.argv[1] if Path(sys.argv[0]).name == "page.py" and len(sys.argv) > 1 else ""
    return Path(given or os.environ.get("SAYAGAIN_LAKE", "lake"))


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Sayagain inspector", page_icon=":speech_balloon:", layout="wide")
    st.title("Sayagain inspector", anchor=False)
    st.caption(
        "When people are misunderstood, they say it again. Here is what was mined from that, and why it is believed."
    )
    path = lake_path()
    try:
        published = Published.of(path)
    except InputError as fault:
        st.info(f"Nothing to show yet: {fault}", icon=":material/info:")
        return
    if not published.versions:
        st.info(
            f"The lake at {path} has no tables yet. Run `sayagain ingest` on logs, then `sayagain mine`.",
            icon=":material/info:",
        )
        return
    locale = _sidebar(path, published)
    for place, (label, table, meaning) in zip(st.columns(len(FIGURES)), FIGURES, strict=True):
        place.metric(label, f"{published.count(table, Search(locale)):,}", help=meaning, border=True)
    views = {
        "Rephrase pairs": partial(pairs_view.draw, published, locale),
        "Pseudo-labels": partial(run_views.labels, published, locale),
        "Words": partial(words_view.draw, published, locale),
        "Counts by stage": partial(run_views.stages, published),
        "Quarantine": partial(run_views.quarantine, published),
        "Models": partial(run_views.models, published, locale),
    }
    for tab, draw in zip(st.tabs(list(views)), views.values(), strict=True):
        with tab:
            draw()


def _sidebar(path: Path, published: Published) -> str:
    """Draw what is shown of which lake; returns the chosen locale, empty for every one."""
    with st.sidebar:
        st.subheader("Lake", anchor=False)
        st.text(str(path))
        locale = st.selectbox("Locale", [EVERY, *published.locales()], key="locale")
        st.button("Look again", help="Read what has been published since.", icon=":material/refresh:")
        st.caption("Published versions. What a killed run left behind is not among them.")
        versions = {"table": list(published.versions), "version": list(published.versions.values())}
        st.dataframe(versions, hide_index=True, height=38 + 35 * len(published.versions))
    return "" if locale == EVERY else str(locale)


main()
