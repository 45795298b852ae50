"""Renders values as Athena does, and reads and writes the CSV of results."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any

Row = tuple[str | None, ...]
Render = Callable[[Any], str]

# DuckDB type id → (Athena's name, precision, scale)
_ATHENA = {
    "boolean": ("boolean", 0, 0),
    "tinyint": ("tinyint", 3, 0), "smallint": ("smallint", 5, 0), "integer": ("integer", 10, 0),
    "utinyint": ("smallint", 5, 0), "usmallint": ("integer", 10, 0), "uinteger": ("bigint", 19, 0),
    "bigint": ("bigint", 19, 0), "ubigint": ("bigint", 19, 0), "hugeint": ("bigint", 19, 0),
    "float": ("float", 17, 0), "double": ("double", 17, 0),
    "varchar": ("varchar", 2147483647, 0), "json": ("json", 0, 0), "uuid": ("uuid", 0, 0),
    "blob": ("varbinary", 1073741824, 0), "date": ("date", 0, 0), "time": ("time", 3, 0),
    "timestamp": ("timestamp", 3, 0), "timestamp with time zone": ("timestamp with time zone", 3, 0),
    "list": ("array", 0, 0), "array": ("array", 0, 0), "map": ("map", 0, 0), "struct": ("row", 0, 0),
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One entry of ResultSetMetadata.ColumnInfo, and the renderer of its values."""

    name: str
    type: str
    precision: int = 0
    scale: int = 0
    render: Render = str

    @classmethod
    def of(cls, name: str, kind: Any) -> Column:
        """Makes a column from the DuckDBPyType of a result's column."""
        if kind.id == "decimal":
            size = dict(kind.children)
            return cls(name, "decimal", size["precision"], size["scale"], _decimal)
        athena, precision, scale = _ATHENA.get(kind.id, ("varchar", 2147483647, 0))
        return cls(name, athena, precision, scale, renderer(kind))


def renderer(kind: Any) -> Render:
    """Returns the renderer for a DuckDB type. A null in a container renders as `null`."""
    if kind.id in ("list", "array"):
        item = _nullable(renderer(kind.children[0][1]))
        return lambda values: "[" + ", ".join(map(item, values)) + "]"
    if kind.id == "map":
        key, value = (_nullable(renderer(child)) for _, child in kind.children)
        return lambda entries: "{" + ", ".join(f"{key(k)}={value(v)}" for k, v in entries.items()) + "}"
    if kind.id == "struct":
        fields = [(name, _nullable(renderer(child))) for name, child in kind.children]
        return lambda row: "{" + ", ".join(f"{name}={show(row[name])}" for name, show in fields) + "}"
    return _SCALARS.get(kind.id, str)


def _nullable(render: Render) -> Render:
    return lambda value: "null" if value is None else render(value)


def _decimal(value: Decimal) -> str:
    return format(value, "f")


def _timestamp(value: datetime | str) -> str:
    return value.replace(tzinfo=None).isoformat(" ", "milliseconds") if isinstance(value, datetime) else value


def _double(value: float) -> str:
    """Renders like Java's Double.toString: 1.0, 1.0E10, 1.0E-5; without an exponent between 10^-3 and 10^7."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    digits, exponent = re.fullmatch(r"(.+)e([+-]\d+)", f"{Decimal(repr(value)).normalize():e}").groups()  # type: ignore[union-attr]
    return f"{digits if '.' in digits else digits + '.0'}E{int(exponent)}"


def _float(value: float) -> str:
    """Renders like Java's Float.toString: with the fewest digits that give the same 32 bits."""
    for digits in range(6, 10):
        shown = float(f"{value:.{digits}g}")
        if value != value or struct.pack("f", shown) == struct.pack("f", value):
            return _double(shown)
    return _double(value)


def _time(value: time) -> str:
    return value.isoformat("milliseconds")


_SCALARS: dict[str, Render] = {
    "boolean": lambda value: "true" if value else "false",
    "float": _float,
    "double": _double,
    "decimal": _decimal,
    "timestamp": _timestamp,
    "timestamp with time zone": lambda value: _timestamp(value) + " UTC",
    "time": _time,
    "blob": lambda value: value.hex(" "),
}


def rows(columns: list[Column], raw: Iterable[tuple[Any, ...]]) -> Iterator[Row]:
    shows = [column.render for column in columns]
    for row in raw:
        yield tuple(None if value is None else show(value) for show, value in zip(shows, row))


def to_csv(lines: Iterable[Row]) -> str:
    """Writes lines as CSV. Every value is quoted; a null has no quotes, which distinguishes it from an empty string."""
    return "".join(
        ",".join("" if value is None else '"' + value.replace('"', '""') + '"' for value in line) + "\n"
        for line in lines
    )


_VALUE = re.compile(r'(?:"([^"]*(?:""[^"]*)*)")?([,\n])')


def from_csv(text: str, offset: int, most: int) -> tuple[list[Row], int]:
    """Reads at most `most` lines of `to_csv` from a character offset. Returns them and the offset after them."""
    lines: list[Row] = []
    line: list[str | None] = []
    while len(lines) < most and offset < len(text):
        match = _VALUE.match(text, offset)
        if match is None:
            raise ValueError(f"not a result file at character {offset}")
        line.append(None if match[1] is None else match[1].replace('""', '"'))
        offset = match.end()
        if match[2] == "\n":
            lines.append(tuple(line))
            line = []
    return lines, offset
