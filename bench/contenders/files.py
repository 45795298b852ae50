"""Converts a CSV, NDJSON or Parquet file to Parquet with DuckDB or DataFusion.

They get the types of the columns in text, which Turntable infers.
"""

import sys

from psql_duckdb import COLUMNS

engine, kind, source, out = sys.argv[1:]


def duckdb_sql() -> str:
    if kind == "parquet":
        return f"read_parquet('{source}')"
    if kind == "json":
        return f"read_json('{source}', format = 'newline_delimited', columns = {COLUMNS})"
    return f"read_csv('{source}', header = true, columns = {COLUMNS})"


def arrow_schema():
    import pyarrow as pa

    types = {
        "BIGINT": pa.int64(), "INTEGER": pa.int32(), "SMALLINT": pa.int16(), "DOUBLE": pa.float64(), "FLOAT": pa.float32(),
        "BOOLEAN": pa.bool_(), "DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us"), "TIMESTAMPTZ": pa.timestamp("us", "UTC"),
        "DECIMAL(12,2)": pa.decimal128(12, 2), "VARCHAR": pa.string(),
    }  # fmt: skip
    return pa.schema([(name, types[of]) for name, of in COLUMNS.items()])


if engine == "duckdb":
    import duckdb

    duckdb.execute("SET TimeZone = 'UTC'")
    duckdb.execute(
        f"COPY (FROM {duckdb_sql()}) TO '{out}/part.parquet' "
        "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 1048576)"
    )
else:
    import datafusion

    session = datafusion.SessionContext()
    if kind == "csv":
        frame = session.read_csv(source, schema=arrow_schema())
    elif kind == "json":
        frame = session.read_json(source, schema=arrow_schema())
    else:
        frame = session.read_parquet(source)
    frame.write_parquet(out, compression="zstd", compression_level=1)
