"""Exact pins: make the requirement files from pyproject.toml, or say what is stale about them.

    python requirements.py make [--upgrade]    needs uv and a package index
    python requirements.py check               offline, no installation; prints every fault

Each file starts with the sha256 of the dependency lists it was made from, so that a change of pyproject.toml
without `make pins` is noticed by the test command. The files carry versions and no index address: where
packages come from is the business of the machine that installs them.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent
STAMP = "# sha256 of its dependency lists in pyproject.toml: "
MAKE_FIRST = "requirements-dev.txt"  # the widest resolution; the others take their versions from it
ADDRESS = re.compile(r"https?:|file:|--index|--extra-index|--find-links|--trusted-host|^-[if]\b|@ ", re.IGNORECASE)
NOT_WITH_GPU = "faiss-cpu"  # faiss-gpu installs the same module


def wanted(pyproject: Mapping[str, object]) -> dict[str, list[str]]:
    """Requirement file -> the direct dependencies it pins."""
    project, groups = pyproject["project"], pyproject["dependency-groups"]
    assert isinstance(project, Mapping)
    assert isinstance(groups, Mapping)
    runtime = list(project["dependencies"])
    gpu = [line for line in runtime if canonicalize_name(Requirement(line).name) != NOT_WITH_GPU]
    return {
        "requirements-dev.txt": runtime + list(groups["dev"]),
        "requirements.txt": runtime,
        "requirements-gpu.txt": gpu + list(project["optional-dependencies"]["gpu"]),
        "requirements-airflow.txt": list(groups["airflow"]),
    }


def fingerprint(dependencies: list[str]) -> str:
    """The sha256 of a dependency list; order does not matter."""
    return hashlib.sha256(json.dumps(sorted(dependencies)).encode()).hexdigest()


def faults(name: str, text: str, dependencies: list[str]) -> list[str]:
    """Everything wrong with the requirement file `name` that holds `text`: empty if it may be installed."""
    found: list[str] = []
    first, *lines = text.splitlines() or [""]
    if first != STAMP + fingerprint(dependencies):
        found.append(f"{name}: stale, pyproject.toml lists other dependencies: run `make pins`")
    pins: dict[str, list[Requirement]] = {}
    for number, line in enumerate(lines, start=2):
        if ADDRESS.search(line):
            found.append(f"{name}:{number}: holds an address; requirement files carry versions only")
            continue
        if not line.strip() or line.startswith("#"):
            continue
        try:
            pin = Requirement(line)
        except InvalidRequirement:
            found.append(f"{name}:{number}: not a requirement: {line}")
            continue
        if not re.fullmatch(r"==[^*,]+", str(pin.specifier)):
            found.append(f"{name}:{number}: {pin.name} has no exact version")
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    for line in dependencies:
        direct = Requirement(line)
        held = pins.get(canonicalize_name(direct.name), [])
        if not held:
            found.append(f"{name}: no pin for {direct.name}: run `make pins`")
        for pin in held:
            version = str(pin.specifier).removeprefix("==")
            if not direct.specifier.contains(version, prereleases=True):
                found.append(f"{name}: {pin.name}=={version} violates pyproject.toml's {direct}: run `make pins`")
    return found


def check(root: Path = ROOT) -> list[str]:
    """Every fault of every requirement file under `root`."""
    found: list[str] = []
    for name, dependencies in wanted(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))).items():
        path = root / name
        if path.is_file():
            found += faults(name, path.read_text("utf-8"), dependencies)
        else:
            found.append(f"{name}: missing: run `make pins`")
    return found


def compile_pins(name: str, dependencies: list[str], root: Path, upgrade: bool) -> None:
    """Write one requirement file; versions already in it stay while they fit, unless `upgrade`.

    Raises:
        SystemExit: there is no uv, or no set of versions fits.
    """
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise SystemExit("no uv: run `make setup` first, or pip install uv")
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "direct.in"), Path(folder, "pins.txt")
        source.write_text("\n".join(dependencies) + "\n", encoding="utf-8")
        command = [uv, "pip", "compile", str(source), "--output-file", str(out), "--python-version", "3.11"]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--quiet"]
        widest = root / MAKE_FIRST
        if name not in (MAKE_FIRST, "requirements-airflow.txt"):  # Airflow has an environment of its own
            command += ["--constraint", str(widest)]
        if upgrade:
            command.append("--upgrade")
        elif (root / name).is_file():
            shutil.copy(root / name, out)
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise SystemExit(f"uv found no versions for {name}")
        pins = [line for line in out.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    content = "\n".join([STAMP + fingerprint(dependencies), *pins]) + "\n"
    (root / name).write_text(content, encoding="utf-8")
    print(f"{name}: {len(pins)} pins")


def main(arguments: list[str]) -> int:
    """The command line of this file."""
    if arguments[:1] == ["make"]:
        for name, dependencies in wanted(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))).items():
            compile_pins(name, dependencies, ROOT, upgrade="--upgrade" in arguments)
    elif arguments != ["check"]:
        print(__doc__)
        return 2
    found = check()
    print("\n".join(found) if found else "requirement files: exact and up to date")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
