"""DDL on Glue: views, external tables, SHOW and DESCRIBE."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import ClientError
from sqlglot import exp

from . import catalog, views
from .errors import InvalidRequest, QueryFailed
from .run import Run
from .sql import Planner

_SERDES = {
    "parquet": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
    "textfile": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
}


@dataclass(frozen=True)
class Action:
    subkind: str
    run: Callable[[Run], None]


def understand(tree: exp.Expr, text: str) -> Action:
    """Returns the action for CREATE [OR REPLACE] VIEW, CREATE EXTERNAL TABLE, DROP VIEW or DROP TABLE, and refuses the rest."""
    kind = str(tree.args.get("kind") or "").upper()
    if isinstance(tree, exp.Create) and kind == "VIEW" and isinstance(tree.expression, exp.Query):
        return Action("CREATE_VIEW", lambda run: _create_view(tree, text, run))
    if isinstance(tree, exp.Create) and kind == "TABLE" and tree.find(exp.ExternalProperty):
        return Action("CREATE_TABLE", lambda run: _create_table(tree, run))
    if isinstance(tree, exp.Drop) and kind in ("VIEW", "TABLE"):
        return Action(f"DROP_{kind}", lambda run: _drop(tree, kind, run))
    if not isinstance(tree, (exp.Command, exp.DDL, exp.DML, exp.Drop, exp.Alter, exp.Describe)):
        raise InvalidRequest(f"line 1:1: mismatched input '{text.split()[0]}'. Expecting: <query>", "MALFORMED_QUERY")
    raise InvalidRequest(
        f"{text.split()[0].upper()} statement is not supported by this endpoint: {text[:80]}", "NOT_SUPPORTED"
    )


def _create_view(tree: exp.Create, text: str, run: Run) -> None:
    match = re.search(r"\bAS\b\s*(.*)$", text, re.IGNORECASE | re.DOTALL)
    columns = Planner(run.account, run.connection).columns(tree.expression, run.database)
    if match is None or any(not column for column, _ in columns):
        raise QueryFailed("MISSING_COLUMN_NAME", "line 1:1: Column name not specified")
    names = [column.lower() for column, _ in columns]
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        raise QueryFailed("DUPLICATE_COLUMN_NAME", f"line 1:1: Column name '{twice}' specified more than once")
    name = _named(tree)
    database = name.db or run.database
    view = {"Name": name.name.lower(), **views.encode(match[1], run.database, columns)}
    try:
        run.account.glue.create_table(DatabaseName=database, TableInput=view)
    except ClientError as error:
        _expect(error, "AlreadyExistsException")
        if not tree.args.get("replace"):
            raise QueryFailed(
                "ALREADY_EXISTS", f"line 1:1: View already exists: 'awsdatacatalog.{database}.{name.name}'"
            ) from error
        if not catalog.load(run.account, database, name.name).is_view:
            raise QueryFailed(
                "ALREADY_EXISTS", f"Table already exists: 'awsdatacatalog.{database}.{name.name}'"
            ) from error
        run.account.glue.update_table(DatabaseName=database, TableInput=view)


def _create_table(tree: exp.Create, run: Run) -> None:
    name = _named(tree)
    location = tree.find(exp.LocationProperty)
    if location is None:
        raise QueryFailed("INVALID_TABLE_PROPERTY", "LOCATION is missing")
    row_format = tree.find(exp.RowFormatSerdeProperty)
    stored = tree.find(exp.FileFormatProperty)
    partitioned = tree.find(exp.PartitionedByProperty)
    form = stored.name.lower() if stored else "textfile"
    serde = row_format.name if row_format else _SERDES.get(form)
    if serde is None:
        raise QueryFailed("NOT_SUPPORTED", f"STORED AS {form} is not supported by this endpoint")
    serde_properties = tree.find(exp.SerdeProperties)
    table = {
        "Name": name.name.lower(),
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", **_pairs(tree.args["properties"].expressions)},
        "PartitionKeys": _columns(partitioned.this) if partitioned else [],
        "StorageDescriptor": {
            "Columns": _columns(tree.this),
            "Location": location.name,
            "SerdeInfo": {
                "SerializationLibrary": serde,
                "Parameters": _pairs(serde_properties.expressions) if serde_properties else {},
            },
        },
    }
    try:
        run.account.glue.create_table(DatabaseName=name.db or run.database, TableInput=table)
    except ClientError as error:
        _expect(error, "AlreadyExistsException")
        if not tree.args.get("exists"):
            raise QueryFailed("ALREADY_EXISTS", f"Table {name.name} already exists") from error


def _drop(tree: exp.Drop, kind: str, run: Run) -> None:
    name = _named(tree)
    database = name.db or run.database
    try:
        table = catalog.load(run.account, database, name.name)
    except QueryFailed as error:
        if error.code == "TABLE_NOT_FOUND" and tree.args.get("exists"):
            return
        raise
    if table.is_view != (kind == "VIEW"):
        raise QueryFailed("NOT_SUPPORTED", f"'{database}.{name.name}' is {'a view' if table.is_view else 'a table'}")
    run.account.glue.delete_table(DatabaseName=database, Name=table.name)


def _named(tree: exp.Expr) -> exp.Table:
    """Returns the first table or view that the statement names."""
    table = tree.find(exp.Table)
    if table is None or not table.name:
        raise QueryFailed("SYNTAX_ERROR", "line 1:1: expected a name")
    return table


def _columns(schema: exp.Schema) -> list[dict[str, str]]:
    return [
        {"Name": column.name.lower(), "Type": column.args["kind"].sql(dialect="hive").lower().replace(": ", ":")}
        for column in schema.expressions
    ]


def _pairs(properties: list[exp.Expr]) -> dict[str, str]:
    return {p.this.name: p.args["value"].name for p in properties if type(p) is exp.Property}


def _expect(error: ClientError, code: str) -> None:
    if error.response["Error"]["Code"] != code:
        raise QueryFailed("HIVE_METASTORE_ERROR", str(error)) from error


def _show_tables(run: Run, match: re.Match[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    pages = run.account.glue.get_paginator("get_tables").paginate(DatabaseName=match["db"] or run.database)
    return ["tab_name"], sorted((table["Name"],) for page in pages for table in page["TableList"])


def _show_databases(run: Run, _: re.Match[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    pages = run.account.glue.get_paginator("get_databases").paginate()
    return ["database_name"], sorted((database["Name"],) for page in pages for database in page["DatabaseList"])


def _show_create_view(run: Run, match: re.Match[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    table = _load(run, match)
    if not table.is_view:
        raise QueryFailed("NOT_SUPPORTED", f"'{table.database}.{table.name}' is a table, not a view")
    return ["Create View"], [(f"CREATE VIEW {table.database}.{table.name} AS\n{views.decode(table).sql}",)]


def _show_create_table(run: Run, match: re.Match[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns the statement's lines, as Hive prints them."""
    table = _load(run, match)
    if table.is_view:
        raise QueryFailed("NOT_SUPPORTED", f"'{table.database}.{table.name}' is a view, not a table")

    def listed(items: list[str]) -> list[str]:
        return [item + ("," if at < len(items) else ")") for at, item in enumerate(items, 1)]

    columns, keys = ([f"  `{name}` {kind}" for name, kind in some] for some in (table.columns, table.partition_keys))
    lines = [f"CREATE EXTERNAL TABLE `{table.database}.{table.name}`(", *listed(columns)]
    lines += ["PARTITIONED BY ( ", *listed(keys)] if keys else []
    lines += ["ROW FORMAT SERDE ", f"  '{table.serde}' "] if table.serde else []
    lines += ["LOCATION", f"  '{table.location.rstrip('/')}'"]
    parameters = [f"  '{key}'='{value}'" for key, value in sorted(table.parameters.items())]
    lines += ["TBLPROPERTIES (", *listed(parameters)] if parameters else []
    return ["createtab_stmt"], [(line,) for line in lines]


def _describe(run: Run, match: re.Match[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns one cell per column, `name<TAB>type<TAB>`, as Hive prints it."""
    table = _load(run, match)
    return ["col_name"], [(f"{name:<20}\t{kind:<20}\t{'':<20}",) for name, kind in table.columns + table.partition_keys]


def _load(run: Run, match: re.Match[str]) -> catalog.Table:
    return catalog.load(run.account, match["db"] or run.database, match["name"])


_NAME = r'(?:["`]?(?P<db>\w+)["`]?\.)?["`]?(?P<name>\w+)["`]?'
Show = Callable[[Run, "re.Match[str]"], tuple[list[str], list[tuple[str, ...]]]]
SHOWS: list[tuple[str, str, Show]] = [
    (r"show\s+tables(?:\s+(?:in|from)\s+[\"`]?(?P<db>\w+)[\"`]?)?", "SHOW_TABLES", _show_tables),
    (r"show\s+(?:databases|schemas)", "SHOW_DATABASES", _show_databases),
    (rf"show\s+create\s+view\s+{_NAME}", "SHOW_CREATE_VIEW", _show_create_view),
    (rf"show\s+create\s+table\s+{_NAME}", "SHOW_CREATE_TABLE", _show_create_table),
    (rf"(?:describe|desc)\s+(?:table\s+)?{_NAME}", "DESCRIBE_TABLE", _describe),
]
