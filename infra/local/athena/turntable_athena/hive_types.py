"""Converts Hive types of Glue columns to DuckDB's, and checks which Parquet types a column accepts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import QueryFailed

_DUCKDB = {
    "tinyint": "TINYINT", "smallint": "SMALLINT", "int": "INTEGER", "integer": "INTEGER", "bigint": "BIGINT",
    "boolean": "BOOLEAN", "float": "FLOAT", "real": "FLOAT", "double": "DOUBLE",
    "string": "VARCHAR", "varchar": "VARCHAR", "char": "VARCHAR",
    "date": "DATE", "timestamp": "TIMESTAMP", "binary": "BLOB",
}  # fmt: skip

_INT32 = {"tinyint", "smallint", "integer", "utinyint", "usmallint"}
# For each table type, the types of a file's column (as DuckDB names them) that Trino's Parquet reader accepts.
_READABLE: dict[str, set[str]] = {
    "TINYINT": _INT32, "SMALLINT": _INT32, "INTEGER": _INT32,
    "BIGINT": _INT32 | {"bigint", "uinteger"},
    "BOOLEAN": {"boolean"}, "FLOAT": {"float"}, "DOUBLE": {"double", "float"},
    "VARCHAR": {"varchar", "json", "enum"}, "BLOB": {"blob", "varchar"},
    "DATE": {"date"},
    "TIMESTAMP": {"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"},
}  # fmt: skip


@dataclass(frozen=True)
class HiveType:
    """`kind` is array, map, struct, decimal or a scalar's name; children are (name, type)."""

    kind: str
    children: tuple[tuple[str, HiveType], ...] = ()
    arguments: tuple[int, ...] = ()

    @property
    def duckdb(self) -> str:
        """The type in DuckDB's notation."""
        if self.kind == "array":
            return f"{self.children[0][1].duckdb}[]"
        if self.kind == "map":
            return f"MAP({self.children[0][1].duckdb}, {self.children[1][1].duckdb})"
        if self.kind == "struct":
            return "STRUCT(" + ", ".join(f"{quote(n)} {t.duckdb}" for n, t in self.children) + ")"
        if self.kind == "decimal":
            return "DECIMAL({}, {})".format(*self.arguments)
        return _DUCKDB[self.kind]

    def accepts(self, stored: Any) -> bool:
        """Returns whether a Parquet column of DuckDB's type `stored` (a DuckDBPyType) can be read as this type."""
        if self.kind == "array":
            return stored.id == "list" and self.children[0][1].accepts(stored.children[0][1])
        if self.kind == "map":
            return stored.id == "map" and all(
                mine.accepts(theirs) for (_, mine), (_, theirs) in zip(self.children, stored.children)
            )
        if self.kind == "struct":
            fields = {name.lower(): kind for name, kind in stored.children} if stored.id == "struct" else None
            return fields is not None and all(n not in fields or t.accepts(fields[n]) for n, t in self.children)
        if self.kind == "decimal":
            return stored.id == "decimal" or stored.id in _READABLE["BIGINT"]
        return str(stored.id) in _READABLE[self.duckdb]


@lru_cache(maxsize=4096)
def parse(text: str) -> HiveType:
    """Parses a type such as `array<struct<a:int,b:decimal(10,2)>>`. An unknown type fails the query."""
    tokens = re.findall(r"[<>,:()]|[^<>,:()\s]+", text.lower())
    parsed, rest = _parse(tokens, text)
    if rest:
        raise _unknown(text)
    return parsed


def _parse(tokens: list[str], text: str) -> tuple[HiveType, list[str]]:
    if not tokens:
        raise _unknown(text)
    kind, rest = tokens[0], tokens[1:]
    if kind in ("array", "map", "struct") and rest[:1] == ["<"]:
        children: list[tuple[str, HiveType]] = []
        while rest[:1] and rest[0] in "<,":
            name, rest = ("", rest[1:]) if kind != "struct" else (rest[1], rest[3:])
            child, rest = _parse(rest, text)
            children.append((name, child))
        if rest[:1] != [">"] or len(children) < {"array": 1, "map": 2, "struct": 1}[kind]:
            raise _unknown(text)
        return HiveType(kind, tuple(children)), rest[1:]
    arguments: tuple[int, ...] = ()
    if rest[:1] == ["("] and ")" in rest:
        end = rest.index(")")
        arguments, rest = tuple(int(t) for t in rest[1:end] if t.isdigit()), rest[end + 1 :]
    if kind == "decimal":
        return HiveType("decimal", (), (arguments + (10, 0)[len(arguments) :])[:2]), rest
    if kind not in _DUCKDB:
        raise _unknown(text)
    return HiveType(kind, (), arguments), rest


def _unknown(text: str) -> QueryFailed:
    return QueryFailed("HIVE_INVALID_METADATA", f"Unsupported Hive type: {text}")


def quote(name: str) -> str:
    """Returns a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Returns `text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
