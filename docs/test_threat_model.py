"""Checks docs/threat-model.md: each named test exists, no cell is empty, and each actor has attacks with a test.

    just pages

A test that is named after the word `pending` is built elsewhere. As soon as it exists, remove the word.
"""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/threat-model.md").read_text()
ACTORS = [
    "Application or partner", "Editor of datasets.toml", "Invoker and operator", "Reader", "Writer of the whole bucket",
    "Deployer and administrator", "Network", "The laptop", "Supply chain",
]  # fmt: skip
COLUMNS = ["", "what they might try", "what stops it", "residual risk"]
TEST = re.compile(r"(pending: )?`([\w./-]+)::(\w+)`")


def sections():
    """Returns each section's heading and text."""
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def tables(text):
    """Returns the rows of a section's table, without the line below the heading."""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if not all(re.fullmatch(r"-+", cell) for cell in row)]


@cache
def source(path):
    return (ROOT / path).read_text() if (ROOT / path).is_file() else ""


def exists(path, name):
    pattern = rf"^def {name}\(" if path.endswith(".py") else rf"#\[(tokio::)?test.*\]\s+(#\[.*\]\s+)*(async )?fn {name}\("
    return re.search(pattern, source(path), re.MULTILINE) is not None


NAMED = sorted({match.groups() for match in TEST.finditer(PAGE)}, key=lambda found: found[1:])


@pytest.mark.parametrize(("pending", "path", "name"), NAMED, ids=lambda each: str(each)[:60])
def test_each_named_test_exists(pending, path, name):
    if pending:
        assert not exists(path, name), f"docs/threat-model.md: remove `pending: ` before {path}::{name}, which exists now"
    else:
        assert exists(path, name), f"docs/threat-model.md: {path} has no test {name}"


def test_no_cell_is_empty():
    for heading, text in sections().items():
        for row in tables(text)[1:]:
            assert all(row) and len(row) == len(tables(text)[0]), (heading, row)


def test_each_actor_has_attacks_and_each_attack_a_test():
    assert [heading for heading in sections() if heading not in ("Assets", "Guidance")] == ACTORS
    for actor in ACTORS:
        text = sections()[actor]
        assert re.search(r"\*\*(may|can)\*\*", text.split("|")[0]), actor
        header, *attacks = tables(text)
        assert header == COLUMNS and len(attacks) >= 3, actor
        tests = dict(re.findall(r"^(\d+)\. (.+)$", text.split("\nTests:\n")[1], re.MULTILINE))
        assert [attack[0] for attack in attacks] == list(tests), actor
        for attack in attacks:
            assert TEST.search(tests[attack[0]]), (actor, attack[1])


def test_every_statement_of_the_buckets_policy_is_named_or_belongs_to_a_named_row():
    policy = (ROOT / "infra/policies/bucket.json").read_text()
    inbox = {"InboxCustomerKeys", "InboxEncryption", "InboxStorageClass"}  # "a drop that `optout` can list but not read"
    for sid in set(re.findall(r'"Sid": "(\w+)"', policy)) - inbox - {"KeepRecords"}:
        assert f"`{sid}`" in PAGE, sid
