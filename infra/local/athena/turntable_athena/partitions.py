"""Finds the folders of a partitioned table that a query needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from . import catalog, hive_types, projection
from .aws import Account
from .catalog import Table
from .engine import execute
from .hive_types import literal, quote


@dataclass(frozen=True)
class Folder:
    """A location, and the partition columns' values for every row in it."""

    location: str
    values: tuple[str, ...] = ()

    def literals(self, table: Table) -> list[str]:
        """Returns the values as typed SQL. Hive writes a null as `__HIVE_DEFAULT_PARTITION__`."""
        return [
            f"CAST({'NULL' if value == '__HIVE_DEFAULT_PARTITION__' else literal(value)} AS {hive_types.parse(kind).duckdb})"
            for value, (_, kind) in zip(self.values, table.partition_keys)
        ]


def folders_to_read(
    account: Account, connection: duckdb.DuckDBPyConnection, table: Table, conditions: Sequence[str]
) -> list[Folder]:
    """Returns the table's location, or those of its projected or registered partitions that satisfy `conditions`."""
    if not table.partition_keys:
        return [Folder(table.location)]
    if projection.is_enabled(table):
        folders = [Folder(location, values) for values, location in projection.partitions(table)]
    else:
        folders = [Folder(location, values) for values, location in catalog.registered_partitions(account, table)]
    if not folders or not conditions:
        return folders
    rows = ", ".join(f"({', '.join([str(i), *folder.literals(table)])})" for i, folder in enumerate(folders))
    names = ", ".join(['"$folder"', *(quote(name) for name, _ in table.partition_keys)])
    where = " AND ".join(f"({condition})" for condition in conditions)
    kept = execute(connection, f'SELECT "$folder" FROM (VALUES {rows}) AS p({names}) WHERE {where}').fetchall()
    return [folders[i] for (i,) in sorted(kept)]
