"""The nightly Glue job before the move. While it writes, readers of both tables find nothing."""

import sys

from awsglue.utils import getResolvedOptions
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

options = getResolvedOptions(sys.argv, ["url", "user", "password"])
spark = SparkSession.builder.getOrCreate()

# 1. A copy of a table.
connection = {key: options[key] for key in ("url", "user", "password")}
users = spark.read.format("jdbc").options(**connection, query="SELECT id, email, created_at FROM users").load()
users.write.mode("overwrite").parquet("s3://lake/spark/users/")

# 2. A table that is computed from files.
schema = "id bigint, user_id bigint, amount decimal(10,2), ordered_at timestamp"
orders = spark.read.csv("s3://lake/source/orders/", schema=schema, header=True)
totals = orders.groupBy("user_id", F.to_date("ordered_at").alias("dt")).agg(F.sum("amount").cast("decimal(12,2)").alias("total"))
totals.write.mode("overwrite").partitionBy("dt").parquet("s3://lake/spark/user_totals/")
