"""The data gate: Great Expectations over a batch that is not published yet, with a Data Docs page a run."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from pyspark.sql import DataFrame

from schemas.expectations import Expectation

# Counts and shares only: a user's words have no place in a page that is passed around.
_RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}


@dataclass(frozen=True)
class Verdict:
    """What the gate said: one line for each failed expectation, and the page that shows all of them."""

    passed: bool
    failures: tuple[str, ...]
    page: Path


def _context(folder: Path) -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported: nothing is sent anywhere
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    context = gx.get_context(mode="file", project_root_dir=folder)
    if context.variables.progress_bars != {"globally": False}:
        context.variables.progress_bars = {"globally": False}
        context.variables.save()
    return context


def _observed(result: Any) -> str:
    found = result.result
    if result.exception_info.get("raised_exception"):
        return f"could not be computed: {result.exception_info.get('exception_message')}"
    if "observed_value" in found:
        value = found["observed_value"]
        return "no good record" if value is None else f"{value:.4g}" if isinstance(value, float) else f"{value}"
    return f"{found.get('unexpected_count')} of {found.get('element_count')} records do not"


def validate(batch: DataFrame, expectations: Sequence[Expectation], folder: Path, name: str) -> Verdict:
    """Validate a batch and write its Data Docs page.

    Args:
        batch: the data frame, cached by the caller: each expectation is a query over it.
        expectations: what to ask of it.
        folder: of the file-backed context; made when missing.
        name: of the run, in the Data Docs.

    Returns:
        The verdict. A few seconds, mostly Spark's start-up of small queries.
    """
    context = _context(folder)
    import great_expectations as gx

    # Our frame is cached already; the context would cache it once more.
    source = context.data_sources.add_or_update_spark("ingest", persist=False)
    definition = source.add_dataframe_asset("batch").add_batch_definition_whole_dataframe("records")
    suite = gx.ExpectationSuite(name="ingest")
    for index, expectation in enumerate(expectations):
        made = getattr(gx.expectations, expectation.kind)
        meta = {"index": index, "says": expectation.says, "setting": expectation.setting}
        suite.add_expectation(made(**expectation.arguments, meta=meta, notes=expectation.says))
    suite = context.suites.add_or_update(suite)
    validation = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name="ingest", data=definition, suite=suite)
    )
    # Without a time GX parses one out of the name, and an id that happens to be all digits overflows there.
    run = gx.RunIdentifier(run_name=name, run_time=datetime.now(UTC))
    result = validation.run(batch_parameters={"dataframe": batch}, result_format=_RESULT_FORMAT, run_id=run)
    failures = []
    for one in result.results:
        if not one.success:
            meta = one.expectation_config.meta
            remedy = f" (setting {meta['setting']})" if meta["setting"] else ""
            failures.append((meta["index"], f"expected {meta['says']}, observed {_observed(one)}{remedy}"))
    page = _page(context, run, result)
    return Verdict(bool(result.success), tuple(text for _, text in sorted(failures)), page)


def _page(context: Any, run: Any, result: Any) -> Path:
    """Build the Data Docs of this run alone (the others are there already) and say where its page is."""
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    suite = ExpectationSuiteIdentifier("ingest")
    validation = ValidationResultIdentifier(suite, run, result.batch_id)
    context.build_data_docs(resource_identifiers=[suite])
    context.build_data_docs(resource_identifiers=[validation])
    url = context.get_docs_sites_urls(resource_identifier=validation)[0]["site_url"]
    return Path(unquote(urlparse(url).path))
