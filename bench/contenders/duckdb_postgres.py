"""Copies a table with DuckDB's PostgreSQL extension, which reads ranges of pages with binary COPY, one per thread.

uuid and jsonb are cast to text, because Athena reads neither type in Parquet.
"""

import os
import pathlib
import sys

import duckdb
import duckdb_ext

table, out, threads = sys.argv[1:]
e = os.environ
extensions = pathlib.Path(duckdb_ext.__path__[0]) / "extensions"
with duckdb.connect(config={"extension_directory": str(extensions), "threads": threads}) as connection:
    connection.execute("LOAD postgres_scanner")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"ATTACH 'host={e['PGHOST']} port={e['PGPORT']} user={e['PGUSER']} password={e['PGPASSWORD']} dbname={e['PGDATABASE']}' "
        "AS source (TYPE postgres, READ_ONLY)"
    )
    connection.execute(
        f"COPY (SELECT * REPLACE (uuid::VARCHAR AS uuid, attributes::VARCHAR AS attributes) FROM source.public.{table}) "
        f"TO '{out}/part.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 1048576)"
    )
