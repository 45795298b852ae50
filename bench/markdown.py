"""Writes the tables of docs/benchmarks.md from a run's summary in bench/runs. docs/test_benchmarks.py compares them with the page.

Usage: python3 bench/markdown.py bench/runs/FILE.json
"""

import json
import sys
from pathlib import Path

SECTIONS = [
    ("contenders", "PostgreSQL, {rows:,} rows", "ours_1"),
    ("mariadb", "MariaDB, {rows:,} rows", "mariadb_ours"),
    ("small", "100,000 rows, from the start of the process", "ours_1_s3"),
    ("levels", "PostgreSQL, {rows:,} rows, by level of ZSTD", "level_1"),
    ("files", "files of {rows:,} rows", "csv_ours"),
]


def section(title: str, contenders: dict, unit: str) -> list[str]:
    """Returns a table of times, sorted from the slowest; `unit` is the contender that the times are divided by."""
    lines = [f"| {title} | wall s: median (min–max) | ÷ `{unit}` | CPU s | peak MB | bytes of files |", "|---|---|---|---|---|---|"]
    of = contenders.get(unit, {}).get("wall_s", [None, None])[1]
    for name, found in sorted(contenders.items(), key=lambda item: -item[1]["wall_s"][1]):
        least, median, most = found["wall_s"]
        times = f"{median / of:.1f}" if of else "–"
        size = f"{found['bytes']:,}" if found["bytes"] else "–"
        lines.append(f"| `{name}` | {median:.2f} ({least:.2f}–{most:.2f}) | {times} | {found['cpu_s']:.2f} | {found['rss_mb']:.0f} | {size} |")
    return lines


def pressure(title: str, contenders: dict) -> list[str]:
    observed = [(name, found["pressure"]) for name, found in contenders.items() if "pressure" in found]
    if not observed:
        return []
    lines = [f"| {title} | statement s | transaction s | horizon s | rows read | pages looked up |", "|---|---|---|---|---|---|"]
    for name, found in sorted(observed, key=lambda item: -item[1]["transaction_s"]):
        seconds = " | ".join(f"{found[key]:.2f}" for key in ("statement_s", "transaction_s", "horizon_s"))
        lines.append(f"| `{name}` | {seconds} | {found['rows']:,} | {found['buffers']:,} |")
    return lines


def goals(report: dict) -> list[str]:
    lines = ["| goal | here | limit | |", "|---|---|---|---|"]
    for goal in report["goals"]:
        met = "met" if goal["met"] else "**missed**"
        lines.append(f"| {goal['goal']} | {goal['found']:.2f} | {goal['limit']:.2f} | {met} |")
    return lines


def tables(report: dict) -> dict[str, str]:
    """Returns the page's parts by name."""
    rows = report["rows"]
    parts = {key: section(title.format(rows=rows), report[key], unit) for key, title, unit in SECTIONS if report[key]}
    parts["machine"] = [f"{report['date']}, {report['machine']}; load when the run began: {report['load']}."]
    parts["versions"] = [", ".join(report["versions"]) + "."]
    parts["pressure-postgresql"] = pressure("PostgreSQL", report["contenders"])
    parts["pressure-mariadb"] = pressure("MariaDB", report["mariadb"])
    parts["goals"] = goals(report)
    return {name: "\n".join(lines) for name, lines in parts.items() if lines}


def replaced(page: str, name: str, report: dict) -> str:
    """Returns the page with the tables of the summary that is called `name`."""
    run = f"All tables of this section are from `bench/runs/{name}`: medians of the rounds; all files had the same rows."
    for part, text in {"run": run, **tables(report)}.items():
        mark = f"<!-- {part} -->\n"
        assert mark in page, f"docs/benchmarks.md has no marker for {part}"
        before, after = page.split(mark, 1)
        page = before + mark + text + "\n" + after[after.index("<!-- end -->") :]
    return page


if __name__ == "__main__":
    run = Path(sys.argv[1])
    page = Path(__file__).resolve().parents[1] / "docs/benchmarks.md"
    page.write_text(replaced(page.read_text(), run.name, json.loads(run.read_text())))
