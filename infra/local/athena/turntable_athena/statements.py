"""Recognizes the kind of a statement, and runs it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain

from sqlglot import exp

from . import ctas, ddl, unload, values
from .engine import execute, fetch
from .errors import InvalidRequest
from .run import Result, Run
from .sql import Planner, as_query, columns_of, parse
from .values import Column

_ROWS_PER_FETCH = 10_000
MANAGED = "s3://managed-by-athena/"
"""Stands for Athena's own storage, which holds the results of workgroups with managed query results."""


@dataclass(frozen=True)
class Statement:
    """A statement. `kind` and `subkind` are GetQueryExecution's StatementType and SubstatementType."""

    kind: str
    subkind: str
    run: Callable[[Run], Result]

    @property
    def extension(self) -> str:
        """The extension of the result file: `.csv` for DML, or else `.txt`."""
        return ".csv" if self.kind == "DML" else ".txt"


def understand(text: str) -> Statement:
    """Returns the statement. Raises InvalidRequest if `text` is not one that this endpoint runs."""
    text = re.sub(r"\A(\s+|--[^\n]*(\n|\Z)|/\*.*?\*/)+", "", text, flags=re.DOTALL).rstrip("; \t\r\n")
    if not text:
        raise InvalidRequest("queryString must not be empty")
    if re.match(r"unload\b", text, re.IGNORECASE):
        request = unload.parse(text)
        return Statement("DML", "UNLOAD", lambda run: _unload(request, run))
    for pattern, subkind, show in ddl.SHOWS:
        match = re.fullmatch(pattern, text, re.IGNORECASE)
        if match:
            return Statement("UTILITY", subkind, partial(_listing, show, match))
    tree = parse(text)
    if isinstance(tree, (exp.Query, exp.Values)):
        query = as_query(tree)
        return Statement("DML", "SELECT", lambda run: _select(query, run))
    if ctas.is_ctas(tree):
        made = ctas.understand(tree)
        return Statement("DML", "CREATE_TABLE_AS_SELECT", lambda run: _ctas(made, run))
    action = ddl.understand(tree, text)
    return Statement("DDL", action.subkind, lambda run: _done(action, run))


def _select(query: exp.Query, run: Run) -> Result:
    planner = Planner(run.account, run.connection)
    running = execute(run.connection, planner.plan(query, run.database))
    columns = columns_of(running)
    pages = iter(lambda: fetch(running, _ROWS_PER_FETCH), [])
    header = (tuple(column.name for column in columns),)
    body = "".join(values.to_csv(page) for page in chain([header], (values.rows(columns, page) for page in pages)))
    return Result(columns, body, sum(file.size for file in planner.files))


def _unload(request: unload.Request, run: Run) -> Result:
    planner = Planner(run.account, run.connection)
    sql = planner.plan(request.query, run.database)
    return _written(unload.write(request, sql, run), planner, run)


def _ctas(request: ctas.Request, run: Run) -> Result:
    written, planner = ctas.run(request, run)
    return _written(written, planner, run)


def _written(written: list[str], planner: Planner, run: Run) -> Result:
    manifest = f"{run.output or MANAGED}{run.query_id}-manifest.csv"
    if run.output:
        run.account.put(manifest, "".join(f"{uri}\n" for uri in written).encode())
    return Result(bytes_scanned=sum(file.size for file in planner.files), manifest=manifest)


def _listing(show: ddl.Show, match: re.Match[str], run: Run) -> Result:
    """Runs SHOW or DESCRIBE, whose results have no header row."""
    names, lines = show(run, match)
    return Result([Column(name, "string") for name in names], values.to_csv(lines))


def _done(action: ddl.Action, run: Run) -> Result:
    action.run(run)
    return Result()
