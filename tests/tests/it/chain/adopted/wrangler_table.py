"""Writes a table with awswrangler: wrangler_table.py BUCKET. The environment has the endpoint and the credentials."""

import sys

import awswrangler as wr
import pandas as pd

frame = pd.DataFrame({"id": range(10), "name": [f"user {number}" for number in range(10)]})
path = f"s3://{sys.argv[1]}/wrangler/people/"
wr.s3.to_parquet(frame, path=path, dataset=True, mode="overwrite", database="dmp", table="wrangled")
