"""Stores views in Glue, in the form that Athena and Presto share."""

from __future__ import annotations

import base64
import json
from typing import Any

from .catalog import Table
from .errors import QueryFailed
from .values import Column

_PREFIX, _SUFFIX = "/* Presto View: ", " */"


def encode(sql: str, database: str, columns: list[Column]) -> dict[str, Any]:
    """Returns the view's fields of a Glue TableInput."""
    body = {
        "originalSql": sql,
        "catalog": "awsdatacatalog",
        "schema": database,
        "columns": [{"name": column.name, "type": _sql_type(column)} for column in columns],
    }
    encoded = base64.b64encode(json.dumps(body).encode()).decode()
    return {
        "TableType": "VIRTUAL_VIEW",
        "ViewOriginalText": f"{_PREFIX}{encoded}{_SUFFIX}",
        "ViewExpandedText": "/* Presto View */",
        "Parameters": {"presto_view": "true", "comment": "Presto View"},
        "PartitionKeys": [],
        "StorageDescriptor": {
            "Columns": [{"Name": column.name.lower(), "Type": _hive_type(column)} for column in columns],
            "Location": "",
            "SerdeInfo": {},
        },
    }


def decode(table: Table) -> tuple[str, str]:
    """Returns the view's SQL, and the database of its unqualified names."""
    text = table.view_text
    try:
        if not (text.startswith(_PREFIX) and text.endswith(_SUFFIX)):
            raise ValueError("not a Presto view")
        body = json.loads(base64.b64decode(text[len(_PREFIX) : -len(_SUFFIX)]))
        return body["originalSql"], body.get("schema") or table.database
    except (ValueError, KeyError) as error:
        raise QueryFailed("INVALID_VIEW", f"view {table.database}.{table.name} cannot be read: {error}") from error


def _sql_type(column: Column) -> str:
    return f"decimal({column.precision},{column.scale})" if column.type == "decimal" else column.type


def _hive_type(column: Column) -> str:
    names = {"varchar": "string", "integer": "int", "varbinary": "binary", "timestamp with time zone": "timestamp"}
    return names.get(column.type, _sql_type(column))
