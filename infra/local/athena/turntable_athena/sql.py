"""Translates a SELECT in Athena's SQL to DuckDB's SQL over the present files of its tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from . import catalog, column_types, dialect, hive_types, names, trino_types, views
from .aws import Account, S3File
from .engine import bind
from .errors import InvalidRequest, QueryFailed
from .scan import HIDDEN, relation
from .values import Column

_MAX_VIEW_DEPTH = 50
# The failures of Trino's analysis. In a view's query they make the view invalid.
_ANALYSIS = (
    "CATALOG_NOT_FOUND", "COLUMN_NOT_FOUND", "FUNCTION_NOT_FOUND", "INVALID_VIEW", "SYNTAX_ERROR", "TABLE_NOT_FOUND",
    "VIEW_IS_STALE",
)  # fmt: skip
UNNAMED = "_col?"


@dataclass
class Planner:
    """Plans one query and collects the files that it will read."""

    account: Account
    connection: duckdb.DuckDBPyConnection
    files: list[S3File] = field(default_factory=list)
    _tables: dict[tuple[str, str], catalog.Table] = field(default_factory=dict)

    def plan(self, query: exp.Query, database: str) -> str:
        """Returns DuckDB's SQL. Asks Glue once for each table, so that one query never sees two versions of it."""
        tree = _name_columns(query.copy())
        tree = self._resolve(tree, database, depth=0)
        return dialect.rewrite(tree).sql(dialect="duckdb")

    def columns(self, query: exp.Query, database: str) -> list[tuple[str, trino_types.Type]]:
        """Returns the columns of the query's result without reading a row. A column without a name has the name ""."""
        known = column_types.known(query, lambda node: self._columns_of(node, database))
        return _typed(bind(self.connection, self.plan(query, database)), known)

    def _resolve(self, tree: exp.Query, database: str, depth: int) -> exp.Query:
        if depth > _MAX_VIEW_DEPTH:
            raise QueryFailed("VIEW_IS_RECURSIVE", "Statement would create a recursive view")
        _refuse_table_functions(tree)
        hidden = {column.name for column in tree.find_all(exp.Column) if column.name in HIDDEN}
        for scope in traverse_scope(tree):
            nodes = {
                name: source
                for name, source in scope.sources.items()
                if isinstance(source, exp.Table) and source.find_ancestor(exp.Select) is scope.expression
            }
            tables = {name: self._load(node, database) for name, node in nodes.items()}
            if hidden:
                _leave_out_of_stars(scope.expression, {n for n, table in tables.items() if not table.is_view}, hidden)
            for name, node in nodes.items():
                conditions = _conditions_on({key for key, _ in tables[name].partition_keys}, name, scope)
                if node.db:
                    _forget_database(scope, node)
                node.replace(self._source(node, tables[name], conditions, hidden, depth))
        return tree

    def _load(self, node: exp.Table, database: str) -> catalog.Table:
        if not isinstance(node.this, exp.Identifier):
            raise QueryFailed("FUNCTION_NOT_FOUND", f"Table function '{node.this.name}' not registered")
        if node.catalog.lower() not in ("", "awsdatacatalog"):
            raise QueryFailed("CATALOG_NOT_FOUND", f"Catalog '{node.catalog}' does not exist")
        key = ((node.db or database).lower(), node.name.lower())
        if key not in self._tables:
            self._tables[key] = catalog.load(self.account, *key)
        return self._tables[key]

    def _source(
        self, node: exp.Table, table: catalog.Table, conditions: list[str], hidden: set[str], depth: int
    ) -> exp.Expr:
        alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(node.name, quoted=True))
        rest = {key: node.args[key] for key in ("joins", "sample") if node.args.get(key)}
        if table.is_view:
            return exp.Subquery(this=self._view(node, table, depth), alias=alias, **rest)
        planned = relation(self.account, self.connection, table, conditions, hidden)
        self.files += planned.files
        return exp.Table(this=exp.Var(this=planned.sql), alias=alias, **rest)

    def _view(self, node: exp.Table, table: catalog.Table, depth: int) -> exp.Query:
        """Returns the view's query, or fails if the view is stale.

        A view's columns have the stored types: what its query returns now is converted to them.
        """
        view = views.decode(table, _at(node))
        try:
            query = _name_columns(as_query(parse(view.sql)))
            known = column_types.known(query, lambda node: self._columns_of(node, view.database))
            tree = self._resolve(query, view.database, depth + 1)
            found = bind(self.connection, dialect.rewrite(tree.copy()).sql(dialect="duckdb"))
        except InvalidRequest as error:
            raise QueryFailed(
                "INVALID_VIEW", f"{_at(node)}: Failed parsing stored view '{view.name}': {error}"
            ) from error
        except QueryFailed as error:
            if error.code not in _ANALYSIS:
                raise
            raise QueryFailed(
                "INVALID_VIEW", f"{_at(node)}: Failed analyzing stored view '{view.name}': {error.message}"
            ) from error
        why = views.staleness(view.columns, _typed(found, known))
        if why:
            raise QueryFailed("VIEW_IS_STALE", f"{_at(node)}: View '{view.name}' is stale or in invalid state: {why}")
        casts = views.casts(view.columns, found)
        if casts is None:
            return tree
        alias = exp.TableAlias(
            this=exp.to_identifier("v"), columns=[exp.to_identifier(f"c{i}") for i in range(len(found))]
        )
        return exp.Select(expressions=[exp.Var(this=cast) for cast in casts]).from_(
            exp.Subquery(this=tree, alias=alias)
        )

    def _columns_of(self, node: exp.Table, database: str) -> list[tuple[str, trino_types.Type]]:
        table = self._load(node, database)
        if table.is_view:
            return list(views.decode(table, _at(node)).columns)
        columns = table.columns + table.partition_keys
        return [(name, trino_types.of_glue(hive_types.parse(kind))) for name, kind in columns]


def _refuse_table_functions(tree: exp.Expr) -> None:
    """Refuses what DuckDB would run as a table function, in any position. Trino's UNNEST and LATERAL (query) are fine."""
    for node in tree.find_all(exp.Table, exp.Lateral):
        inner = node.this
        if not isinstance(inner, (exp.Identifier, exp.Unnest, exp.Subquery)):
            raise QueryFailed("FUNCTION_NOT_FOUND", f"Table function '{inner.name or inner.key}' not registered")


def _typed(
    found: list[tuple[str, Any]], known: list[trino_types.Type | None] | None
) -> list[tuple[str, trino_types.Type]]:
    """Returns the columns that DuckDB found, each with its known Trino type, or else the one that DuckDB's type maps to."""
    if known is None or len(known) != len(found):
        known = [None] * len(found)
    return [
        ("" if name.startswith(UNNAMED) else name, better or trino_types.of_duckdb(kind))
        for (name, kind), better in zip(found, known)
    ]


def _at(node: exp.Table) -> str:
    """Returns where the statement names a table, as in `line 1:15`."""
    first = next(part for part in (node.args.get("catalog"), node.args.get("db"), node.this) if part)
    if "line" not in first.meta:
        return "line 1:1"
    return f"line {first.meta['line']}:{first.meta['col'] - (first.meta['end'] - first.meta['start'])}"


def parse(text: str) -> exp.Expr:
    """Parses one statement in Athena's dialect. A syntax error refuses the request."""
    try:
        trees = [tree for tree in sqlglot.parse(text, read="athena") if tree is not None]
    except (SqlglotError, RecursionError) as error:
        names.check_tokens(text)
        detail = (getattr(error, "errors", None) or [{}])[0]
        where = f"line {detail.get('line', 1)}:{detail.get('col', 1)}"
        raise InvalidRequest(f"{where}: mismatched input '{detail.get('highlight', '')}'", "MALFORMED_QUERY") from error
    if len(trees) != 1:
        raise InvalidRequest("Only one sql statement is allowed. Got: " + text, "INVALID_INPUT")
    names.check(trees[0], text)
    return trees[0]


def as_query(tree: exp.Expr) -> exp.Query:
    """Returns the tree as a query. A bare VALUES gets the columns `_col0`, `_col1`, …"""
    if isinstance(tree, exp.Values):
        first = tree.expressions[0]
        width = len(first.expressions) if isinstance(first, exp.Tuple) else 1
        return exp.select("*").from_(exp.alias_(tree, "v", table=[f"_col{i}" for i in range(width)]))
    if not isinstance(tree, exp.Query):
        raise InvalidRequest(f"line 1:1: expected a query, found {tree.key.upper()}", "MALFORMED_QUERY")
    return tree


def _name_columns(tree: exp.Query) -> exp.Query:
    """Marks columns without a name. Athena names them `_colN` by position, which is known when stars are expanded."""
    for item in tree.selects:
        if not isinstance(item, (exp.Alias, exp.Column, exp.Star, exp.Dot)):
            item.replace(exp.alias_(item.copy(), UNNAMED, quoted=True))
    return tree


def columns_of(running: Any) -> list[Column]:
    """Returns the columns of a running query, and names those without a name."""
    return [
        Column.of(f"_col{place}" if name.startswith(UNNAMED) else name, kind)
        for place, (name, kind, *_) in enumerate(running.description)
    ]


def _conditions_on(keys: set[str], name: str, scope: Scope) -> list[str]:
    """Returns the conditions of the scope's WHERE that use only one table's partition columns, as DuckDB's SQL.

    Returns none with an outer join: a row that is left out early could come back as a row of nulls.
    """
    select = scope.expression
    where = select.args.get("where")
    if not keys or where is None or any(join.side for join in select.args.get("joins") or ()):
        return []
    found = []
    for condition in exp.and_(where.this).flatten() if isinstance(where.this, exp.And) else [where.this]:
        columns = list(condition.find_all(exp.Column))
        alone = columns and all(
            column.name.lower() in keys and (column.table == name or (not column.table and len(scope.sources) == 1))
            for column in columns
        )
        if alone and not condition.find(exp.Query, exp.AggFunc, exp.Window):
            copy = condition.copy()
            for column in copy.find_all(exp.Column):
                column.set("table", None)
            found.append(dialect.rewrite(copy).sql(dialect="duckdb"))
    return found


def _forget_database(scope: Scope, table: exp.Table) -> None:
    """Changes `db.table.column` to `table.column`. A row's field, `table.column.field`, parses the same and stays."""
    for column in scope.columns:
        if (column.db, column.table) == (table.db, table.name):
            column.set("db", None)
            column.set("catalog", None)


def _leave_out_of_stars(select: exp.Expr, tables: set[str], hidden: set[str]) -> None:
    """Excludes the hidden columns of `tables` from `*`."""
    for item in select.expressions if isinstance(select, exp.Select) else ():
        star = item.this if isinstance(item, exp.Column) else item
        if isinstance(star, exp.Star) and (tables if star is item else item.table in tables):
            star.set("except_", [exp.to_identifier(name, quoted=True) for name in sorted(hidden)])
