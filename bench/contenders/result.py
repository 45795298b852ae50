"""Prints a contender's result as one JSON object: files, bytes, rows, and a digest of every column and of all rows.

Digests compare values, not their storage: a uuid stored as 16 bytes equals one stored as text. They are sums
over rows, so the order of rows doesn't matter, but the order of values within a row does. Objects in S3 are deleted
afterwards.
"""

import json
import pathlib
import sys
import tempfile

import duckdb

TYPES = {
    "id": "BIGINT", "uuid": "UUID", "login": "VARCHAR", "name": "VARCHAR", "email": "VARCHAR", "age": "SMALLINT",
    "active": "BOOLEAN", "prefecture": "INTEGER", "born": "DATE", "created_at": "TIMESTAMP", "updated_at": "TIMESTAMPTZ",
    "left_at": "TIMESTAMPTZ", "balance": "DECIMAL(12,2)", "score": "DOUBLE", "ratio": "FLOAT", "note": "VARCHAR",
    "segment": "INTEGER", "token": "BIGINT", "hash": "VARCHAR", "visits": "INTEGER", "attributes": "VARCHAR",
    "city": "VARCHAR",
}  # fmt: skip


def canonical(name: str, stored: str) -> str:
    """Returns SQL for the column's value as text, independent of its storage type."""
    value = f'"{name}"'
    if stored == "BLOB":
        value = f"hex({value})" if TYPES[name] == "UUID" else f"decode({value})"
    if TYPES[name].startswith("TIMESTAMP"):
        # Microseconds in UTC, whether the file marks them as UTC or not.
        value = f"epoch_us({value})" if stored.startswith("TIMESTAMP") else f"epoch_us({value}::TIMESTAMPTZ)"
    else:
        value = f"CAST({value} AS {TYPES[name]})"
    return f"coalesce(CAST({value} AS VARCHAR), chr(0))"


def digest(folder: pathlib.Path) -> dict:
    files = sorted(str(path) for path in folder.rglob("*.parquet"))
    duckdb.execute("SET TimeZone = 'UTC'")
    table = duckdb.read_parquet(files)
    stored = dict(zip(table.columns, map(str, table.types)))
    values = {name: canonical(name, stored[name]) for name in TYPES}
    sums = [f"sum(hash({value})::HUGEINT)::VARCHAR" for value in values.values()]
    row = ", ".join(values.values())
    answer = table.aggregate(f"count(*), sum(hash({row})::HUGEINT)::VARCHAR, {', '.join(sums)}").fetchall()
    counted, whole, *each = answer[0]
    return {
        "files": len(files),
        "bytes": sum(pathlib.Path(file).stat().st_size for file in files),
        "rows": counted,
        "all": whole,
        "columns": dict(zip(values, each)),
    }


def fetch(uri: str, folder: pathlib.Path) -> None:
    import boto3

    bucket = boto3.resource("s3").Bucket(uri.split("/")[2])
    for n, found in enumerate(bucket.objects.filter(Prefix=uri.split("/", 3)[3])):
        bucket.download_file(found.key, str(folder / f"{n}.parquet"))
        found.delete()


if __name__ == "__main__":
    where = sys.argv[1]
    if where.startswith("s3://"):
        with tempfile.TemporaryDirectory() as folder:
            fetch(where, pathlib.Path(folder))
            print(json.dumps(digest(pathlib.Path(folder))))
    else:
        print(json.dumps(digest(pathlib.Path(where))))
