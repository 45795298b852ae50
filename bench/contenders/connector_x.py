"""Reads a table with ConnectorX into Arrow, in ranges of the key, one connection each, and writes it with pyarrow.

ConnectorX's stream needs the whole table in memory as well, so this takes the simpler call.
"""

import sys

import connectorx as cx
import pyarrow.parquet as pq
from columns import query

url, table, out, partitions = sys.argv[1:]
parts = {"partition_on": "id", "partition_num": int(partitions)} if partitions != "1" else {}
rows = cx.read_sql(url, query(table, url), return_type="arrow", **parts)
pq.write_table(rows, f"{out}/part.parquet", compression="zstd", compression_level=1, row_group_size=1 << 20)
