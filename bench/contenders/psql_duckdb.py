"""Converts psql's CSV from standard input to Parquet with DuckDB.

uuid and jsonb become text, because Athena reads neither type in Parquet.
"""

import sys

import duckdb

COLUMNS = {
    "id": "BIGINT", "uuid": "VARCHAR", "login": "VARCHAR", "name": "VARCHAR", "email": "VARCHAR", "age": "SMALLINT",
    "active": "BOOLEAN", "prefecture": "INTEGER", "born": "DATE", "created_at": "TIMESTAMP", "updated_at": "TIMESTAMPTZ",
    "left_at": "TIMESTAMPTZ", "balance": "DECIMAL(12,2)", "score": "DOUBLE", "ratio": "FLOAT", "note": "VARCHAR",
    "segment": "INTEGER", "token": "BIGINT", "hash": "VARCHAR", "visits": "INTEGER", "attributes": "VARCHAR",
    "city": "VARCHAR",
}  # fmt: skip

if __name__ == "__main__":
    duckdb.execute("SET TimeZone = 'UTC'")
    duckdb.execute(
        f"COPY (SELECT * FROM read_csv('/dev/stdin', header = true, columns = {COLUMNS})) TO '{sys.argv[1]}/part.parquet' "
        "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 1048576)"
    )
