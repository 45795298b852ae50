"""Converts the tab-separated output of MariaDB's client from standard input to Parquet with DuckDB."""

import sys

import duckdb
from psql_duckdb import COLUMNS

duckdb.execute("SET TimeZone = 'UTC'")
duckdb.execute(
    f"""COPY (SELECT * FROM read_csv('/dev/stdin', header = false, delim = '\t', quote = '', escape = '', nullstr = 'NULL',
        columns = {COLUMNS})) TO '{sys.argv[1]}/part.parquet'
        (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 1048576)"""
)
