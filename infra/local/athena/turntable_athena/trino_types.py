"""Trino's types: their names in a view's definition, in Glue and in DuckDB, and which of them coerce to which.

The rules are those of Trino's TypeCoercion.java.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .hive_types import HiveType, literal, quote

# Trino's name → (Glue's name, DuckDB's name)
_SCALARS = {
    "boolean": ("boolean", "BOOLEAN"), "tinyint": ("tinyint", "TINYINT"), "smallint": ("smallint", "SMALLINT"),
    "integer": ("int", "INTEGER"), "bigint": ("bigint", "BIGINT"), "real": ("float", "FLOAT"),
    "double": ("double", "DOUBLE"), "varbinary": ("binary", "BLOB"), "date": ("date", "DATE"),
    "time": ("string", "TIME"), "timestamp": ("timestamp", "TIMESTAMP"),
    "timestamp with time zone": ("timestamp", "TIMESTAMP WITH TIME ZONE"),
    "json": ("string", "JSON"), "uuid": ("string", "UUID"), "unknown": ("string", "VARCHAR"),
}  # fmt: skip
_FROM_GLUE = {glue: trino for trino, (glue, _) in reversed(_SCALARS.items())} | {
    "string": "varchar", "integer": "integer", "real": "real", "timestamp": "timestamp",
}  # fmt: skip
# DuckDB computes with more integer types than Trino, as in sum().
_FROM_DUCKDB = {
    "float": "real", "blob": "varbinary", "utinyint": "smallint", "usmallint": "integer", "uinteger": "bigint",
    "ubigint": "bigint", "hugeint": "bigint", "timestamp_s": "timestamp", "timestamp_ms": "timestamp",
    "timestamp_ns": "timestamp",
}  # fmt: skip
_TIMES = ("time", "timestamp", "timestamp with time zone")

# Implicit coercions between types of different names; a number is the precision of the decimal that an integer becomes.
_DECIMAL_OF = {"tinyint": 3, "smallint": 5, "integer": 10, "bigint": 19}
_NUMBERS = ("tinyint", "smallint", "integer", "bigint", "decimal", "real", "double")
_WIDER = {name: set(_NUMBERS[place + 1 :]) for place, name in enumerate(_NUMBERS)} | {
    "date": {"timestamp", "timestamp with time zone"},
    "timestamp": {"timestamp with time zone"},
}
# A field of a row with such a name needs quotes.
_RESERVED = frozenset(
    [
        "ALTER",
        "AND",
        "AS",
        "BETWEEN",
        "BY",
        "CASE",
        "CAST",
        "CONSTRAINT",
        "CREATE",
        "CROSS",
        "CUBE",
        "CURRENT_CATALOG",
        "CURRENT_DATE",
        "CURRENT_PATH",
        "CURRENT_ROLE",
        "CURRENT_SCHEMA",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
        "CURRENT_USER",
        "DEALLOCATE",
        "DELETE",
        "DESCRIBE",
        "DISTINCT",
        "DROP",
        "ELSE",
        "END",
        "ESCAPE",
        "EXCEPT",
        "EXECUTE",
        "EXISTS",
        "EXTRACT",
        "FALSE",
        "FOR",
        "FROM",
        "FULL",
        "GROUP",
        "GROUPING",
        "HAVING",
        "IN",
        "INNER",
        "INSERT",
        "INTERSECT",
        "INTO",
        "IS",
        "JOIN",
        "LEFT",
        "LIKE",
        "LISTAGG",
        "LOCALTIME",
        "LOCALTIMESTAMP",
        "NATURAL",
        "NORMALIZE",
        "NOT",
        "NULL",
        "ON",
        "OR",
        "ORDER",
        "OUTER",
        "PREPARE",
        "RECURSIVE",
        "RIGHT",
        "ROLLUP",
        "SELECT",
        "SKIP",
        "TABLE",
        "THEN",
        "TRIM",
        "TRUE",
        "UESCAPE",
        "UNION",
        "UNNEST",
        "USING",
        "VALUES",
        "WHEN",
        "WHERE",
        "WITH",
    ]
)


class UnknownType(ValueError):
    """A name that is not one of Trino's types, such as `string`."""


@dataclass(frozen=True)
class Type:
    """`base` is array, map, row, or a scalar's name. `arguments` are a length, or a precision and a scale."""

    base: str
    arguments: tuple[int, ...] = ()
    children: tuple[tuple[str, Type], ...] = ()
    open: bool = field(default=False, compare=False)
    """Whether this is a string whose length DuckDB doesn't know: a varchar or char of any length."""

    def __str__(self) -> str:
        """The name in error messages."""
        if self.base == "row":
            return "row(" + ", ".join(f"{name} {kind}".strip() for name, kind in self.children) + ")"
        return self._name(", ", [str(kind) for _, kind in self.children])

    @property
    def id(self) -> str:
        """The name in a view's definition."""
        if self.base == "row":
            return "row(" + ",".join(f"{quote(name)} {kind.id}" for name, kind in self.children) + ")"
        return self._name(",", [kind.id for _, kind in self.children])

    def _name(self, comma: str, children: list[str]) -> str:
        if children:
            return f"{self.base}({comma.join(children)})"
        size = f"({','.join(map(str, self.arguments))})" if self.arguments else ""
        return f"{self.base.split()[0]}{size}{self.base[len(self.base.split()[0]) :]}"

    @property
    def glue(self) -> str:
        """The name in Glue's columns, which is Hive's."""
        if self.base == "array":
            return f"array<{self.children[0][1].glue}>"
        if self.base == "map":
            return f"map<{self.children[0][1].glue},{self.children[1][1].glue}>"
        if self.base == "row":
            return "struct<" + ",".join(f"{name}:{kind.glue}" for name, kind in self.children) + ">"
        if self.base == "varchar" and not self.arguments:
            return "string"
        return _SCALARS[self.base][0] if self.base in _SCALARS else str(self)

    @property
    def duckdb(self) -> str:
        if self.base == "array":
            return f"{self.children[0][1].duckdb}[]"
        if self.base == "map":
            return f"MAP({self.children[0][1].duckdb}, {self.children[1][1].duckdb})"
        if self.base == "row":
            return "STRUCT(" + ", ".join(f"{quote(name)} {kind.duckdb}" for name, kind in self.children) + ")"
        if self.base == "decimal":
            return "DECIMAL({},{})".format(*self.arguments)
        return "VARCHAR" if self.base in ("varchar", "char") else _SCALARS[self.base][1]


def can_coerce(given: Type, wanted: Type) -> bool:
    """Returns whether Trino converts `given` to `wanted` without a CAST."""
    if given == wanted or given.base == "unknown":
        return True
    if given.base != wanted.base:
        if given.base == "varchar" and wanted.base == "char":
            return given.open or (bool(given.arguments) and given.arguments <= wanted.arguments)
        if wanted.base not in _WIDER.get(given.base, ()):
            return False
        return wanted.base != "decimal" or can_coerce(Type("decimal", (_DECIMAL_OF[given.base], 0)), wanted)
    if wanted.base == "decimal":
        (precision, scale), (most, most_scale) = given.arguments, wanted.arguments
        whole = max(precision - scale, most - most_scale)
        return scale <= most_scale and min(38, whole + most_scale) == most
    if wanted.base in ("varchar", "char"):
        return given.open or not wanted.arguments or (bool(given.arguments) and given.arguments <= wanted.arguments)
    if wanted.base in _TIMES:
        return given.arguments <= wanted.arguments
    # The names of a row's fields don't matter.
    return len(given.children) == len(wanted.children) > 0 and all(
        can_coerce(mine, theirs) for (_, mine), (_, theirs) in zip(given.children, wanted.children)
    )


def coerced(value: str, given: Any, wanted: Type, depth: int = 0) -> str:
    """Returns DuckDB's SQL for `value`, of DuckDB's type `given`, as the type `wanted`."""
    if _is(given, wanted):
        return value
    element = f"e{depth}"
    # DuckDB casts rows by the names of their fields, Trino by position.
    if wanted.base == "row":
        fields = ", ".join(
            f"{quote(name)} := " + coerced(f"struct_extract({value}, {literal(field)})", child, kind, depth)
            for (field, child), (name, kind) in zip(given.children, wanted.children)
        )
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({fields}) END"
    if wanted.base == "array":
        return f"list_transform({value}, lambda {element}: {coerced(element, given.children[0][1], wanted.children[0][1], depth + 1)})"
    if wanted.base == "map":
        (_, key), (_, item) = given.children
        key_sql = coerced(f"{element}.key", key, wanted.children[0][1], depth + 1)
        item_sql = coerced(f"{element}.value", item, wanted.children[1][1], depth + 1)
        pairs = f"list_transform(map_entries({value}), lambda {element}: struct_pack(key := {key_sql}, value := {item_sql}))"
        return f"CASE WHEN {value} IS NOT NULL THEN map_from_entries({pairs}) END"
    return f"CAST({value} AS {wanted.duckdb})"


def _is(given: Any, wanted: Type) -> bool:
    if wanted.base not in ("array", "map", "row"):
        return str(given) == wanted.duckdb
    names = [name for name, _ in given.children] if wanted.base == "row" else []
    children = [child for _, child in given.children]
    return names == [name for name, _ in wanted.children if wanted.base == "row"] and all(
        _is(child, kind) for child, (_, kind) in zip(children, wanted.children)
    )


def of_duckdb(kind: Any) -> Type:
    """Returns the type of a DuckDBPyType."""
    if kind.id in ("list", "array"):
        return Type("array", (), (("", of_duckdb(kind.children[0][1])),))
    if kind.id in ("map", "struct"):
        base = "map" if kind.id == "map" else "row"
        return Type(base, (), tuple((name if base == "row" else "", of_duckdb(child)) for name, child in kind.children))
    if kind.id == "decimal":
        size = dict(kind.children)
        return Type("decimal", (size["precision"], size["scale"]))
    name = _FROM_DUCKDB.get(kind.id, kind.id)
    if name not in _SCALARS:
        return Type("varchar", open=True)
    return Type(name, (3,) if name in _TIMES else ())


def of_glue(kind: HiveType) -> Type:
    """Returns the type of a column of a table in Glue."""
    if kind.kind in ("array", "map"):
        return Type(kind.kind, (), tuple(("", of_glue(child)) for _, child in kind.children))
    if kind.kind == "struct":
        return Type("row", (), tuple((name, of_glue(child)) for name, child in kind.children))
    if kind.kind in ("decimal", "varchar", "char"):
        return Type(kind.kind, kind.arguments)
    name = _FROM_GLUE[kind.kind]
    return Type(name, (3,) if name in _TIMES else ())


@lru_cache(maxsize=4096)
def parse(text: str) -> Type:
    """Parses a type as Trino names it. Raises UnknownType."""
    tokens = re.findall(r'"(?:[^"]|"")*"|[(),]|[^\s(),"]+', text)
    kind, rest = _parse(tokens, text)
    if rest:
        raise UnknownType(text)
    return kind


def _parse(tokens: list[str], text: str) -> tuple[Type, list[str]]:
    base, rest = (tokens or [""])[0].lower(), tokens[1:]
    inside, rest = _parenthesized(rest, text)
    if base in ("time", "timestamp"):
        zone = [token.lower() for token in rest[:4]]
        if zone[:3] == ["with", "time", "zone"] and base == "timestamp":
            base, rest = "timestamp with time zone", rest[3:]
        elif zone == ["without", "time", "zone"]:
            rest = rest[3:]
        return Type(base, _numbers(inside, text) or (3,)), rest
    if base in ("array", "map", "row"):
        children = tuple(_child(part, base, text) for part in inside)
        if len(children) < {"array": 1, "map": 2, "row": 1}[base] or (base == "array" and len(children) > 1):
            raise UnknownType(text)
        return Type(base, (), children), rest
    numbers = _numbers(inside, text)
    if base == "decimal":
        return Type(base, (numbers + (38, 0)[len(numbers) :])[:2]), rest
    if base in ("varchar", "char"):
        return Type(base, numbers or ((1,) if base == "char" else ())), rest
    base = {"int": "integer"}.get(base, base)
    if base not in _SCALARS or inside:
        raise UnknownType(text)
    return Type(base), rest


def _child(part: list[str], base: str, text: str) -> tuple[str, Type]:
    name = ""
    if base == "row" and len(part) > 1 and part[1] != "(" and part[1].lower() != "with":
        name, part = part[0], part[1:]
        if name.startswith('"'):
            name = name[1:-1].replace('""', '"')
        elif name.upper() in _RESERVED or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise UnknownType(text)
    kind, rest = _parse(part, text)
    if rest:
        raise UnknownType(text)
    return name, kind


def _parenthesized(tokens: list[str], text: str) -> tuple[list[list[str]], list[str]]:
    """Splits `(a, b) rest` into the tokens of a and b, and the rest."""
    if tokens[:1] != ["("]:
        return [], tokens
    parts: list[list[str]] = [[]]
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        if depth == 0:
            return parts, tokens[place + 1 :]
        if token == "," and depth == 1:
            parts.append([])
        elif place:
            parts[-1].append(token)
    raise UnknownType(text)


def _numbers(parts: list[list[str]], text: str) -> tuple[int, ...]:
    if not all(len(part) == 1 and part[0].isdigit() for part in parts):
        raise UnknownType(text)
    return tuple(int(part[0]) for part in parts)
