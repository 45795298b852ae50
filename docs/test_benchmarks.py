"""The tables of benchmarks.md are those of one recorded run.

    just pages
"""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/benchmarks.md").read_text()
NONE = "No run of this table is recorded yet"


def markdown():
    spec = importlib.util.spec_from_file_location("markdown", ROOT / "bench/markdown.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def newest():
    return max((ROOT / "bench/runs").glob("*.json"), default=None)


def test_the_tables_are_those_of_the_newest_recorded_run():
    run = newest()
    if run is None:
        assert NONE in PAGE
        return
    report = json.loads(run.read_text())
    assert markdown().replaced(PAGE, run.name, report) == PAGE, f"write the tables with bench/markdown.py from {run.name}"


def test_a_figure_that_is_not_from_the_run_is_found():
    figures = {"wall_s": [1.0, 2.0, 3.0], "cpu_s": 1.5, "rss_mb": 170.0, "bytes": 74_000_000, "files": 1}
    figures["pressure"] = {"statement_s": 1.0, "transaction_s": 2.0, "horizon_s": 2.0, "rows": 1000, "buffers": 300}
    report = {key: {"ours_1": figures} for key, _, _ in markdown().SECTIONS}
    report |= {"rows": 1000, "date": "2026-01-01", "machine": "2 cores", "load": "0 0 0", "versions": ["DuckDB 1"]}
    report["goals"] = [{"goal": "ours ÷ theirs", "found": 0.5, "limit": 0.95, "met": True}]
    page = markdown().replaced(PAGE, "2026-01-01-x.json", report)
    assert "| `ours_1` | 2.00 (1.00–3.00) |" in page and "| ours ÷ theirs | 0.50 | 0.95 | met |" in page
    assert "| `ours_1` | 1.00 | 2.00 | 2.00 | 1,000 | 300 |" in page
    assert markdown().replaced(page, "2026-01-01-x.json", report) == page
    figures["wall_s"][1] = 2.1
    assert markdown().replaced(page, "2026-01-01-x.json", report) != page
