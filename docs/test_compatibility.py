"""The tests that docs/compatibility.md names exist, and each version with samples has its requests.

    just pages
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_each_promise_names_a_test_that_exists():
    table = (ROOT / "docs/compatibility.md").read_text().split("\n## What stays readable\n")[1].split("\n## ")[0]
    named = re.findall(r"`((?:tests|shared)/[\w/]+\.rs)(?:::(\w+))?`", table)
    assert len(named) >= 6
    for file, name in named:
        assert not name or f"fn {name}(" in (ROOT / file).read_text(), f"{file} has no test {name}"


def test_each_version_with_samples_has_its_requests():
    samples = {path.name for path in (ROOT / "tests/samples").iterdir() if path.is_dir()}
    requests = {path.stem for path in (ROOT / "tests/requests").iterdir()}
    assert samples and samples <= requests
