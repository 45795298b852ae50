"""Trino's functions in DuckDB: fixes differences that sqlglot's translation leaves, on the syntax tree.

| Trino                        | why                                                            |
|------------------------------|----------------------------------------------------------------|
| CAST(x AS varchar[(n)])      | timestamps with three digits, doubles as 1.5E0, cut at n       |
| CAST(x AS decimal)           | decimal(38,0); DuckDB: (18,3). DECIMAL '1.10' keeps its digits |
| CAST(x AS decimal(p,s))      | no spaces or underscores; a double becomes the digits it shows |
| CAST(x AS boolean)           | accepts true, false, t, f, 1 and 0 only                        |
| trim, ltrim, rtrim           | tabs and other white space too; DuckDB: spaces                 |
| normalize                    | all four forms                                                 |
| replace(s, '', r)            | r before each character and at the end; DuckDB: s              |
| a / b, a % b                 | division by zero fails except for doubles; DuckDB: null        |
| date_diff                    | counts whole units elapsed; DuckDB's counts boundaries crossed |
| date_add, date_trunc, ± interval | on an expression of type date, returns a date              |
| extract(dow …)               | Monday is 1 and Sunday is 7                                    |
| millisecond                  | excludes whole seconds; DuckDB's includes them                 |
| regexp_extract               | null without a match; DuckDB: an empty string                  |
| regexp_replace               | groups are $1; DuckDB: \\1                                      |
| slice(a, start, length)      | DuckDB expects the end instead of the length                   |
| any_match, all_match, none_match | list_filter, because a macro cannot take a lambda          |
| sha1                         | returns varbinary; DuckDB: a hex string                        |
| cardinality                  | accepts maps too                                               |
| format                       | DuckDB's printf                                                |
functions.sql has macros for other functions that DuckDB lacks. All others fail with FUNCTION_NOT_FOUND.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from .errors import QueryFailed

_WHOLE_DAYS = ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")


def rewrite(tree: exp.Expr) -> exp.Expr:
    """Returns a tree that means in DuckDB's SQL what `tree` means in Trino's. Rewrites inner calls first."""
    for node in reversed(list(tree.walk())):
        rule = _BY_NAME.get(node.name.lower()) if isinstance(node, exp.Anonymous) else _BY_CLASS.get(type(node))
        fixed = rule(node) if rule else node
        if node is tree:
            tree = fixed
        elif fixed is not node:
            node.replace(fixed)
    return tree


def _call(name: str, *arguments: exp.Expr | str | int) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=[exp.convert(argument) for argument in arguments])


def _cast(node: exp.Expr) -> exp.Expr:
    target = node.args["to"]
    if target.this in (exp.DType.VARCHAR, exp.DType.TEXT):
        text = _call("trino_varchar", node.this)
        length = target.expressions
        return _call("left", text, length[0].this) if length else text
    if target.this in (exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ):
        target.set("expressions", [])  # in DuckDB, timestamp(0) is another type
    if target.this == exp.DType.DECIMAL and not target.expressions:
        digits, scale = 38, 0
        if isinstance(node.this, exp.Literal) and re.fullmatch(r"[+-]?\d*\.?\d*", node.this.name):
            scale = len(node.this.name.partition(".")[2])
        target.set("expressions", [exp.DataTypeParam(this=exp.convert(n)) for n in (digits, scale)])
    fails = exp.Boolean(this=not isinstance(node, exp.TryCast))
    if target.this == exp.DType.BOOLEAN:
        return _call("trino_boolean", node.this, fails)
    if target.this == exp.DType.DECIMAL and not _is_exact(node.this):
        name = exp.Literal.string("DECIMAL({}, {})".format(*(n.name for n in target.expressions)))
        number = _call("trino_number", node.this.copy(), name, fails)
        written = exp.If(
            this=_call("trino_is_written", node.this.copy()), true=type(node)(this=number, to=target.copy())
        )
        return exp.Case(ifs=[written], default=node.copy())
    return node


def _is_exact(node: exp.Expr) -> bool:
    """Returns whether an expression is certainly an integer or a decimal. A CAST then needs no copies of the expression."""
    if isinstance(node, (exp.Paren, exp.Neg)):
        return _is_exact(node.this)
    if isinstance(node, (exp.Add, exp.Sub, exp.Mul)):
        return _is_exact(node.this) and _is_exact(node.expression)
    if isinstance(node, exp.Case):
        return _is_exact(node.args.get("default"))
    if isinstance(node, (exp.Cast, exp.TryCast)):
        return node.args["to"].this in (exp.DType.DECIMAL, *exp.DataType.INTEGER_TYPES)
    return isinstance(node, exp.Literal) and not node.is_string and "e" not in node.name.lower()


def _trim(node: exp.Expr) -> exp.Expr:
    if node.args.get("expression"):
        return node
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(node.text("position").upper(), "trim")
    return _call(name, node.this, exp.Anonymous(this="trino_white_space"))


def _normalize(node: exp.Expr) -> exp.Expr:
    return _call("trino_normalize", node.this, exp.Literal.string((node.text("form") or "NFC").upper()))


def _date_diff(node: exp.Expr) -> exp.Expr:
    return _call("date_sub", node.text("unit").lower(), node.expression, node.this)


def _keep_date(node: exp.Expr) -> exp.Expr:
    """Casts the result back to a date: DuckDB turns a shifted or truncated date into a timestamp, Trino doesn't."""
    interval = node.args.get("expression")
    unit = (interval if isinstance(interval, exp.Interval) else node).text("unit").upper()
    if not _is_date(node.this) or unit not in _WHOLE_DAYS:
        return node
    return exp.Cast(this=node.copy(), to=exp.DataType.build("date"))


def _plus_interval(node: exp.Expr) -> exp.Expr:
    return _keep_date(node) if isinstance(node.expression, exp.Interval) else node


def _is_date(node: exp.Expr) -> bool:
    if isinstance(node, (exp.CurrentDate, exp.Date, exp.LastDay)):
        return True
    if isinstance(node, (exp.DateAdd, exp.TimestampTrunc, exp.DateTrunc)):
        return _is_date(node.this)
    return isinstance(node, (exp.Cast, exp.TryCast)) and node.args["to"].this == exp.DType.DATE


def _extract(node: exp.Expr) -> exp.Expr:
    if node.name.upper() in ("DOW", "DAY_OF_WEEK"):
        node.set("this", exp.var("ISODOW"))
    return node


def _regexp_extract(node: exp.Expr) -> exp.Expr:
    matches = exp.RegexpLike(this=node.this.copy(), expression=node.expression.copy())
    return exp.Case(ifs=[exp.If(this=matches, true=node.copy())])


def _regexp_replace(node: exp.Expr) -> exp.Expr:
    replacement = node.args.get("replacement")
    if isinstance(replacement, exp.Literal):
        replacement.set("this", re.sub(r"\$(\d)", r"\\\1", replacement.name))
    return node


def _slice(node: exp.Expr) -> exp.Expr:
    start, length = node.args["start"], node.args["end"]
    end = exp.Sub(
        this=exp.Add(this=exp.Paren(this=start.copy()), expression=exp.Paren(this=length)), expression=exp.convert(1)
    )
    return _call("list_slice", node.this, start, end)


def _sha2(node: exp.Expr) -> exp.Expr:
    if node.args.get("length") and node.args["length"].name not in ("256", ""):
        raise QueryFailed(
            "FUNCTION_NOT_FOUND", f"Function 'sha{node.args['length'].name}' is not known to this endpoint"
        )
    return node


def _matches(
    test: Callable[[exp.Expr, exp.Expr], exp.Expr],
) -> Callable[[exp.Expr], exp.Expr]:
    def rule(node: exp.Expr) -> exp.Expr:
        array, condition = node.expressions
        return exp.Paren(this=test(_call("len", exp.ArrayFilter(this=array, expression=condition)), array.copy()))

    return rule


_BY_CLASS: dict[type, Callable[[exp.Expr], exp.Expr]] = {
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Trim: _trim,
    exp.Normalize: _normalize,
    exp.Replace: lambda node: _call(
        "trino_replace", node.this, node.expression, node.args.get("replacement") or exp.Literal.string("")
    ),
    exp.Div: lambda node: _call("trino_divide", node.this, node.expression),
    exp.Mod: lambda node: _call("trino_modulo", node.this, node.expression),
    exp.DateDiff: _date_diff,
    exp.DateAdd: _keep_date,
    exp.TimestampTrunc: _keep_date,
    exp.DateTrunc: _keep_date,
    exp.Add: _plus_interval,
    exp.Sub: _plus_interval,
    exp.Extract: _extract,
    exp.RegexpExtract: _regexp_extract,
    exp.RegexpReplace: _regexp_replace,
    exp.ArraySlice: _slice,
    exp.ArraySize: lambda node: _call("cardinality_of", node.this),
    exp.SHA: lambda node: exp.Unhex(this=node.copy()),
    exp.SHA2Digest: _sha2,
    exp.Format: lambda node: _call("printf", node.this, *node.expressions),
}
_BY_NAME: dict[str, Callable[[exp.Expr], exp.Expr]] = {
    "millisecond": lambda node: exp.Paren(
        this=exp.Mod(this=_call("date_part", "millisecond", *node.expressions), expression=exp.convert(1000))
    ),
    "any_match": _matches(lambda found, _: exp.GT(this=found, expression=exp.convert(0))),
    "all_match": _matches(lambda found, array: exp.EQ(this=found, expression=_call("len", array))),
    "none_match": _matches(lambda found, _: exp.EQ(this=found, expression=exp.convert(0))),
}
