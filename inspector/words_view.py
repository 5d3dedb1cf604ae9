"""The tab of words: what the log taught of which words of a launch language say which of the mature one."""

from __future__ import annotations

import streamlit as st

from inspector.lake import Published, Search
from inspector.pairs_view import TABLE_HEIGHT, share

SHOWN = 2_000  # translations in the table at once


def draw(published: Published, locale: str) -> None:
    """A table of translations to search, those that both directions agree on most first."""
    if "translations" not in published.versions:
        st.info("No translations yet: run `sayagain mine`.", icon=":material/hourglass_empty:")
        return
    st.caption(
        "Which words say the same, found in wordings whose intent is believed: nobody translated them. They name "
        "wishes that no model understood, find values, and tell the next model the annotations in words of its own."
    )
    search = Search(locale, st.text_input("Word", key="translated_word", placeholder="of either language"))
    found = published.rows("translations", condition=search.condition("translations"))
    frame = found.sort_by([("agreement", "descending"), ("word", "ascending")]).to_pandas()
    if frame.empty:
        st.info(
            "No word fits this search." if search.text.strip() else "No words were learnt.",
            icon=":material/search_off:",
        )
        return
    several = len(frame) > SHOWN
    st.caption(f"{len(frame):,} found" + (f"; the {SHOWN:,} most agreed on are listed" if several else ""))
    columns = {
        "word": st.column_config.TextColumn("mature language", width="medium"),
        "translation": st.column_config.TextColumn("launch language", width="medium"),
        "agreement": share("agreement", "How far both directions of translation agree, from 0.1 up."),
        "locale": st.column_config.TextColumn("locale"),
    }
    st.dataframe(
        frame.head(SHOWN),
        hide_index=True,
        height=min(TABLE_HEIGHT, 38 + 35 * len(frame)),
        column_order=list(columns),
        column_config=columns,
    )
