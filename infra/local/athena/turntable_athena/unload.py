"""UNLOAD (query) TO 's3://…' WITH (property = value, …).

https://docs.aws.amazon.com/athena/latest/ug/unload.html
"""

from __future__ import annotations

import re
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlglot import exp, tokenize
from sqlglot.errors import SqlglotError
from sqlglot.tokens import TokenType

from . import sql
from .aws import Account
from .engine import execute
from .errors import InvalidRequest, QueryFailed
from .hive_types import literal, quote
from .run import Run

MAX_PARTITIONS = 100
_COMPRESSION = {
    "PARQUET": ("GZIP", "ZSTD", "SNAPPY", "LZ4", "NONE"),
    "TEXTFILE": ("GZIP", "NONE"),
    "JSON": ("GZIP", "NONE"),
}


@dataclass(frozen=True)
class Request:
    query: exp.Query
    destination: str
    format: str
    compression: str
    partitioned_by: tuple[str, ...]
    delimiter: str


def parse(text: str) -> Request:
    """Parses an UNLOAD, which sqlglot lacks: its tokens find the query's closing parenthesis, a regex the rest."""
    try:
        tokens = tokenize(text, read="trino")
    except SqlglotError as error:
        raise InvalidRequest(f"line 1:1: {error}", "MALFORMED_QUERY") from error
    depth, end, start = 0, None, None
    for token in tokens:
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if token.token_type == TokenType.L_PAREN and start is None:
            start = token.end + 1
        if start is not None and depth == 0:
            end = token.start
            break
    tail = re.fullmatch(
        r"\)\s*TO\s*'(?P<to>[^']+)'\s*(?:WITH\s*\((?P<with>.*)\))?", text[end:] if end else "", re.I | re.S
    )
    if start is None or tail is None:
        raise InvalidRequest("line 1:1: expected UNLOAD (SELECT …) TO 's3://…' WITH (format = '…')", "MALFORMED_QUERY")
    options = _options(tail["with"] or "")
    form = options.pop("format", "").upper()
    if form not in _COMPRESSION:
        raise InvalidRequest(
            f"UNLOAD: format {form!r} is not supported: this endpoint writes {', '.join(_COMPRESSION)}", "INVALID_INPUT"
        )
    compression = options.pop("compression", "GZIP").upper()
    if compression not in _COMPRESSION[form]:
        raise InvalidRequest(
            f"UNLOAD: compression {compression!r} is not one of {', '.join(_COMPRESSION[form])}", "INVALID_INPUT"
        )
    partitions = tuple(re.findall(r"'([^']+)'", options.pop("partitioned_by", "")))
    delimiter = options.pop("field_delimiter", "\x01")
    if options:
        raise InvalidRequest(f"UNLOAD: property {sorted(options)[0]!r} is not supported", "INVALID_INPUT")
    return Request(sql.as_query(sql.parse(text[start:end])), tail["to"], form, compression, partitions, delimiter)


def _options(text: str) -> dict[str, str]:
    found = re.findall(r"(\w+)\s*=\s*('(?:[^']*)'|ARRAY\s*\[[^\]]*\]|\w+)\s*(?:,|$)", text, re.IGNORECASE)
    return {name.lower(): value.strip("'") if value.startswith("'") else value for name, value in found}


def write(request: Request, query: str, run: Run) -> list[str]:
    """Writes the files and returns their URIs, in any order. An empty result writes none.

    On AWS a failed UNLOAD leaves the files that it has written. Here they are uploaded when all are made.
    """
    account, connection = run.account, run.connection
    if not account.is_empty(request.destination):
        raise QueryFailed(
            "HIVE_PATH_ALREADY_EXISTS", f"Target directory for table already exists: {request.destination}"
        )
    names = [name for name, *_ in execute(connection, f"SELECT * FROM ({query}) LIMIT 0").description]
    _check_columns(request, names)
    with tempfile.TemporaryDirectory(dir=run.scratch) as folder:
        # A table, not a view: it reads the files only once, although partitions are counted before any is written.
        execute(connection, f"CREATE TEMP TABLE unloaded AS {query}")
        if not execute(connection, "SELECT count(*) FROM unloaded").fetchone()[0]:
            return []
        columns = ", ".join(quote(name) for name in request.partitioned_by)
        if columns:
            count = execute(connection, f"SELECT count(*) FROM (SELECT DISTINCT {columns} FROM unloaded)").fetchone()[0]
            if count > MAX_PARTITIONS:
                raise QueryFailed(
                    "HIVE_TOO_MANY_OPEN_PARTITIONS", f"Exceeded limit of {MAX_PARTITIONS} open writers for partitions"
                )
        target = Path(folder) / "out"
        execute(connection, f"COPY unloaded TO {literal(str(target))} ({_copy_options(request, columns)})")
        return _upload(request, account, target, run.query_id)


def _check_columns(request: Request, names: list[str]) -> None:
    if any(name.startswith(sql.UNNAMED) for name in names):
        raise QueryFailed("MISSING_COLUMN_NAME", "line 1:1: Column name not specified")
    if len(set(names)) < len(names):
        raise QueryFailed("DUPLICATE_COLUMN_NAME", "line 1:1: Column name specified more than once")
    last = tuple(names[len(names) - len(request.partitioned_by) :])
    if last != request.partitioned_by or len(names) == len(last):
        raise QueryFailed(
            "SYNTAX_ERROR",
            f"Partition keys must be the last columns, in the same order: {list(request.partitioned_by)}",
        )


def _copy_options(request: Request, columns: str) -> str:
    options = {
        "PARQUET": f"FORMAT parquet, COMPRESSION {'uncompressed' if request.compression == 'NONE' else request.compression}",
        "TEXTFILE": f"FORMAT csv, HEADER false, DELIM {literal(request.delimiter)}, NULLSTR '\\N', QUOTE '', ESCAPE ''",
        "JSON": "FORMAT json",
    }[request.format]
    if request.format != "PARQUET":
        options += f", COMPRESSION {request.compression}"
    return options + (f", PARTITION_BY ({columns})" if columns else ", PER_THREAD_OUTPUT true")


def _upload(request: Request, account: Account, target: Path, query_id: str) -> list[str]:
    suffix = ".gz" if request.format != "PARQUET" and request.compression == "GZIP" else ""
    written = []
    for path in sorted(path for path in target.rglob("*") if path.is_file()):
        folders = "".join(part + "/" for part in path.relative_to(target).parts[:-1])
        uri = f"{request.destination.rstrip('/')}/{folders}{query_id.replace('-', '_')}_{uuid.uuid4()}{suffix}"
        with path.open("rb") as body:
            account.put(uri, body)
        written.append(uri)
    return written
