"""CREATE TABLE … WITH (property = value, …) AS query, for Hive tables without partitions and buckets.

https://docs.aws.amazon.com/athena/latest/ug/create-table-as.html
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from sqlglot import exp

from . import sql, unload
from .errors import InvalidRequest, QueryFailed
from .run import Run
from .trino_types import Type

VERSION = "0.215-24619-g93e00a8"
"""The version that Athena writes into a table's parameters."""
_PARQUET = "org.apache.hadoop.hive.ql.io.parquet."
_FORMATS = {
    "PARQUET": (f"{_PARQUET}MapredParquetInputFormat", f"{_PARQUET}MapredParquetOutputFormat", f"{_PARQUET}serde.ParquetHiveSerDe"),
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    name: exp.Table
    query: exp.Query
    location: str | None
    compression: str
    only_if_missing: bool


def is_ctas(tree: exp.Expr) -> bool:
    kind = str(tree.args.get("kind") or "").upper()
    return isinstance(tree, exp.Create) and kind == "TABLE" and isinstance(tree.expression, exp.Query)


def understand(tree: exp.Create) -> Request:
    """Returns the request. Raises InvalidRequest for properties that this endpoint doesn't have."""
    properties, form = _properties(tree)
    compression = properties.pop("write_compression", properties.pop("parquet_compression", "GZIP")).upper()
    location = properties.pop("external_location", None)
    if properties.pop("table_type", "hive").lower() != "hive":
        raise _unsupported("an Iceberg table")
    properties.pop("is_external", None)
    if form.upper() not in _FORMATS:
        raise _unsupported(f"format {form!r}")
    if properties:
        raise _unsupported(f"the property {sorted(properties)[0]!r}")
    return Request(tree.this, sql.as_query(tree.expression), location, compression, bool(tree.args.get("exists")))


def _properties(tree: exp.Create) -> tuple[dict[str, str], str]:
    found, form = {}, "PARQUET"
    given = tree.args.get("properties")
    for item in given.expressions if given else ():
        if isinstance(item, exp.FileFormatProperty):
            form = item.name
        elif type(item) is exp.Property:
            found[item.this.name.lower()] = item.args["value"].name
        else:
            raise _unsupported(f"{item.sql(dialect='trino')}")
    return found, form


def _unsupported(what: str) -> InvalidRequest:
    return InvalidRequest(f"CREATE TABLE AS with {what} is not supported by this endpoint", "NOT_SUPPORTED")


def run(request: Request, run: Run) -> tuple[list[str], sql.Planner]:
    """Writes the files, then creates the table. Returns the files' URIs, and the planner of the query."""
    name, database = request.name.name.lower(), request.name.db or run.database
    planner = sql.Planner(run.account, run.connection)
    if _exists(run, database, name):
        if request.only_if_missing:
            return [], planner
        raise QueryFailed(
            "TABLE_ALREADY_EXISTS", f"line 1:1: Destination table 'awsdatacatalog.{database}.{name}' already exists"
        )
    columns = planner.columns(request.query, run.database)
    location = (request.location or f"{run.output or ''}tables/{run.query_id}").rstrip("/")
    if not location.startswith("s3://"):
        raise QueryFailed("INVALID_TABLE_PROPERTY", "external_location is missing")
    query = planner.plan(request.query, run.database)
    made = unload.Request(request.query, location, "PARQUET", request.compression, (), "")
    written = unload.write(made, query, run)
    run.account.glue.create_table(DatabaseName=database, TableInput=_table(name, columns, location, request, run))
    return written, planner


def _exists(run: Run, database: str, name: str) -> bool:
    try:
        run.account.glue.get_table(DatabaseName=database, Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "EntityNotFoundException":
            return False
        raise QueryFailed("HIVE_METASTORE_ERROR", str(error)) from error
    return True


def _table(name: str, columns: list[tuple[str, Type]], location: str, request: Request, run: Run) -> dict[str, Any]:
    """Returns the table as Athena leaves it in Glue.

    The parameters are those in the output of SHOW CREATE TABLE for tables of 2026; tables of 2023 have
    `presto_query_id` and `presto_version` instead. Athena doesn't count files, hence -1.
    """
    reader, writer, serde = _FORMATS["PARQUET"]
    tail = re.sub(r"[^a-z0-9]", "", run.query_id)[:5]
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            "EXTERNAL": "TRUE",
            "auto.purge": "false",
            "has_encrypted_data": "false",
            "numFiles": "-1",
            "parquet.compression": request.compression,
            "totalSize": "-1",
            "transactional": "false",
            "trino_query_id": f"{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}_00001_{tail}",
            "trino_version": VERSION,
        },
        "PartitionKeys": [],
        "StorageDescriptor": {
            "Columns": [{"Name": column.lower(), "Type": kind.glue} for column, kind in columns],
            "Location": location,
            "InputFormat": reader,
            "OutputFormat": writer,
            "NumberOfBuckets": -1,
            "SerdeInfo": {"SerializationLibrary": serde},
        },
    }
