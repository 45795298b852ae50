"""The input of a running statement, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from .aws import Account
from .values import Column


@dataclass
class Run:
    """The caller, connection, default database and destination of one running query."""

    account: Account
    connection: duckdb.DuckDBPyConnection
    database: str
    query_id: str
    output: str | None
    """The folder for the result: `s3://bucket/prefix/`, or None for managed results."""
    scratch: Path
    """The only local folder that DuckDB can write to."""


@dataclass
class Result:
    """A table as CSV (only a SELECT has a header row), or the URI of an UNLOAD's manifest."""

    columns: list[Column] = field(default_factory=list)
    body: str = ""
    bytes_scanned: int = 0
    manifest: str | None = None
