"""Creates a table with Spark's saveAsTable in its own Hive metastore. Later, reads the table as it then is in Glue.

    spark_table.py FOLDER

Spark's jar for Glue isn't on PyPI, but what Spark does with a table depends only on what the catalog holds: the test copies the
table from the metastore to Glue and back, field by field. Prints the table as one line of JSON, then reads one line with the
changed table, and prints the columns, the number of rows and the largest id that a new session finds.
"""

import json
import sys

from pyspark.sql import SparkSession

FOLDER = sys.argv[1]

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.catalogImplementation", "hive")
    .config("spark.sql.shuffle.partitions", "1")
    .config("spark.sql.warehouse.dir", f"{FOLDER}/warehouse")
    .config("spark.hadoop.javax.jdo.option.ConnectionURL", "jdbc:derby:memory:metastore;create=true")
    .getOrCreate()
)
users = spark.range(10).selectExpr("id", "concat('user ', id) as name")
users.coalesce(1).write.option("path", f"{FOLDER}/old").saveAsTable("users")
spark.sql("ANALYZE TABLE users COMPUTE STATISTICS FOR ALL COLUMNS")

client = spark._jsparkSession.sessionState().catalog().externalCatalog().unwrapped().client()
table = client.getRawHiveTable("default", "users").rawTable().getTTable()
storage = table.getSd()
serde = storage.getSerdeInfo()
print(
    json.dumps(
        {
            "columns": [[column.getName(), column.getType()] for column in storage.getCols()],
            "location": storage.getLocation(),
            "input_format": storage.getInputFormat(),
            "output_format": storage.getOutputFormat(),
            "serde": serde.getSerializationLib(),
            "serde_parameters": dict(serde.getParameters()),
            "buckets": storage.getNumBuckets(),
            "parameters": dict(table.getParameters()),
            "table_type": table.getTableType(),
        }
    ),
    flush=True,
)

glue = json.loads(sys.stdin.readline())
jvm = spark._jvm


def java(values):
    copied = jvm.java.util.HashMap()
    for name, value in values.items():
        copied.put(name, value)
    return copied


columns = jvm.java.util.ArrayList()
for name, kind in glue["columns"]:
    columns.add(jvm.org.apache.hadoop.hive.metastore.api.FieldSchema(name, kind, None))
storage.setCols(columns)
storage.setLocation(glue["location"])
serde.setParameters(java(glue["serde_parameters"]))
table.setParameters(java(glue["parameters"]))
client.client().getMSC().alter_table("default", "users", table)

found = spark.newSession().table("users")
rows, largest = found.selectExpr("count(*)", "max(id)").collect()[0]
print(json.dumps({"columns": found.columns, "rows": rows, "largest": largest}), flush=True)
