"""Finds the types of a query's columns that DuckDB doesn't know, such as varchar(10) and char(3)."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.scope import Scope, build_scope

from . import trino_types
from .trino_types import Type

Known = list[tuple[str, Type | None]]
TableColumns = Callable[[exp.Table], list[tuple[str, Type]]]


def known(query: exp.Query, table_columns: TableColumns) -> list[Type | None] | None:
    """Returns a type or None for each column of the result, or None if the number of columns isn't clear.

    Follows plain columns, stars, CASTs and literals. Other expressions have the type that DuckDB finds.
    """
    try:
        scope = build_scope(query)
        columns = _of_scope(scope, table_columns) if scope else None
    except OptimizeError:  # as of two sources with the same name
        return None
    return None if columns is None else [kind for _, kind in columns]


def _of_scope(scope: Scope, table_columns: TableColumns) -> Known | None:
    select = scope.expression
    if isinstance(select, exp.Subquery):
        return None
    if isinstance(select, exp.SetOperation):
        sides = [_of_scope(side, table_columns) for side in scope.set_operation_scopes]
        if any(side is None for side in sides) or len({len(side or ()) for side in sides}) != 1:
            return None
        # The columns of a union have a common type. It is clear if the sides agree.
        return [
            (column[0][0], column[0][1] if len({kind for _, kind in column}) == 1 else None) for column in zip(*sides)
        ]
    if not isinstance(select, exp.Select):
        return None
    columns: Known = []
    for item in select.expressions:
        star = item.this if isinstance(item, exp.Column) else item
        if isinstance(star, exp.Star):
            starred = _of_star(item, scope, table_columns)
            if starred is None:
                return None
            columns += starred
        else:
            columns.append((item.alias_or_name, _of_expression(item.unalias(), scope, table_columns)))
    return columns


def _of_star(item: exp.Expr, scope: Scope, table_columns: TableColumns) -> Known | None:
    joins = scope.expression.args.get("joins") or ()
    if (
        item.args.get("except_")
        or scope.expression.args.get("laterals")
        or any(join.args.get("using") for join in joins)
    ):
        return None
    named = item.table if isinstance(item, exp.Column) else None
    columns: Known = []
    for name, (_, source) in scope.selected_sources.items():
        if named in (None, name):
            found = _of_source(source, table_columns)
            if found is None:
                return None
            columns += found
    return columns


def _of_expression(item: exp.Expr, scope: Scope, table_columns: TableColumns) -> Type | None:
    if isinstance(item, exp.Column):
        sources = [s for name, (_, s) in scope.selected_sources.items() if not item.table or item.table == name]
        found = [_of_source(source, table_columns) for source in sources]
        kinds = [kind for columns in found for name, kind in columns or () if name.lower() == item.name.lower()]
        return kinds[0] if None not in found and len(kinds) == 1 else None
    if isinstance(item, (exp.Cast, exp.TryCast)):
        try:
            return trino_types.parse(item.args["to"].sql(dialect="trino"))
        except trino_types.UnknownType:
            return None
    if isinstance(item, exp.Null):
        return Type("unknown")
    if isinstance(item, exp.Literal) and item.is_string:
        return Type("varchar", (len(item.name),))
    return None


def _of_source(source: exp.Expr | Scope, table_columns: TableColumns) -> Known | None:
    if isinstance(source, Scope):
        columns = _of_scope(source, table_columns)
        outer = source.expression.find_ancestor(exp.CTE, exp.Subquery)
        names = outer.args["alias"].columns if outer is not None and outer.args.get("alias") else ()
        if columns is None or not names:
            return columns
        return [(name.name, kind) for name, (_, kind) in zip(names, columns)]
    if not isinstance(source, exp.Table) or not isinstance(source.this, exp.Identifier):
        return None
    alias = source.args.get("alias")
    return None if alias and alias.columns else list(table_columns(source))
