"""The page in a real browser, served as a user serves it.

BROWSER_TEST=required makes a missing browser a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import answers, browser, free_port, missing, wait_for

from schemas.lake import Lake

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SERVE = "import sys; from pathlib import Path; from inspector.serve import serve; "
SERVE += "sys.exit(serve(Path(sys.argv[1]), int(sys.argv[2]), headless=True))"


@pytest.fixture
def served(planted: Lake, tmp_path: Path) -> Iterator[str]:
    """The address of the page on the planted lake."""
    if missing():
        if os.environ.get("BROWSER_TEST") == "required":
            pytest.fail(missing())
        pytest.skip(missing())
    port = free_port()
    log = tmp_path / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(planted.path), str(port)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: answers(f"http://localhost:{port}/_stcore/health"), 90, "the page's server")
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(30)
    assert not answers(f"http://localhost:{port}/_stcore/health"), "ending the command left its server"
    assert "Traceback" not in log.read_text("utf-8")


def test_a_pair_is_found_and_explained(served: str) -> None:
    with browser() as window:
        window.open(served)
        window.see("niamshe saa moja")
        window.see("Why these two belong together")
        window.see("The session around it")
        wait_for(
            lambda: window.run("return document.querySelectorAll('canvas').length") >= 3,
            60,
            "charts and tables",
        )
        window.see("1 found")  # rephrases come first; the German pair is a repeat
        window.type("input[aria-label='Words']", "wecker")
        window.see("No pair fits this search.")
        window.open(served + "/?pair=p-german")
        window.see("2 found")
        window.type("input[aria-label='Words']", "wecker")
        window.see("1 found")
        window.see("Stell den <b>Wecker</b>")
        assert "niamshe" not in window.text()
        for tab, text in (
            ("Counts by stage", "Every count"),
            ("Models", "Gate reports"),
            ("Quarantine", "Reason"),
        ):
            number = ["Rephrase pairs", "Pseudo-labels", "Words", "Counts by stage", "Quarantine", "Models"].index(tab)
            window.click("[role=tab]", number)
            window.see(text)
        assert "Traceback" not in window.text()
