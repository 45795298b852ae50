"""Tests views as Turntable writes them into Glue: their columns, the guard on missing files, and comparisons of keys."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from conftest import Lake

USERS = {"id": "bigint", "name": "string"}
STALE = "VIEW_IS_STALE: line 1:15: View 'awsdatacatalog.dmp.v' is stale or in invalid state: "


def users(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "name": [f"n{i}" for i in ids]})


@pytest.fixture
def t(lake: Lake) -> Lake:
    lake.put("t/a.parquet", users(1, 2, 3))
    lake.table("t", USERS, "t")
    return lake


# ---- views in Glue


def test_a_view_written_into_glue_works_everywhere(t: Lake) -> None:
    t.view("v", 'SELECT t."id", t."name" FROM "dmp"."t" t WHERE t."id" > 1', {"id": "bigint", "name": "varchar"})
    t.view("w", 'SELECT v."id", v."name" FROM "v" v WHERE v."id" < 3', {"id": "bigint", "name": "varchar"})
    assert t.rows("SELECT * FROM v ORDER BY id") == [["2", "n2"], ["3", "n3"]]
    assert t.rows('SELECT w.name FROM "dmp"."w" JOIN v ON v.id = w.id') == [["n2"]]
    assert t.results(t.run("SHOW CREATE VIEW w")["QueryExecutionId"])[0][0] == (
        'CREATE VIEW dmp.w AS\nSELECT v."id", v."name" FROM "v" v WHERE v."id" < 3'
    )
    described = t.results(t.run("DESCRIBE v")["QueryExecutionId"])
    assert [row[0].split() for row in described] == [["id", "string"], ["name", "string"]]
    t.run(f"UNLOAD (SELECT * FROM w) TO '{t.root}/out/' WITH (format = 'PARQUET')")
    t.table("copy", USERS, "out")
    assert t.rows("SELECT * FROM copy") == [["2", "n2"]]
    t.run("CREATE OR REPLACE VIEW w AS SELECT id FROM v")
    t.glue.update_table(DatabaseName="dmp", TableInput=t.view_input("v", "SELECT 7 AS id", {"id": "bigint"}))
    assert t.rows("SELECT * FROM w") == [["7"]]


def test_a_view_needs_what_athena_needs(t: Lake) -> None:
    columns = {"id": "bigint"}
    t.view("v1", "SELECT id FROM t", columns, StorageDescriptor={"Columns": []})
    assert t.failure("SELECT * FROM v1") == "HIVE_METASTORE_ERROR: Table storage descriptor is missing SerDe info"
    t.view("v2", "SELECT id FROM t", columns, Parameters={})
    assert t.failure("SELECT * FROM v2").startswith("NOT_SUPPORTED: Hive views are not supported")
    t.view("v3", "SELECT id FROM t", columns, body={"columns": []})
    t.view("v4", "SELECT id FROM t", columns, body={"owner": "x", "runAsInvoker": True})
    t.view("v5", "SELECT id FROM t", columns, ViewOriginalText="SELECT id FROM t")
    for name in ("v3", "v4", "v5"):
        assert t.failure(f"SELECT * FROM {name}").startswith(
            f"INVALID_VIEW: Invalid view JSON of awsdatacatalog.dmp.{name}"
        )
    for name, kind in {"v6": "string", "v7": "array<bigint>", "v8": "float", "v9": "row(order bigint)"}.items():
        t.view(name, "SELECT id FROM t", {"id": kind})
        assert t.failure(f"SELECT * FROM {name}") == (
            f"INVALID_VIEW: line 1:15: Unknown type '{kind}' for column 'id' in view: awsdatacatalog.dmp.{name}"
        )
    t.view("v10", "SELECT id FROM", columns)
    assert "INVALID_VIEW: line 1:15: Failed parsing stored view 'awsdatacatalog.dmp.v10'" in t.failure(
        "SELECT * FROM v10"
    )


def test_create_view_stores_the_types_of_trino(lake: Lake) -> None:
    kinds = {
        "a": "int", "b": "varchar(10)", "c": "char(3)", "d": "decimal(12,2)", "e": "timestamp", "f": "float", "g": "binary",
        "h": "array<bigint>", "i": "map<string,bigint>", "j": "struct<x:int,y:array<varchar(5)>>", "k": "string", "l": "date",
    }  # fmt: skip
    lake.table("t", kinds, "t")
    lake.run("""CREATE VIEW v AS SELECT *, CAST(a AS varchar(7)) AS m, count(*) OVER () AS n, 'abc' AS o,
        upper(b) AS p, CAST(ROW(1, 'x') AS ROW(u bigint, v varchar)) AS q FROM (SELECT * FROM t) AS t""")
    stored = lake.definition("v")
    assert {c["name"]: c["type"] for c in stored["columns"]} == {
        "a": "integer", "b": "varchar(10)", "c": "char(3)", "d": "decimal(12,2)", "e": "timestamp(3)", "f": "real",
        "g": "varbinary", "h": "array(bigint)", "i": "map(varchar,bigint)", "j": 'row("x" integer,"y" array(varchar(5)))',
        "k": "varchar", "l": "date", "m": "varchar(7)", "n": "bigint", "o": "varchar(3)", "p": "varchar",
        "q": 'row("u" bigint,"v" varchar)',
    }  # fmt: skip
    columns = lake.glue.get_table(DatabaseName="dmp", Name="v")["Table"]["StorageDescriptor"]["Columns"]
    assert {c["Name"]: c["Type"] for c in columns} == kinds | {
        "m": "varchar(7)", "n": "bigint", "o": "varchar(3)", "p": "string", "q": "struct<u:bigint,v:string>",
    }  # fmt: skip
    assert lake.rows("SELECT * FROM v") == []
    assert lake.failure("CREATE VIEW w AS SELECT a, b AS A FROM t") == (
        "DUPLICATE_COLUMN_NAME: line 1:1: Column name 'a' specified more than once"
    )


# ---- stale views


@pytest.mark.parametrize(("sql", "columns", "reason"), [
    ("SELECT * FROM t", {"id": "bigint"},
     "stored view column count (1) does not match column count derived from the view query analysis (2)"),
    ("SELECT id AS key FROM t", {"id": "bigint"},
     "column [key] of type bigint projected from query view at position 0 has a different name from "
     "column [id] of type bigint stored in view definition"),
    ("SELECT name, id FROM t", {"name": "varchar", "id": "integer"},
     "column [id] of type bigint projected from query view at position 1 cannot be coerced to "
     "column [id] of type integer stored in view definition"),
    ("SELECT name FROM t", {"name": "varchar(15)"},
     "column [name] of type varchar projected from query view at position 0 cannot be coerced to "
     "column [name] of type varchar(15) stored in view definition"),
    ("SELECT max(id) FROM t", {"id": "bigint"}, "a column of type bigint projected from query view at position 0 has no name"),
    ("SELECT name FROM t", {"name": "bigint"},
     "column [name] of type varchar projected from query view at position 0 cannot be coerced to "
     "column [name] of type bigint stored in view definition"),
    ("SELECT CAST(id AS decimal(12,2)) AS d FROM t", {"d": "decimal(12,3)"},
     "column [d] of type decimal(12,2) projected from query view at position 0 cannot be coerced to "
     "column [d] of type decimal(12,3) stored in view definition"),
    ("SELECT ARRAY[id] AS a FROM t", {"a": "array(integer)"},
     "column [a] of type array(bigint) projected from query view at position 0 cannot be coerced to "
     "column [a] of type array(integer) stored in view definition"),
    ("SELECT CAST(ROW(id, name) AS ROW(a bigint, b varchar)) AS r FROM t", {"r": "row(a bigint, b bigint)"},
     "column [r] of type row(a bigint, b varchar) projected from query view at position 0 cannot be coerced to "
     "column [r] of type row(a bigint, b bigint) stored in view definition"),
])  # fmt: skip
def test_a_view_with_other_columns_than_its_query_is_stale(
    t: Lake, sql: str, columns: dict[str, str], reason: str
) -> None:
    t.view("v", sql, columns)
    assert t.failure("SELECT * FROM v") == STALE + reason
    assert t.failure(f"UNLOAD (SELECT * FROM v) TO '{t.root}/out/' WITH (format = 'PARQUET')").startswith(
        "VIEW_IS_STALE"
    )
    assert t.failure('SELECT 1\nFROM t, "dmp"."v"').startswith("VIEW_IS_STALE: line 2:9: View 'awsdatacatalog.dmp.v'")


def test_a_view_over_a_stale_view_is_invalid(t: Lake) -> None:
    t.view("v", "SELECT id FROM t", {"id": "integer"})
    t.view("w", "SELECT id FROM v", {"id": "integer"})
    assert t.failure("SELECT * FROM w").startswith(
        "INVALID_VIEW: line 1:15: Failed analyzing stored view 'awsdatacatalog.dmp.w': line 1:16: View "
        "'awsdatacatalog.dmp.v' is stale or in invalid state: column [id] of type bigint"
    )


def test_a_changed_table_makes_a_view_stale(t: Lake) -> None:
    t.view("v", "SELECT * FROM t", {"ID": "bigint", "name": "varchar"})
    # Names are compared without their case.
    assert t.results(t.run("SELECT * FROM v WHERE id = 1")["QueryExecutionId"]) == [["ID", "name"], ["1", "n1"]]
    more = t.table_input("t", {**USERS, "more": "string"}, "t")
    t.glue.update_table(DatabaseName="dmp", TableInput=more)
    assert t.failure("SELECT * FROM v").startswith(STALE + "stored view column count (2)")
    t.glue.update_table(DatabaseName="dmp", TableInput=t.table_input("t", {"id": "int", "name": "varchar(3)"}, "t"))
    t.put("t/a.parquet", pa.table({"id": pa.array([1], pa.int32()), "name": ["x"]}))
    assert t.rows("SELECT * FROM v") == [["1", "x"]]


def test_a_view_has_the_stored_types(lake: Lake) -> None:
    lake.put("t/a.parquet", pa.table({
        "i": pa.array([7], pa.int32()), "f": pa.array([0.5], pa.float32()), "d": pa.array([Decimal("1.5")], pa.decimal128(5, 1)),
        "day": [datetime(2024, 1, 2).date()], "s": ["x"], "r": pa.array([{"x": 1, "y": "z"}], pa.struct({"x": pa.int32(), "y": pa.string()})),
        "xs": pa.array([[{"x": 1}, None]], pa.list_(pa.struct({"x": pa.int32()}))), "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
    }))  # fmt: skip
    lake.table("t", {
        "i": "int", "f": "float", "d": "decimal(5,1)", "day": "date", "s": "varchar(3)", "r": "struct<x:int,y:string>",
        "xs": "array<struct<x:int>>", "m": "map<string,int>",
    }, "t")  # fmt: skip
    lake.view("v", "SELECT * FROM t", {
        "I": "bigint", "f": "double", "d": "decimal(12,2)", "day": "timestamp", "s": "varchar(10)",
        "r": "row(b bigint, c varchar)", "xs": 'array(row("y" bigint))', "m": "map(varchar, bigint)",
    })  # fmt: skip
    query_id = lake.run("SELECT * FROM v")["QueryExecutionId"]
    assert lake.results(query_id)[1] == [
        "7", "0.5", "1.50", "2024-01-02 00:00:00.000", "x", "{b=1, c=z}", "[{y=1}, null]", "{k=1}",
    ]  # fmt: skip
    info = lake.athena.get_query_results(QueryExecutionId=query_id)["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
    assert [c["Type"] for c in info] == ["bigint", "double", "decimal", "timestamp", "varchar", "row", "array", "map"]
    assert (info[2]["Precision"], info[2]["Scale"]) == (12, 2)
    lake.run(f"UNLOAD (SELECT i, d FROM v) TO '{lake.root}/out/' WITH (format = 'PARQUET')")
    lake.table("copy", {"i": "bigint", "d": "decimal(12,2)"}, "out")
    assert lake.rows("SELECT * FROM copy") == [["7", "1.50"]]


# ---- "$path" and the guard on missing files

_GUARD = (
    "(SELECT CASE WHEN count(DISTINCT \"$path\") >= {files} THEN true ELSE CAST('opt-out files of dmp.optouts are missing: ' "
    '|| CAST(count(DISTINCT "$path") AS varchar) || \' of {files}\' AS boolean) END FROM "dmp"."optouts")'
)
_OUT = 'EXISTS (SELECT 1 FROM "dmp"."optouts" o WHERE o."user_id" = t."id" AND o."state" <> \'opted_in\')'
OPTOUTS = {"user_id": "bigint", "state": "string"}


def optouts(*rows: tuple[int, str]) -> pa.Table:
    return pa.table(
        {"user_id": pa.array([r[0] for r in rows], pa.int64()), "state": pa.array([r[1] for r in rows], pa.string())}
    )


def protect(lake: Lake, files: int) -> None:
    sql = f'SELECT t."id", t."name" FROM "dmp"."t" t WHERE {_GUARD.format(files=files)} AND NOT {_OUT}'
    lake.view("v", sql, {"id": "bigint", "name": "varchar"})


def missing(found: int, files: int) -> str:
    return (
        f"INVALID_CAST_ARGUMENT: Cannot cast 'opt-out files of dmp.optouts are missing: {found} of {files}' to BOOLEAN"
    )


def test_a_protected_view_fails_exactly_if_files_are_missing(t: Lake) -> None:
    t.table("optouts", OPTOUTS, "optouts")
    protect(t, files=3)
    assert t.failure("SELECT * FROM v") == missing(0, 3)
    t.put("optouts/0.parquet", optouts((1, "opted_out"), (2, "opted_in")))
    t.put("optouts/1.parquet", optouts((3, "opted_in")))
    t.put("optouts/2.parquet", optouts())  # Athena reads a path only with a row
    assert t.failure("SELECT * FROM v") == missing(2, 3)
    assert t.rows('SELECT count(DISTINCT "$path") FROM optouts') == [["2"]]
    t.put("optouts/2.parquet", optouts((9, "opted_out")))
    assert t.rows("SELECT * FROM v ORDER BY id") == [["2", "n2"], ["3", "n3"]]
    assert t.rows("SELECT count(*) FROM v WHERE id = 1") == [["0"]]
    t.view("w", "SELECT * FROM v", {"id": "bigint", "name": "varchar"})
    assert t.rows("SELECT count(*) FROM w JOIN t ON w.id = t.id") == [["2"]]
    t.s3.delete_object(Bucket=t.bucket, Key="optouts/1.parquet")
    for sql in (
        "SELECT * FROM v",
        "SELECT count(*) FROM w",
        "SELECT count(*) FROM v WHERE id = 1",
        "SELECT id FROM v LIMIT 1",
    ):
        assert t.failure(sql) == missing(2, 3), sql
    assert t.failure(f"UNLOAD (SELECT * FROM w) TO '{t.root}/out/' WITH (format = 'PARQUET')") == missing(2, 3)
    assert t.keys("out/") == []


def test_path_in_a_view_stays_out_of_stars(t: Lake) -> None:
    t.table("optouts", OPTOUTS, "nothing")
    t.view(
        "v",
        'SELECT * FROM t WHERE (SELECT count(DISTINCT "$path") = 0 FROM optouts)',
        {"id": "bigint", "name": "varchar"},
    )
    assert len(t.rows("SELECT * FROM v")) == 3
    t.view("p", 'SELECT "$path" AS path, id FROM t', {"path": "varchar", "id": "bigint"})
    assert t.rows("SELECT DISTINCT path FROM p") == [[f"{t.root}/t/a.parquet"]]
