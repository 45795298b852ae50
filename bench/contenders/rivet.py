"""Copies a table with rivet (a Rust exporter), in one full scan. Its profile `local` has no throttle and the largest batches.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import rivet_cli
from columns import query

url, table, out = sys.argv[1:]
export = {
    "name": table,
    "query": query(table, url),
    "mode": "full",
    "format": "parquet",
    "compression": "zstd",
    "compression_level": 1,
    "columns": {"balance": "decimal(12,2)"},
    "destination": {"type": "local", "path": out},
}
config = {"source": {"type": "mysql" if url.startswith("mysql:") else "postgres", "url": url, "environment": "local"}, "exports": [export]}
with tempfile.TemporaryDirectory() as folder:
    # JSON is YAML too. rivet keeps its state beside the configuration.
    file = pathlib.Path(folder) / "rivet.yaml"
    file.write_text(json.dumps(config))
    subprocess.run([rivet_cli.path(), "run", "--config", file], cwd=folder, check=True)
