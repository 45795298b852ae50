"""The second half of before.py, as the Glue job `user_totals`. Turntable starts it and says where to write."""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

parser = argparse.ArgumentParser()
parser.add_argument("--orders", required=True)
parser.add_argument("--turntable_location", required=True)
options, _ = parser.parse_known_args()  # Glue adds arguments of its own.

spark = SparkSession.builder.getOrCreate()
schema = "id bigint, user_id bigint, amount decimal(10,2), ordered_at timestamp"
orders = spark.read.csv(options.orders, schema=schema, header=True)
totals = orders.groupBy("user_id", F.to_date("ordered_at").alias("dt")).agg(F.sum("amount").cast("decimal(12,2)").alias("total"))
totals.write.mode("overwrite").partitionBy("dt").parquet(options.turntable_location)
