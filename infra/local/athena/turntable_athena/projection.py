"""Partition projection: partitions computed from table properties instead of read from Glue.

https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from .catalog import Table
from .errors import QueryFailed

_MAX_PARTITIONS = 100_000
_JAVA_DATE = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
_UNITS = ("YEARS", "MONTHS", "WEEKS", "DAYS", "HOURS", "MINUTES", "SECONDS")


def is_enabled(table: Table) -> bool:
    return table.parameters.get("projection.enabled", "").lower() == "true"


def partitions(table: Table) -> list[tuple[tuple[str, ...], str]]:
    """Returns (values, location) of every projected partition, whether or not it exists in S3.

    `storage.location.template` gives the folders; the default is `location/column=value/`.
    """
    names = [name for name, _ in table.partition_keys]
    default = table.location.rstrip("/") + "".join(f"/{name}=${{{name}}}" for name in names) + "/"
    template = table.parameters.get("storage.location.template", default)
    absent = [name for name in names if f"${{{name}}}" not in template]
    if absent:
        raise _invalid(table, f"storage.location.template has no ${{{absent[0]}}}")
    combinations = list(
        itertools.islice(itertools.product(*(list(_values(table, name)) for name in names)), _MAX_PARTITIONS + 1)
    )
    if len(combinations) > _MAX_PARTITIONS:
        raise _invalid(table, f"more than {_MAX_PARTITIONS} projected partitions are not supported by this endpoint")
    return [(values, _fill(template, dict(zip(names, values)))) for values in combinations]


def _fill(template: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{([^}]+)\}", lambda match: values.get(match[1].lower(), match[0]), template)


def _values(table: Table, name: str) -> Iterator[str]:
    kind = _property(table, name, "type").lower()
    if kind == "enum":
        return iter([value.strip() for value in _property(table, name, "values").split(",")])
    if kind == "integer":
        return _integers(table, name)
    if kind == "date":
        return _dates(table, name)
    raise _invalid(table, f"projection type {kind!r} of column {name} is not supported by this endpoint")


def _integers(table: Table, name: str) -> Iterator[str]:
    first, last = _range(table, name)
    step = int(_property(table, name, "interval", "1"))
    digits = int(_property(table, name, "digits", "0"))
    try:
        return (str(value).zfill(digits) for value in range(int(first), int(last) + 1, step))
    except ValueError as error:
        raise _invalid(table, f"projection.{name}.range: {error}") from error


def _dates(table: Table, name: str) -> Iterator[str]:
    """Yields the dates of a range, including both ends. `NOW` is the present in UTC, as in `NOW-3YEARS,NOW+1DAYS`."""
    java = _property(table, name, "format")
    python = re.sub("|".join(_JAVA_DATE), lambda match: _JAVA_DATE[match[0]], java.replace("'", ""))
    unit = _property(table, name, "interval.unit", _finest_unit(java)).upper()
    step = int(_property(table, name, "interval", "1"))
    if step < 1 or unit.rstrip("S") + "S" not in _UNITS:
        raise _invalid(table, f"projection.{name}.interval: {step} {unit}")
    first, last = (_moment(table, name, end, python) for end in _range(table, name))
    for count in itertools.count():
        moment = _shift(first, step * count, unit)
        if moment > last:
            return
        yield moment.strftime(python)


def _moment(table: Table, name: str, text: str, python_format: str) -> datetime:
    relative = re.fullmatch(r"NOW\s*(?:([+-])\s*(\d+)\s*([A-Z]+))?", text.strip().upper())
    if not relative:
        try:
            return datetime.strptime(text.strip(), python_format)
        except ValueError as error:
            raise _invalid(table, f"projection.{name}.range: {error}") from error
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    if relative[1]:
        now = _shift(now, int(relative[1] + relative[2]), relative[3])
    return datetime.strptime(now.strftime(python_format), python_format)


def _shift(moment: datetime, count: int, unit: str) -> datetime:
    unit = unit.rstrip("S") + "S"
    if unit not in ("YEARS", "MONTHS"):
        return moment + timedelta(**{unit.lower(): count})
    months = moment.year * 12 + moment.month - 1 + count * (12 if unit == "YEARS" else 1)
    first = moment.replace(year=months // 12, month=months % 12 + 1, day=1)
    following = _shift(first, 1, "MONTHS") if moment.day > 28 else first + timedelta(days=28)
    return min(first + timedelta(days=moment.day - 1), following - timedelta(days=1) if moment.day > 28 else following)


def _finest_unit(java_format: str) -> str:
    for token, unit in (("ss", "SECONDS"), ("mm", "MINUTES"), ("HH", "HOURS"), ("dd", "DAYS"), ("MM", "MONTHS")):
        if token in java_format:
            return unit
    return "YEARS"


def _range(table: Table, name: str) -> tuple[str, str]:
    ends = _property(table, name, "range").split(",")
    if len(ends) != 2:
        raise _invalid(table, f"projection.{name}.range must be two values")
    return ends[0].strip(), ends[1].strip()


def _property(table: Table, name: str, key: str, default: str | None = None) -> str:
    value = table.parameters.get(f"projection.{name}.{key}", default)
    if value is None:
        raise _invalid(table, f"projection.{name}.{key} is missing")
    return value


def _invalid(table: Table, message: str) -> QueryFailed:
    return QueryFailed("INVALID_TABLE_PROPERTY", f"{table.database}.{table.name}: {message}")
