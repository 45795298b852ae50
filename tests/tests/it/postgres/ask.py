"""Answers a query with DuckDB: each row as JSON on a line of its own. Every value is asked for as text."""
import json
import sys

import duckdb

connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
for row in connection.execute(sys.stdin.read()).fetchall():
    print(json.dumps(row))
