"""Every example is complete, and its pages match its files.

    just pages
"""

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

HERE = Path(__file__).parent
EXAMPLES = sorted(path.parent.name for path in HERE.glob("*/datasets.toml"))


def text(example, file):
    return (HERE / example / file).read_text()


def datasets(example):
    return tomllib.loads(text(example, "datasets.toml"))["datasets"]


def test_each_example_is_listed_once():
    listed = re.findall(r"\]\(([\w-]+)/README\.md\)", (HERE / "README.md").read_text())
    assert sorted(listed) == EXAMPLES == sorted(path.name for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__")


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_page_fits_a_screen_and_names_each_dataset(example):
    page = text(example, "README.md")
    assert len(page.splitlines()) <= 45
    assert [name for name in datasets(example) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_datasets_match_the_schema(example):
    schema = json.loads((HERE.parent / "docs/datasets.schema.json").read_text())
    faults = jsonschema.Draft7Validator(schema).iter_errors(tomllib.loads(text(example, "datasets.toml")))
    assert [f"{fault.json_path}: {fault.message}" for fault in faults] == []


def test_the_moved_job_computes_what_the_old_one_did():
    def computed(file):
        lines = text("pyspark", file).splitlines()
        return [line for line in lines if line.startswith(("schema =", "totals ="))]

    assert len(computed("before.py")) == 2
    assert computed("user_totals.py") == computed("before.py")
    arguments = set(re.findall(r'add_argument\("(--\w+)"', text("pyspark", "user_totals.py")))
    assert arguments == {*datasets("pyspark")["user_totals"]["source"]["glue_job"]["arguments"], "--turntable_location"}


def test_the_queries_name_columns_of_the_applications_tables():
    tables = dict(re.findall(r"CREATE TABLE (\w+) \(\n(.*?)\n\);", text("webapp-mysql", "schema.sql"), re.S))
    queried = [dataset["source"]["mysql"]["query"] for dataset in datasets("webapp-mysql").values() if "mysql" in dataset["source"]]
    assert len(queried) == len(tables) == 2
    for query in queried:
        columns, table = re.fullmatch(r"SELECT (.*) FROM (\w+)", query).groups()
        there = re.findall(r"^ +(\w+) [A-Z]", tables[table], re.M)
        assert [column for column in columns.split(", ") if column not in there] == []
