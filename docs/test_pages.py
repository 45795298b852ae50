"""README's list of pages has each page once.

    just pages
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_each_page_is_listed_once():
    readme = (ROOT / "README.md").read_text()
    listed = re.findall(r"\]\((docs/[\w-]+\.md)\)", readme[readme.index("\n## Pages\n") :])
    there = sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))
    assert sorted(listed) == there, "README.md, Pages: one row for each page in docs/, one line about what it is for"
