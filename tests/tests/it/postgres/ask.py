"""Runs a query in DuckDB, and prints each row as JSON on its own line. The query must return strings."""
import json
import sys

import duckdb

connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
for row in connection.execute(sys.stdin.read()).fetchall():
    print(json.dumps(row))
