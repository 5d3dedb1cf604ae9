"""The README's own commands, run as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_your_own_logs_in_five_commands(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own logs in five commands")[1]
    blocks = re.findall(r"```bash\n(.*?)```", section.split("\n## ")[0], flags=re.DOTALL)
    assert len(blocks) == 5
    # The interpreter's folder, unresolved: a virtual environment's python links to one outside it.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    said = [
        subprocess.run(
            ["bash", "-euc", block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        for block in blocks
    ]
    assert [done.returncode for done in said] == [0] * 5, [done.stderr[-2000:] for done in said]
    assert "read 4 · kept 4" in said[1].stdout
    assert "pairs 2" in said[2].stdout
    assert "rephrase_pairs" in said[3].stdout
    assert "sayagain-sw-KE/1" in said[4].stdout
