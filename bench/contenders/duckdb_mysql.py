"""Copies a table with DuckDB's MySQL extension, which reads it on one connection, however many threads encode."""

import pathlib
import sys

import duckdb
import duckdb_ext

host, port, user, password, database, table, out, threads = sys.argv[1:]
extensions = pathlib.Path(duckdb_ext.__path__[0]) / "extensions"
with duckdb.connect(config={"extension_directory": str(extensions), "threads": threads}) as connection:
    connection.execute("LOAD mysql_scanner")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"ATTACH 'host={host} port={port} user={user} password={password} database={database}' AS source (TYPE mysql, READ_ONLY)"
    )
    connection.execute(
        f"COPY (FROM source.{database}.{table}) TO '{out}/part.parquet' "
        "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 1048576)"
    )
