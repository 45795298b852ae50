"""Reads and writes views in Glue, in the form that Athena and Presto share, and checks whether a view is stale."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import trino_types
from .catalog import Table
from .errors import QueryFailed
from .hive_types import quote
from .trino_types import Type

_PREFIX, _SUFFIX = "/* Presto View: ", " */"
Columns = Sequence[tuple[str, Type]]


@dataclass(frozen=True)
class View:
    """A view's definition. `name` is the qualified name, `database` that of the query's unqualified names."""

    name: str
    sql: str
    database: str
    columns: tuple[tuple[str, Type], ...]


def encode(sql: str, database: str, columns: Columns) -> dict[str, Any]:
    """Returns the view's fields of a Glue TableInput."""
    body = {
        "originalSql": sql,
        "catalog": "awsdatacatalog",
        "schema": database,
        "columns": [{"name": name, "type": kind.id} for name, kind in columns],
    }
    encoded = base64.b64encode(json.dumps(body).encode()).decode()
    return {
        "TableType": "VIRTUAL_VIEW",
        "ViewOriginalText": f"{_PREFIX}{encoded}{_SUFFIX}",
        "ViewExpandedText": "/* Presto View */",
        "Parameters": {"presto_view": "true", "comment": "Presto View"},
        "PartitionKeys": [],
        "StorageDescriptor": {
            "Columns": [{"Name": name.lower(), "Type": kind.glue} for name, kind in columns],
            "Location": "",
            "SerdeInfo": {},
        },
    }


def decode(table: Table, at: str = "line 1:1") -> View:
    """Returns the definition of a view in Glue. Fails like Athena if a part that Athena needs is missing.

    `at` says where the statement names the view.
    """
    # https://github.com/hashicorp/terraform-provider-aws/issues/28517
    if not table.has_serde:
        raise QueryFailed("HIVE_METASTORE_ERROR", "Table storage descriptor is missing SerDe info")
    if table.parameters.get("presto_view") != "true":
        raise QueryFailed("NOT_SUPPORTED", f"Hive views are not supported: '{table.database}.{table.name}'")
    name, text = f"awsdatacatalog.{table.database}.{table.name}", table.view_text
    try:
        if not (text.startswith(_PREFIX) and text.endswith(_SUFFIX)):
            raise ValueError("not a Presto view")
        body = json.loads(base64.b64decode(text[len(_PREFIX) : -len(_SUFFIX)], validate=True))
        sql, stored = body["originalSql"], [(column["name"], column["type"]) for column in body["columns"]]
        if not stored:
            raise ValueError("columns list is empty")
        if body.get("runAsInvoker") and body.get("owner"):
            raise ValueError("owner cannot be present with runAsInvoker")
    except (ValueError, KeyError, TypeError) as error:
        raise QueryFailed("INVALID_VIEW", f"Invalid view JSON of {name}: {error!r}") from error
    columns = []
    for column, kind in stored:
        try:
            columns.append((column, trino_types.parse(kind)))
        except trino_types.UnknownType as error:
            raise QueryFailed(
                "INVALID_VIEW", f"{at}: Unknown type '{kind}' for column '{column}' in view: {name}"
            ) from error
    return View(name, sql, body.get("schema") or table.database, tuple(columns))


def staleness(stored: Columns, found: Columns) -> str | None:
    """Returns why a view with the columns `stored` can't be read if its query returns `found`, in Trino's words."""
    if len(stored) != len(found):
        return (
            f"stored view column count ({len(stored)}) does not match column count derived from the view query "
            f"analysis ({len(found)})"
        )
    for place, ((name, wanted), (column, kind)) in enumerate(zip(stored, found)):
        projected = f"column [{column}] of type {kind} projected from query view at position {place}"
        definition = f"column [{name}] of type {wanted} stored in view definition"
        if not column:
            return f"a column of type {kind} projected from query view at position {place} has no name"
        if name.lower() != column.lower():
            return f"{projected} has a different name from {definition}"
        if not trino_types.can_coerce(kind, wanted):
            return f"{projected} cannot be coerced to {definition}"
    return None


def casts(stored: Columns, found: Sequence[tuple[str, Any]]) -> list[str] | None:
    """Returns SQL that gives columns named c0, c1, … the stored names and types. `found` has DuckDB's names and types.

    Returns None if the columns are as stored already.
    """
    columns = [trino_types.coerced(f"c{place}", kind, stored[place][1]) for place, (_, kind) in enumerate(found)]
    if columns == [f"c{place}" for place in range(len(columns))] and [n for n, _ in found] == [n for n, _ in stored]:
        return None
    return [f"{column} AS {quote(name)}" for column, (name, _) in zip(columns, stored)]
