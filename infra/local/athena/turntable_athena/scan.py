"""Plans the reading of a table: a DuckDB relation over the files that are under its location now."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from . import hive_types, text_files
from .aws import Account, S3File
from .catalog import Table
from .engine import execute
from .errors import QueryFailed
from .hive_types import literal, quote
from .partitions import Folder, folders_to_read

# Hidden columns of Athena's Hive connector, returned only when a query names them.
HIDDEN = {"$path": "VARCHAR", "$file_size": "BIGINT", "$file_modified_time": "TIMESTAMP WITH TIME ZONE"}

# (account, uri, ETag) → the file's columns. An ETag identifies the content, so an entry never becomes stale.
_footers: OrderedDict[tuple[str, str, str], dict[str, Any]] = OrderedDict()
_MAX_FOOTERS = 20_000


@dataclass
class Relation:
    """SQL for a FROM clause, and the files that it reads."""

    sql: str
    files: list[S3File] = field(default_factory=list)


def relation(
    account: Account,
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    conditions: Sequence[str],
    hidden: set[str],
) -> Relation:
    """Plans the reading of `table`. The files are listed here, once; DuckDB reads them while the query runs.

    `conditions` are SQL predicates on partition columns only: folders that fail one aren't read. `hidden` has the hidden
    columns that the query names.
    """
    if table.parameters.get("table_type"):
        kind = table.parameters["table_type"]
        raise QueryFailed(
            "NOT_SUPPORTED", f"{table.database}.{table.name} is a table of type {kind}: not supported by this endpoint"
        )
    folders = folders_to_read(account, connection, table, conditions)
    listings = account.list_many([folder.location for folder in folders]) if len(folders) > 1 else None
    read = [
        (folder, listings[i] if listings else account.list_files(folder.location)) for i, folder in enumerate(folders)
    ]
    files = [file for _, found in read for file in found]
    if not files:
        return Relation(_empty(table, hidden))
    uris = "[" + ", ".join(literal(file.uri) for file in files) + "]"
    if "parquet" in table.serde.lower() or table.parameters.get("classification") == "parquet":
        _check_types(account, connection, table, files)
        source = _parquet(table, uris)
    else:
        source = text_files.source(table, uris)
    columns = [_column(name, kind) for name, kind in table.columns]
    if table.partition_keys:
        source += f' JOIN {_values_by_file(read, table)} USING ("$path")'
        columns += [quote(name) for name, _ in table.partition_keys]
    columns += [_hidden_column(name, files) for name in sorted(hidden)]
    return Relation(f"(SELECT {', '.join(columns)} FROM {source})", files)


def _parquet(table: Table, uris: str) -> str:
    """Returns the reader. Parquet columns are matched by name, ignoring case. A column that a file lacks is null.

    https://docs.aws.amazon.com/athena/latest/ug/handling-schema-updates-chapter.html
    """
    entries = (
        f"{literal(name)}: {{name: {literal(name)}, type: {literal(hive_types.parse(kind).duckdb)}, default_value: NULL}}"
        for name, kind in table.columns
    )
    as_text = "binary" not in (kind.lower() for _, kind in table.columns)
    return (
        f"read_parquet({uris}, schema = MAP {{{', '.join(entries)}}}, "
        f"filename = '$path', hive_partitioning = false, binary_as_string = {str(as_text).lower()})"
    )


def _column(name: str, kind: str) -> str:
    """Returns a column's SQL. Athena reads a Parquet timestamp as timestamp(3), rounded to milliseconds."""
    column = quote(name)
    if hive_types.parse(kind).duckdb != "TIMESTAMP":
        return column
    return f"make_timestamp(CAST(round(epoch_us({column}) / 1000.0) AS BIGINT) * 1000) AS {column}"


def _hidden_column(name: str, files: list[S3File]) -> str:
    if name == "$path":
        return quote(name)
    values = {f.uri: str(f.size) if name == "$file_size" else f"to_timestamp({f.modified})" for f in files}
    entries = ", ".join(f"{literal(uri)}: {value}" for uri, value in values.items())
    return f'MAP {{{entries}}}["$path"]::{HIDDEN[name]} AS {quote(name)}'


def _empty(table: Table, hidden: set[str]) -> str:
    typed = [(name, hive_types.parse(kind).duckdb) for name, kind in table.columns + table.partition_keys]
    typed += [(name, HIDDEN[name]) for name in sorted(hidden)]
    return "(SELECT " + ", ".join(f"CAST(NULL AS {kind}) AS {quote(name)}" for name, kind in typed) + " WHERE false)"


def _values_by_file(read: list[tuple[Folder, list[S3File]]], table: Table) -> str:
    rows = ", ".join(
        "(" + ", ".join([literal(file.uri), *folder.literals(table)]) + ")" for folder, files in read for file in files
    )
    names = ", ".join(['"$path"', *(quote(name) for name, _ in table.partition_keys)])
    return f"(VALUES {rows}) AS p({names})"


def _check_types(account: Account, connection: duckdb.DuckDBPyConnection, table: Table, files: list[S3File]) -> None:
    """Fails with HIVE_BAD_DATA if Athena can't read a file's column as the table's type.

    DuckDB would cast it. Each object's footer is read once. A file that has been deleted by now fails the query.
    """
    for file in files:
        key = (account.access_key, file.uri, file.etag)
        stored = _footers.get(key)
        if stored is None:
            described = execute(connection, f"SELECT * FROM read_parquet({literal(file.uri)}) LIMIT 0").description
            stored = _footers[key] = {name.lower(): kind for name, kind, *_ in described}
            while len(_footers) > _MAX_FOOTERS:
                _footers.popitem(last=False)
        for name, kind in table.columns:
            if name in stored and not hive_types.parse(kind).accepts(stored[name]):
                raise QueryFailed(
                    "HIVE_BAD_DATA",
                    f"Field {name}'s type {stored[name]} in parquet file {file.uri} is incompatible with type {kind} defined in table schema",
                )
