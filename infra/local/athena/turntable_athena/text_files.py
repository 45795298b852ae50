"""Reads CSV and JSON tables with DuckDB."""

from __future__ import annotations

from . import hive_types
from .catalog import Columns, Table
from .errors import QueryFailed
from .hive_types import literal, quote


def source(table: Table, uris: str) -> str:
    """Returns a relation with the table's columns and `$path`. The file names determine the compression."""
    serde = table.serde.rpartition(".")[2].lower()
    if serde in ("lazysimpleserde", "opencsvserde"):
        return _csv(table, uris, is_lazy=serde == "lazysimpleserde")
    if "json" in serde:
        return _json(table, uris)
    raise QueryFailed("HIVE_UNSUPPORTED_FORMAT", f"SerDe {table.serde!r} is not supported by this endpoint")


def _csv(table: Table, uris: str, is_lazy: bool) -> str:
    r"""Reads CSV. With LazySimpleSerDe, `\N` and invalid values are null. With OpenCSVSerde, an invalid value fails.

    https://docs.aws.amazon.com/athena/latest/ug/lazy-simple-serde.html, …/csv-serde.html
    """
    given = table.serde_parameters
    if is_lazy:
        delimiter = given.get("field.delim") or given.get("serialization.format") or "\x01"
        options = {"delim": delimiter, "quote": "", "escape": "", "nullstr": r"\N"}
    else:
        options = {
            "delim": given.get("separatorChar", ","),
            "quote": given.get("quoteChar", '"'),
            "escape": given.get("escapeChar", '"'),
        }
    skip = int(table.parameters.get("skip.header.line.count", given.get("skip.header.line.count", "0")))
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name, _ in table.columns)
    settings = ", ".join(f"{name} = {literal(value)}" for name, value in options.items())
    read = (
        f"read_csv({uris}, columns = {{{columns}}}, {settings}, skip = {skip}, header = false, auto_detect = false, "
        "null_padding = true, strict_mode = false, parallel = false, filename = '$path', hive_partitioning = false)"
    )
    cast = "TRY_CAST" if is_lazy else "CAST"
    return _typed(table.columns, read, cast)


def _json(table: Table, uris: str) -> str:
    columns = ", ".join(f"{literal(name)}: {literal(hive_types.parse(kind).duckdb)}" for name, kind in table.columns)
    return (
        f"read_json({uris}, columns = {{{columns}}}, format = 'newline_delimited', "
        "filename = '$path', hive_partitioning = false)"
    )


def _typed(columns: Columns, read: str, cast: str) -> str:
    typed = (
        quote(name)
        if kind == "string"
        else f"{cast}({quote(name)} AS {hive_types.parse(kind).duckdb}) AS {quote(name)}"
        for name, kind in columns
    )
    return f'(SELECT {", ".join(typed)}, "$path" FROM {read})'
