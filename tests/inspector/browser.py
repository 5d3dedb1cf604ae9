"""Just enough of the W3C WebDriver protocol to drive Debian's chromium: no client library is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that WebDriver gives element references under
ENTER = "\ue007"


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing() -> str:
    """Why there is no browser here, or empty."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(absent)} (apt-get install chromium chromium-driver)" if absent else ""


def wait_for(condition: Any, seconds: float, what: str) -> Any:
    """The first true value of a condition.

    Raises:
        TimeoutError: it stayed false.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}")


def answers(url: str) -> bool:
    """True once a server answers at the address."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


class Browser:
    """One window of a headless chromium."""

    def __init__(self, driver: str, session: str) -> None:
        self._at = f"{driver}/session/{session}"

    def _call(self, path: str, content: dict[str, Any] | None = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._at + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)["value"]

    def open(self, url: str) -> None:
        """Go to an address."""
        self._call("/url", {"url": url})

    def run(self, script: str) -> Any:
        """The value of a script."""
        return self._call("/execute/sync", {"script": script, "args": []})

    def text(self) -> str:
        """What can be read on the page."""
        return str(self.run("return document.body.innerText"))

    def see(self, text: str, seconds: float = 60) -> None:
        """Wait until a text can be read on the page."""
        try:
            wait_for(lambda: text in self.text(), seconds, repr(text))
        except TimeoutError as fault:
            raise AssertionError(f"{fault}; the page says:\n{self.text()}") from None

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field and press enter."""
        self._act(selector, 0, "value", {"text": text + ENTER})

    def click(self, selector: str, number: int = 0) -> None:
        """Click on the n-th element of a selector."""
        self._act(selector, number, "click", {})

    def _act(self, selector: str, number: int, action: str, content: dict[str, Any], seconds: float = 60) -> None:
        """Act on an element of a page at rest; found anew where the page was drawn again in between."""
        refused = f"no element {number} of {selector}"

        def done() -> bool:
            nonlocal refused
            if self.run("return document.querySelector('[data-test-script-state=running]') !== null"):
                return False
            try:
                found = self._call("/elements", {"using": "css selector", "value": selector})
                if len(found) <= number:
                    return False
                self._call(f"/element/{found[number][ELEMENT]}/{action}", content)
            except urllib.error.HTTPError as fault:  # stale, or covered for a moment
                refused = fault.read().decode(errors="replace")[:300]
                return False
            return True

        try:
            wait_for(done, seconds, f"{action} on {selector}")
        except TimeoutError as fault:
            raise AssertionError(f"{fault}: {refused}; the page says:\n{self.text()}") from None

    def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self._call("/screenshot")))


@contextmanager
def browser(width: int = 1400, height: int = 1900) -> Iterator[Browser]:
    """A headless chromium, closed at the end."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as profile:
        driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"},
        )
        try:
            wait_for(lambda: answers(f"{address}/status"), 30, "chromedriver")
            switches = [
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ]
            switches += ["--disable-background-networking", f"--window-size={width},{height}"]
            switches += [f"--user-data-dir={profile}"]
            wanted = {"alwaysMatch": {"goog:chromeOptions": {"args": switches, "binary": shutil.which("chromium")}}}
            request = urllib.request.Request(f"{address}/session", json.dumps({"capabilities": wanted}).encode())
            with urllib.request.urlopen(request, timeout=90) as reply:
                session = json.load(reply)["value"]["sessionId"]
            yield Browser(address, session)
            closing = urllib.request.Request(f"{address}/session/{session}", method="DELETE")
            urllib.request.urlopen(closing, timeout=30).close()
        finally:
            driver.terminate()
            driver.wait(30)
