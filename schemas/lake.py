"""Where things lie in a lake, and which version of each table is published.

Delta has no transaction across tables, so a step publishes by writing its manifest last (an atomic rename), and
every reader takes table versions from the manifests. What a killed step left behind is thus never read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import InputError

if TYPE_CHECKING:
    import pyarrow.dataset

FORMAT = 1  # raised when an older program could no longer read the lake


@dataclass(frozen=True)
class Manifest:
    """What the last published run of a step read and wrote. Versions are Delta table versions."""

    step: str
    run_id: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)  # parameters fitted by the run, snapshot id, ...


@dataclass(frozen=True)
class Lake:
    """A lake's layout. Cheap to make; touches the disk only in its methods."""

    path: Path

    def table(self, name: str) -> Path:
        """Folder of a Delta table."""
        return self.path / name

    @property
    def registry(self) -> Path:
        """Folder of the model registry: MLflow's SQLite store and artifacts."""
        return self.path / "_registry"

    @property
    def encoders(self) -> Path:
        """Folder of the encoders trained for this lake."""
        return self.path / "_encoders"

    @property
    def expectations(self) -> Path:
        """Folder of the Great Expectations context and its Data Docs."""
        return self.path / "_expectations"

    @property
    def snapshots(self) -> Path:
        """Folder of snapshot manifests and dataset cards."""
        return self.path / "_snapshots"

    def scratch(self, run_id: str) -> Path:
        """Folder of what a run's tasks tell one another; the run removes it, and one that was killed when run again."""
        return self.path / "_scratch" / run_id

    @property
    def _marker(self) -> Path:
        return self.path / "_sayagain.json"

    def open(self, *, create: bool = False, write: bool = False) -> Lake:
        """Check that the lake exists, is of a format this program reads, and can be written if that is asked.

        Raises:
            InputError: none of these; says which and what to do.
        """
        if not self._marker.is_file():
            if not create:
                raise InputError(f"no lake at {self.path}: run `sayagain ingest` first, or give --lake PATH")
            if self.path.is_dir() and any(self.path.iterdir()):
                raise InputError(f"{self.path} is not empty and no lake: give --lake another folder")
            self._write(self._marker, {"format": FORMAT})
        try:
            found = int(json.loads(self._marker.read_text(encoding="utf-8"))["format"])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self._marker} is damaged: restore it, or move {self.path} away") from None
        if found > FORMAT:
            raise InputError(
                f"the lake at {self.path} has format {found}, made by a newer Sayagain; "
                f"this one reads up to {FORMAT}: upgrade, or give --lake another folder"
            )
        if (create or write) and not os.access(self.path, os.W_OK):
            raise InputError(f"no permission to write to the lake at {self.path}: fix its owner or mode")
        return self

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
            temporary.replace(path)
        except OSError as fault:
            raise InputError(
                f"cannot write to the lake at {self.path} ({fault.strerror}): fix its owner or mode, or give --lake"
            ) from None

    def manifest(self, step: str) -> Manifest | None:
        """The last published manifest of a step, or None."""
        path = self.path / "_manifests" / f"{step}.json"
        return Manifest(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def publish(self, manifest: Manifest) -> None:
        """Make a run's outputs the ones that readers see."""
        self._write(self.path / "_manifests" / f"{manifest.step}.json", asdict(manifest))

    def published(self) -> dict[str, int]:
        """Every published table and its version."""
        versions: dict[str, int] = {}
        for path in sorted((self.path / "_manifests").glob("*.json")):
            versions |= json.loads(path.read_text(encoding="utf-8"))["outputs"]
        return versions

    def dataset(self, table: str, version: int | None = None) -> pyarrow.dataset.Dataset:
        """The files of a Delta table as an Arrow dataset, for readers without a JVM; reads the log only.

        Args:
            version: Delta version; None takes the published one.

        Raises:
            InputError: no run has published it yet, and no version was asked for.
            deltalake.exceptions.TableNotFoundError: the folder is gone.
        """
        from deltalake import DeltaTable
        from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

        path = self.table(table)
        delta = DeltaTable(path, version=self.version(table) if version is None else version)
        # Through deltalake's own file system Arrow's threads call Python, and one that still does so when the
        # interpreter ends aborts the process (apache/arrow#34314).
        return delta.to_pyarrow_dataset(filesystem=SubTreeFileSystem(str(path), LocalFileSystem()))

    def latest(self, table: str) -> int | None:
        """The newest version of a table that is only added to (no manifest names it); None where it has no row."""
        from deltalake import DeltaTable

        path = str(self.table(table))
        return DeltaTable(path).version() if DeltaTable.is_deltatable(path) else None

    def rows(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: pyarrow.dataset.Expression | None = None,
        version: int | None = None,
    ) -> list[dict[str, Any]]:
        """Rows of a table at a version, the published one by default, as dictionaries; `where` is pushed down to the
        files.

        Raises:
            InputError: no run has published it yet, or an older program's did, without some of the columns; names the
                step that does.

        Cost: memory of the matching rows.
        """
        data = self.dataset(table, version)
        if missing := [name for name in columns or () if name not in data.schema.names]:
            raise InputError(
                f"{table} is of an older program and has no {', '.join(missing)}: run `sayagain mine` again"
            )
        found: list[dict[str, Any]] = data.to_table(columns=columns, filter=where).to_pylist()
        return found

    def version(self, table: str) -> int:
        """The published version of a table.

        Raises:
            InputError: no run has published it yet; names the step that does.
        """
        from schemas.tables import BY_NAME

        versions = self.published()
        if table not in versions:
            step = BY_NAME[table].writer.split(".")[-1]
            raise InputError(f"the lake at {self.path} has no {table} yet: run the step `{step}` first")
        return versions[table]
