"""Starts the page on a lake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from schemas.errors import InputError
from schemas.lake import Lake

PAGE = Path(__file__).with_name("page.py")
OPTIONS = {
    "browser.gatherUsageStats": "false",  # nothing about a lake leaves the machine
    "server.address": "localhost",  # it shows what users said: open it to others behind your own log-in
    "server.fileWatcherType": "none",
    "client.toolbarMode": "minimal",
    "theme.base": "light",
    "theme.primaryColor": "#2a9d8f",
}


def command(lake: Path, port: int, headless: bool) -> list[str]:
    """The command line that serves the page."""
    options = OPTIONS | {"server.port": str(port), "server.headless": str(headless).lower()}
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(PAGE), *flags, "--", str(lake.absolute())]


def serve(lake: Path, port: int = 8501, headless: bool = False) -> int:
    """Serve the page until it is stopped, and return its exit code.

    Args:
        lake: the lake to show.
        port: TCP port on this machine.
        headless: do not open a browser.

    Raises:
        InputError: there is no lake there, or no such port.
    """
    Lake(lake).open()
    if not 1 <= port <= 65535:
        raise InputError(f"no such port: {port}; give one from 1 to 65535")
    rooms = str(PAGE.parents[1])  # streamlit puts the page's own folder on the path, not the one above it
    path = os.pathsep.join(filter(None, [rooms, os.environ.get("PYTHONPATH")]))
    server = subprocess.Popen(command(lake, port, headless), env=os.environ | {"PYTHONPATH": path})
    # Without this a `kill` of the command would leave its server behind, holding the port.
    before = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        return server.wait()
    except KeyboardInterrupt:  # the terminal told the server too
        server.wait()
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
