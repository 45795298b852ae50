"""Copies a table with rivet (a Rust exporter), with its profile `fast`: no throttle, the largest batches.

One connection reads with one query. Two read ranges of the key, each 100,000 rows, rivet's default."""

import json
import pathlib
import subprocess
import sys
import tempfile

import rivet_cli
from columns import query

url, table, out, connections = sys.argv[1:]
export = {
    "name": table,
    "query": query(table, url),
    "format": "parquet",
    "compression": "zstd",
    "compression_level": 1,
    "columns": {"balance": "decimal(12,2)"},
    "destination": {"type": "local", "path": out},
}
if connections == "1":
    export["mode"] = "full"
else:
    export |= {"mode": "chunked", "chunk_column": "id", "parallel": int(connections)}
source = {"type": "mysql" if url.startswith("mysql:") else "postgres", "url": url, "tuning": {"profile": "fast"}}
config = {"source": source, "exports": [export]}
with tempfile.TemporaryDirectory() as folder:
    # JSON is YAML too. rivet keeps its state beside the configuration.
    file = pathlib.Path(folder) / "rivet.yaml"
    file.write_text(json.dumps(config))
    subprocess.run([rivet_cli.path(), "run", "--config", file], cwd=folder, check=True)
