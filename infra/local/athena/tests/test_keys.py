"""Tests the functions with which Turntable compares keys: casts to decimal, trim, lower, normalize, replace."""

from __future__ import annotations

import pyarrow as pa
import pytest
from conftest import Lake


def test_keys_of_different_types_are_compared_as_decimals(lake: Lake) -> None:
    keys = ["007", "1.0", " 7", "abc", "", "1e3", None, "8"]
    lake.put("t/a.parquet", pa.table({"id": pa.array(keys, pa.string())}))
    lake.table("t", {"id": "string"}, "t")
    lake.put("o/a.parquet", pa.table({"user_id": pa.array([7, 1, 1000], pa.int64())}))
    lake.table("o", {"user_id": "bigint"}, "o")
    lake.view(
        "v",
        'SELECT t."id" FROM "dmp"."t" t WHERE NOT EXISTS (SELECT 1 FROM "dmp"."o" o WHERE '
        'CAST(o."user_id" AS decimal(38,6)) = TRY_CAST(trim(t."id") AS decimal(38,6)))',
        {"id": "varchar"},
    )
    assert lake.rows("SELECT id FROM v ORDER BY id") == [[""], ["8"], ["abc"], [None]]


def test_normalized_keys_are_compared(lake: Lake) -> None:
    keys = ["ﬁ X\t", "{AB-cd}", "ＡＢ", "\u2003e\u0301 ", "other", "\u00a0x"]
    lake.put("t/a.parquet", pa.table({"k": keys}))
    lake.table("t", {"k": "string"}, "t")
    lake.put("o/a.parquet", pa.table({"k": ["fi x", "abcd", "ab", "É", "x"]}))
    lake.table("o", {"k": "string"}, "o")
    compared = 'lower(normalize(trim({}."k"), NFKC))'
    view = 'SELECT t."k" FROM "dmp"."t" t WHERE NOT EXISTS (SELECT 1 FROM "dmp"."o" o WHERE {} = {})'
    lake.view("v", view.format(compared.format("o"), compared.format("t")), {"k": "varchar"})
    # A no-break space becomes a space after the trim.
    assert sorted(row[0] for row in lake.rows("SELECT * FROM v")) == ["other", "{AB-cd}", "\u00a0x"]
    compared = "replace(replace(replace(lower(trim({}.\"k\")), '-', ''), '{{', ''), '}}', '')"
    lake.view("w", view.format(compared.format("o"), compared.format("t")), {"k": "varchar"})
    assert "{AB-cd}" not in [row[0] for row in lake.rows("SELECT * FROM w")]


@pytest.mark.parametrize(("value", "shown"), [
    ("'007'", "7.000000"), ("'1.0'", "1.000000"), ("' 7'", None), ("'7 '", None), ("'abc'", None), ("''", None), ("'1e3'", "1000.000000"),
    ("'1_000'", None), ("'+.5'", "0.500000"), ("'5.'", "5.000000"), ("'NaN'", None), ("'-0.0000005'", "-0.000001"), ("'1e32'", None),
    ("1e22", "10000000000000000000000.000000"), ("CAST(0.1 AS real)", "0.100000"), ("nan()", None), ("infinity()", None),
    ("1e32", None), ("0.0000005e0", "0.000001"), ("DECIMAL '0.0000005'", "0.000001"), ("DECIMAL '-0.0000015'", "-0.000002"),
    ("DECIMAL '123456789012345678901234567890123'", None), ("7", "7.000000"), ("CAST(" * 9 + "'1.5'" + " AS decimal(38,6))" * 9, "1.500000"), ("CAST(NULL AS varchar)", None),
])  # fmt: skip
def test_casts_to_decimal(lake: Lake, value: str, shown: str | None) -> None:
    assert lake.one(f"TRY_CAST({value} AS decimal(38,6))") == shown
    if shown is None and "NULL" not in value:
        assert lake.failure(f"SELECT CAST({value} AS decimal(38,6))").startswith("INVALID_CAST_ARGUMENT: ")
    else:
        assert lake.one(f"CAST({value} AS decimal(38,6))") == shown


@pytest.mark.parametrize(("expression", "reason"), [
    ("CAST('yes' AS boolean)", "Cannot cast 'yes' to BOOLEAN"), ("CAST('' AS boolean)", "Cannot cast '' to BOOLEAN"),
    ("CAST(' 7' AS decimal(38,6))", "Cannot cast VARCHAR ' 7' to DECIMAL(38, 6). Value is not a number."),
    ("CAST('1e40' AS decimal(38,6))", "Cannot cast VARCHAR '1e40' to DECIMAL(38, 6). Value too large."),
    ("CAST(nan() AS decimal(5,2))", "Cannot cast DOUBLE 'NaN' to DECIMAL(5, 2)"),
])  # fmt: skip
def test_casts_fail_in_the_words_of_trino(lake: Lake, expression: str, reason: str) -> None:
    assert lake.failure(f"SELECT {expression}") == f"INVALID_CAST_ARGUMENT: {reason}"


@pytest.mark.parametrize(("expression", "shown"), [
    ("CAST('T' AS boolean)", "true"), ("CAST('0' AS boolean)", "false"), ("TRY_CAST('yes' AS boolean)", None), ("CAST(1 AS boolean)", "true"),
    ("CASE WHEN true THEN true ELSE CAST('no' || chr(33) AS boolean) END", "true"),
    ("trim(chr(9) || chr(8195) || 'a' || chr(160) || chr(10))", "a\u00a0"), ("ltrim(chr(9) || 'a ')", "a "), ("rtrim(' a' || chr(9))", " a"),
    ("trim(BOTH 'x' FROM 'xax')", "a"), ("lower('ÀÉİ')", "àéi"), ("normalize('e' || chr(769))", "é"), ("normalize('é', NFD) = 'e' || chr(769)", "true"),
    ("normalize('①ﬁ', NFKC)", "1fi"), ("normalize(CAST(NULL AS varchar), NFKC)", None), ("replace('aba', 'a')", "b"), ("replace('ab', '', '.')", ".a.b."),
])  # fmt: skip
def test_texts(lake: Lake, expression: str, shown: str | None) -> None:
    assert lake.one(expression) == shown
