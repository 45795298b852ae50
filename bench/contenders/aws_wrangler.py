"""Copies a table with awswrangler (pandas and pg8000), which can only write to S3.

jsonb and uuid are cast to text, because pg8000 returns them as Python objects that pandas can't write.
"""

import os
import sys

import awswrangler as wr
import pg8000

table, out = sys.argv[1:]
columns = """id, uuid::text AS uuid, login, name, email, age, active, prefecture, born, created_at, updated_at, left_at, balance,
    score, ratio, note, segment, token, hash, visits, attributes::text AS attributes, city"""
connection = pg8000.connect(
    host=os.environ["PGHOST"],
    port=int(os.environ["PGPORT"]),
    user=os.environ["PGUSER"],
    password=os.environ["PGPASSWORD"],
    database=os.environ["PGDATABASE"],
)
frame = wr.postgresql.read_sql_query(f"SELECT {columns} FROM {table}", connection)
wr.s3.to_parquet(
    frame,
    out + "part.parquet",
    compression="zstd",
    pyarrow_additional_kwargs={"compression_level": 1},
)
