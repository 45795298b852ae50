"""Reads a table with ADBC (libpq's binary COPY into Arrow, in C) and writes it with pyarrow as it arrives."""

import os
import sys

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.parquet as pq

table, out = sys.argv[1:]
ROW_GROUP_ROWS = 1 << 20
e = os.environ
url = f"postgresql://{e['PGUSER']}:{e['PGPASSWORD']}@{e['PGHOST']}:{e['PGPORT']}/{e['PGDATABASE']}"
with adbc.connect(url) as connection, connection.cursor() as cursor:
    cursor.execute(f"SELECT * FROM {table}")
    reader = cursor.fetch_record_batch()
    batches, rows = [], 0
    with pq.ParquetWriter(f"{out}/part.parquet", reader.schema, compression="zstd", compression_level=1) as writer:
        for batch in reader:
            batches.append(batch)
            rows += batch.num_rows
            if rows >= ROW_GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(batches), row_group_size=ROW_GROUP_ROWS)
                batches, rows = [], 0
        if batches:
            writer.write_table(pa.Table.from_batches(batches), row_group_size=ROW_GROUP_ROWS)
