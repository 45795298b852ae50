"""Reads table definitions from Glue. Every query reads them again: nothing is cached."""

from __future__ import annotations

from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from .aws import Account
from .errors import QueryFailed

Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """A table's definition when it was read. Types are as in Glue. The columns don't include the partition keys."""

    database: str
    name: str
    location: str
    columns: Columns
    partition_keys: Columns = ()
    parameters: dict[str, str] = field(default_factory=dict)
    serde: str = ""
    has_serde: bool = False
    serde_parameters: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    view_text: str = ""

    @property
    def is_view(self) -> bool:
        return self.kind == "VIRTUAL_VIEW"


def load(account: Account, database: str, name: str) -> Table:
    """Returns the table's present definition. Like Athena, looks names up in lower case, as Glue stores them."""
    database, name = database.lower(), name.lower()
    try:
        raw = account.glue.get_table(DatabaseName=database, Name=name)["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise QueryFailed("HIVE_METASTORE_ERROR", str(error)) from error
        raise QueryFailed("TABLE_NOT_FOUND", f"Table 'awsdatacatalog.{database}.{name}' does not exist") from error
    storage = raw.get("StorageDescriptor", {})
    serde = storage.get("SerdeInfo", {})
    return Table(
        database=database,
        name=name,
        location=storage.get("Location", ""),
        columns=_columns(storage.get("Columns", ())),
        partition_keys=_columns(raw.get("PartitionKeys", ())),
        parameters=raw.get("Parameters", {}),
        serde=serde.get("SerializationLibrary", ""),
        has_serde="SerdeInfo" in storage,
        serde_parameters=serde.get("Parameters", {}),
        kind=raw.get("TableType", ""),
        view_text=raw.get("ViewOriginalText", ""),
    )


def registered_partitions(account: Account, table: Table) -> list[tuple[tuple[str, ...], str]]:
    """Returns (values, location) of each registered partition. Its Location is independent of the table's."""
    pages = account.glue.get_paginator("get_partitions").paginate(DatabaseName=table.database, TableName=table.name)
    return [
        (tuple(partition["Values"]), partition["StorageDescriptor"]["Location"])
        for page in pages
        for partition in page["Partitions"]
    ]


def _columns(raw: list[dict[str, str]]) -> Columns:
    return tuple((column["Name"].lower(), column.get("Type", "string")) for column in raw)
