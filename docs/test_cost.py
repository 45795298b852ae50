"""Every sum in benchmarks.md, cost.md, opt-outs-cost.md and scale.md, done again.

    just pages

A line of a code block that ends in `= NUMBER` is a sum; the tables are named below, with the formulas of their columns.
"""

import ast
import operator
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent
HOURS, NIGHTS = 730, 30.4
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
SUM = re.compile(r"^ {4}.*?(?:^| {2,}|= *)(?P<sum>[(\d][\d.,()×+/ −-]*) *= *(?P<result>\d[\d.,]*)$")


def number(text):
    return float(text.strip(" $*").replace(",", ""))


def calculated(text):
    def value(node):
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        return node.value

    return value(ast.parse(text.strip().replace(",", "").replace("×", "*").replace("−", "-"), mode="eval").body)


def agrees(written, value):
    """Whether it is the value, rounded to as many digits as are written."""
    digits = written.strip(" $*").replace(",", "")
    last = 10.0 ** -len(digits.partition(".")[2])
    return abs(number(written) - value) <= last * 0.501


def lines(page):
    return (DOCS / page).read_text().splitlines()


def sums(page):
    return [match for line in lines(page) if (match := SUM.match(line))]


def table(page, first):
    """The rows of the table whose first header cell is `first`, by their own first cells."""
    text = lines(page)
    start = next(at for at, line in enumerate(text) if line.startswith("|") and cells(line)[0] == first)
    end = next(at for at in range(start, len(text)) if not text[at].startswith("|"))
    return {row[0].strip("*"): row[1:] for row in map(cells, text[start + 2 : end])}


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def named(page, name):
    """The sum that begins with this name, before it is rounded."""
    (found,) = [match for match in sums(page) if match[0].strip().startswith(name + "  ")]
    return calculated(found["sum"])


@pytest.mark.parametrize("page", ["benchmarks.md", "cost.md", "opt-outs-cost.md", "scale.md"])
def test_sums(page):
    for match in sums(page):
        assert agrees(match["result"], calculated(match["sum"])), match[0]
    wrong = [line for line in lines(page) if re.match(r"^ {4}.*\d *= *[\d.]+$", line) and not SUM.match(line)]
    assert not wrong, f"docs/{page}: a sum that this test cannot read: {wrong}"


def test_there_are_sums():
    assert len(sums("cost.md")) == 20 and len(sums("benchmarks.md")) == 6


def test_a_month():
    rows = table("cost.md", "")
    storage = 0.25 * 0.023
    expected = {
        "refreshes": [NIGHTS * named("cost.md", "a refresh"), HOURS * named("cost.md", "a refresh")],
        "sweep": [named("cost.md", "sweep")] * 2,
        "storage": [3 * storage, 4 * storage],
        "its own metrics": [(4 + 4 / 24) * 0.30, 8 * 0.30],
    }
    expected["together"] = [sum(column) for column in zip(*expected.values(), strict=True)]
    assert_table(rows, expected)


def test_datasets():
    stack = named("cost.md", "a stack")
    for datasets, row in table("cost.md", "datasets").items():
        n = int(datasets)
        parts = [n * NIGHTS * named("scale.md", "a night"), n * (4 + 4 / 24) * 0.30, stack]
        for written, value in zip(row, [*parts, sum(parts)], strict=True):
            assert agrees(written, value), (datasets, written, value)


def test_scale():
    rows = table("scale.md", "tables")
    assert list(rows) == ["10", "500", "10,000"]
    for datasets, row in rows.items():
        n = number(datasets)
        metrics = n * (4 + 4 / 24)
        expected = [n * named("scale.md", "a night"), n * named("scale.md", "six hours")]
        expected.append((min(metrics, 10_000) * 0.30 + max(metrics - 10_000, 0) * 0.10) / NIGHTS)
        assert_table({datasets: row}, {datasets: expected})


def test_alternatives():
    text = lines("cost.md")
    start = next(at for at, line in enumerate(text) if line.startswith("| | a refresh |"))
    rows = {row[0]: row[1:4] for row in map(cells, text[start + 2 : start + 8])}
    for name, row in rows.items():
        refresh = named("cost.md", {"Turntable": "a refresh"}.get(name, name))
        assert_table({name: row}, {name: [refresh, NIGHTS * refresh, HOURS * refresh]})


def test_opt_outs():
    rows = table("cost.md", "opt-outs, 1 million rows")
    expected = {
        "Glue Spark, 2 DPU": [HOURS * times * named("cost.md", "Glue Spark, 2 DPU") for times in (1, 60)],
        "Python shell, 1/16 DPU": [HOURS * times * named("cost.md", "Python shell, 1/16 DPU") for times in (1, 60)],
        "Iceberg, a `MERGE` by Athena": [HOURS * times * 0.00001 * 5 for times in (1, 60, 720)],
    }
    for name, values in expected.items():
        assert_table({name: rows[name][: len(values)]}, {name: values})
    (ours,) = [row for name, row in rows.items() if name.startswith("Turntable")]
    assert ours == table("opt-outs-cost.md", "rows")["1 M"][3:6]


def test_the_table_of_opt_outs():
    for rows, (buckets, seconds, refresh, *months) in table("opt-outs-cost.md", "rows").items():
        b, t = float(buckets), float(seconds)
        cost = (b + 8) * 0.000005 + (b + 10) * 0.0000004 + (b + 5) * 0.000001 + t * 2.94 * 0.0000133 + 0.0000067
        expected = [cost, *(HOURS * times * cost for times in (1, 60, 720))]
        for written, value in zip([refresh, *months], expected):
            assert agrees(written, value), (rows, written, value)


def test_a_stack_has_fifteen_alarms_and_a_dashboard():
    template = (DOCS.parent / "template.yaml").read_text()
    assert template.count("Type: AWS::CloudWatch::Alarm") == 15
    assert template.count("Type: AWS::CloudWatch::Dashboard") == 1


def assert_table(rows, expected):
    assert rows.keys() == expected.keys()
    for name, values in expected.items():
        for written, value in zip(rows[name], values, strict=True):
            assert agrees(written, value), (name, written, value)
