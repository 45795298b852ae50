"""Refuses names that Athena's parsers refuse: reserved words, backticks and leading digits.

Queries and views are parsed by Trino, and other DDL by Hive's grammar. The lists of words are in
https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html. The messages are those of Trino's parser.
If a statement doesn't match the DDL grammar, Athena passes it to Trino's parser, which stops at EXTERNAL. The tokens
that Trino expects depend on the position; here they are shortened to <identifier>.
"""

from __future__ import annotations

from sqlglot import exp, tokenize
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from .errors import InvalidRequest

_IN_QUERIES = frozenset(
    """ALTER AND AS BETWEEN BY CASE CAST CONSTRAINT CREATE CROSS CUBE CURRENT_CATALOG CURRENT_DATE CURRENT_PATH CURRENT_SCHEMA
    CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER DEALLOCATE DELETE DESCRIBE DISTINCT DROP ELSE END ESCAPE EXCEPT EXECUTE EXISTS
    EXTRACT FALSE FIRST FOR FROM FULL GROUP GROUPING HAVING IN INNER INSERT INTERSECT INTO IS JOIN JSON_ARRAY JSON_EXISTS
    JSON_OBJECT JSON_QUERY JSON_TABLE JSON_VALUE LAST LEFT LIKE LISTAGG LOCALTIME LOCALTIMESTAMP NATURAL NORMALIZE NOT NULL OF ON OR
    ORDER OUTER PREPARE RECURSIVE RIGHT ROLLUP SELECT SKIP TABLE THEN TRIM TRUE UESCAPE UNION UNNEST USING VALUES WHEN WHERE
    WITH""".split()
)
_IN_DDL = frozenset(
    """ALL ALTER AND ARRAY AS AUTHORIZATION BETWEEN BIGINT BINARY BOOLEAN BOTH BY CASE CAST CHAR COLUMN CONF CONSTRAINT COMMIT
    CREATE CROSS CUBE CURRENT CURRENT_DATE CURRENT_TIMESTAMP CURSOR DATABASE DATE DAYOFWEEK DECIMAL DELETE DESCRIBE DISTINCT DIV
    DOUBLE DROP ELSE END EXCHANGE EXISTS EXTENDED EXTERNAL EXTRACT FALSE FETCH FLOAT FLOOR FOLLOWING FOR FOREIGN FROM FULL FUNCTION
    GRANT GROUP GROUPING HAVING IF IMPORT IN INNER INSERT INT INTEGER INTERSECT INTERVAL INTO IS JOIN LATERAL LEFT LESS LIKE LOCAL
    MACRO MAP MORE NONE NOT NULL NUMERIC OF ON ONLY OR ORDER OUT OUTER OVER PARTIALSCAN PARTITION PERCENT PRECEDING PRECISION
    PRESERVE PRIMARY PROCEDURE RANGE READS REDUCE REGEXP REFERENCES REVOKE RIGHT RLIKE ROLLBACK ROLLUP ROW ROWS SELECT SET SMALLINT
    START TABLE TABLESAMPLE THEN TIME TIMESTAMP TO TRANSFORM TRIGGER TRUE TRUNCATE UNBOUNDED UNION UNIQUEJOIN UPDATE USER USING
    UTC_TIMESTAMP VALUES VARCHAR VIEWS WHEN WHERE WINDOW WITH""".split()
)
_NO_DDL = "line 1:8: mismatched input 'EXTERNAL'. Expecting: 'MATERIALIZED', 'OR', 'ROLE', 'SCHEMA', 'TABLE', 'VIEW'"


def check(tree: exp.Expr, text: str) -> None:
    """Checks the names in a parsed statement. An invalid name is a syntax error, which refuses the request."""
    if isinstance(tree, exp.Create) and tree.find(exp.ExternalProperty):
        _check_table(tree)
    elif isinstance(tree, (exp.Query, exp.Values, exp.Create)):
        check_tokens(text)
        for name in tree.find_all(exp.Identifier):
            if not name.quoted and name.name.upper() in _IN_QUERIES:
                line, end = name.meta.get("line", 1), name.meta.get("col", len(name.name))
                where = f"line {line}:{end - len(name.name) + 1}"
                raise _malformed(f"{where}: mismatched input '{name.name}'. Expecting: <identifier>")


def check_tokens(text: str) -> None:
    """Refuses tokens that Trino's tokenizer recognizes as names only to reject them."""
    try:
        tokens = tokenize(text, read="trino")
    except SqlglotError:
        return
    for token, after in zip(tokens, [*tokens[1:], None]):
        if token.token_type == TokenType.UNKNOWN and token.text == "`":
            why = "backquoted identifiers are not supported; use double quotes to quote identifiers"
            raise _malformed(f"{_place(token)}: {why}")
        if token.token_type == TokenType.NUMBER and after and after.start == token.end + 1 and after.text[0].isalpha():
            why = "identifiers must not start with a digit; surround the identifier with double quotes"
            raise _malformed(f"{_place(token)}: {why}")


def _check_table(tree: exp.Create) -> None:
    """Checks the table's and columns' names in CREATE EXTERNAL TABLE."""
    schema = tree.this
    table = schema.this if isinstance(schema, exp.Schema) else schema
    partitioned = tree.find(exp.PartitionedByProperty)
    columns = [*schema.find_all(exp.ColumnDef), *(partitioned.find_all(exp.ColumnDef) if partitioned else ())]
    for name in [*table.find_all(exp.Identifier), *(column.this for column in columns)]:
        if isinstance(name, exp.Identifier) and not name.quoted and name.name.upper() in _IN_DDL:
            raise _malformed(_NO_DDL)


def _malformed(why: str) -> InvalidRequest:
    return InvalidRequest(why, "MALFORMED_QUERY")


def _place(token: Token) -> str:
    return f"line {token.line}:{token.col - (token.end - token.start)}"
