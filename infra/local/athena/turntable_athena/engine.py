"""DuckDB behind the endpoint: one database in memory, and a separate connection for each query."""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb

from .errors import QueryFailed
from .hive_types import literal

_SETTINGS = """
    SET GLOBAL TimeZone = 'UTC';
    SET GLOBAL integer_division = true;                           -- 7 / 2 is 3 in Trino
    SET GLOBAL disabled_optimizers = 'statistics_propagation';    -- it relies on the footers' statistics
    SET GLOBAL enable_external_file_cache = false;                -- every query reads from S3
    SET GLOBAL python_enable_replacements = false;
    SET GLOBAL http_retries = 2;
    SET GLOBAL httpfs_connection_caching = true;                  -- with threads = 2 (idle workers spin),
    SET GLOBAL threads = 2;                                       -- halves the time of a small query
"""


# Restricts queries to S3 and the folder for UNLOAD. No later statement can lift the restriction.
_LOCK = """
    SET GLOBAL allow_persistent_secrets = false;
    SET GLOBAL allowed_directories = ['s3://', {folder}];
    SET GLOBAL enable_external_access = false;
"""


class Engine:
    """The database. It holds macros (functions.sql) and no data, so queries can't see each other."""

    def __init__(self, endpoint: str, region: str, secret: str) -> None:
        url = urlsplit(endpoint)
        self._s3 = {
            "s3_endpoint": url.netloc,
            "s3_use_ssl": "true" if url.scheme == "https" else "false",
            "s3_url_style": "path",
            "s3_region": region,
            "s3_secret_access_key": secret,
        }
        self._database = duckdb.connect(":memory:")
        extensions = resources.files("duckdb_extension_httpfs") / "extensions"
        extension = next(Path(str(extensions)).glob("*/httpfs.duckdb_extension"))
        self._database.execute(f"LOAD {literal(str(extension))}")
        self._database.execute(_SETTINGS)
        self._scratch = tempfile.TemporaryDirectory(prefix="athena-")
        spill, self.unloaded = Path(self._scratch.name) / "spill", Path(self._scratch.name) / "unload"
        self.unloaded.mkdir()
        self._database.execute(f"SET GLOBAL temp_directory = {literal(str(spill))}")
        self._database.create_function("trino_normalize", _normalize, ["VARCHAR", "VARCHAR"], "VARCHAR")
        self._database.execute((Path(__file__).parent / "functions.sql").read_text())
        self._database.execute(_LOCK.format(folder=literal(f"{self.unloaded}/")))

    @contextmanager
    def session(self, access_key: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """Opens a connection with the caller's S3 settings, which DuckDB keeps per connection."""
        connection = self._database.cursor()
        try:
            settings = {**self._s3, "s3_access_key_id": access_key}
            connection.execute("".join(f"SET SESSION {name} = {literal(value)};" for name, value in settings.items()))
            yield connection
        finally:
            connection.close()


def _normalize(text: str, form: str) -> str:
    return unicodedata.normalize(form, text)  # type: ignore[arg-type]


def execute(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """Runs `sql`. Errors become a QueryFailed with the code that Athena would return."""
    try:
        return connection.execute(sql)
    except duckdb.Error as error:
        raise failure(error) from error


def bind(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[str, Any]]:
    """Returns the names and types (DuckDBPyTypes) of a query's columns. Runs nothing."""
    try:
        planned = connection.sql(sql)
        return list(zip(planned.columns, planned.types))
    except duckdb.Error as error:
        raise failure(error) from error


def fetch(connection: duckdb.DuckDBPyConnection, rows: int) -> list[tuple[Any, ...]]:
    """Returns the next rows of a running query. DuckDB still reads S3 here, so this can fail."""
    try:
        return connection.fetchmany(rows)
    except duckdb.Error as error:
        raise failure(error) from error


def failure(error: duckdb.Error) -> QueryFailed:
    """Converts a DuckDB error. Every error while reading S3 is a HIVE_CURSOR_ERROR: no file is skipped or read as empty."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    # The casts of functions.sql fail in Trino's words.
    cast = re.fullmatch(r"Invalid Input Error: (Cannot cast .*)", text)
    if cast:
        return QueryFailed("INVALID_CAST_ARGUMENT", cast[1])
    if isinstance(error, duckdb.HTTPException):
        where = re.search(r"reading '([^']+)'", text)
        gone = "404" in text
        return QueryFailed(
            "HIVE_CURSOR_ERROR",
            f"Failed to read file: {where[1] if where else ''}: {'The specified key does not exist. ' if gone else ''}{text}",
        )
    if isinstance(error, duckdb.IOException):
        return QueryFailed("HIVE_CURSOR_ERROR", text)
    if isinstance(error, duckdb.InvalidInputException) and "parquet" in text.lower():
        return QueryFailed("HIVE_BAD_DATA", text)
    if "Division by zero" in text:
        return QueryFailed("DIVISION_BY_ZERO", "Division by zero")
    missing = re.search(r'Referenced column "([^"]+)" not found', text)
    if missing:
        return QueryFailed(
            "COLUMN_NOT_FOUND", f"Column '{missing[1]}' cannot be resolved or requester is not authorized"
        )
    missing = re.search(r"Function with name (\S+) does not exist", text)
    if missing:
        return QueryFailed(
            "FUNCTION_NOT_FOUND", f"Function '{missing[1]}' not registered (or not known to this endpoint)"
        )
    large = re.search(r'Could not convert string "(.*)" to DECIMAL\((\d+),(\d+)\)', text)
    if large:
        return QueryFailed(
            "INVALID_CAST_ARGUMENT",
            f"Cannot cast VARCHAR '{large[1]}' to DECIMAL({large[2]}, {large[3]}). Value too large.",
        )
    if isinstance(error, duckdb.ConversionException):
        return QueryFailed("INVALID_CAST_ARGUMENT", text)
    if isinstance(error, (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException)):
        return QueryFailed("SYNTAX_ERROR", text)
    return QueryFailed("GENERIC_INTERNAL_ERROR", text)
