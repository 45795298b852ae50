"""Copies a table with PySpark's JDBC source, as most Glue jobs do. Partitions are ranges of the key.

Sets `fetchsize`, which many jobs forget. Without it the driver holds the whole table in memory.
"""

import os
import sys

from pyspark.sql import SparkSession

table, out, rows, partitions, driver = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[4]")
    .config("spark.jars", driver)
    .config("spark.driver.memory", "4g")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.parquet.compression.codec", "zstd")
    .config("spark.hadoop.parquet.compression.codec.zstd.level", "1")
    .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    .getOrCreate()
)
url = f"jdbc:postgresql://{os.environ['PGHOST']}:{os.environ['PGPORT']}/{os.environ['PGDATABASE']}"
options = {
    "url": url,
    "dbtable": table,
    "user": os.environ["PGUSER"],
    "password": os.environ["PGPASSWORD"],
    "driver": "org.postgresql.Driver",
    "fetchsize": "10000",
}
if partitions != "1":
    options |= {"partitionColumn": "id", "lowerBound": "1", "upperBound": rows, "numPartitions": partitions}
spark.read.format("jdbc").options(**options).load().write.mode("overwrite").parquet(f"file://{out}")
gateway = spark.sparkContext._gateway
spark.stop()
# Wait for the JVM, which Python doesn't do by itself: the CPU time of a child counts only after a wait.
gateway.shutdown()
gateway.proc.stdin.close()
gateway.proc.wait()
