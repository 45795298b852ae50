"""A preprocessor of mdBook: files outside docs/.

The site has only docs/. A page in COPIES shows a file from elsewhere in the repository, to which the page itself only links. Links to
other files lead to the repository on GitHub's runners. Elsewhere only their text stays.
"""

import json
import os
import posixpath
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

LINK = re.compile(r"(!?)\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\((?![a-z]+:|#)([^)\s]+)\)")
# The pages of the site that show a file from outside docs/.
COPIES = {"architecture.md": "ARCHITECTURE.md", "running-tests.md": "tests/README.md", "running-benchmarks.md": "bench/README.md"}


def repository():
    """Returns the address of this commit's files, or None if nothing names it."""
    server, name, commit = (os.environ.get(f"GITHUB_{part}") for part in ("SERVER_URL", "REPOSITORY", "SHA"))
    return f"{server}/{name}/blob/{commit}" if server and name and commit else None


def replaced(text, page, base):
    """Returns the text that the site shows as a page, with its links to files that the site lacks led to `base`, or without them."""
    source = COPIES.get(page, posixpath.join("docs", page))
    shown = {file: name for name, file in COPIES.items()}

    def one(match):
        bang, label, target = match.groups()
        file, anchor = re.fullmatch(r"([^#]*)(#.*)?", target).groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), file))
        there = shown.get(path) or (posixpath.relpath(path, "docs") if path.startswith("docs/") else None)
        if there:
            return f"{bang}[{label}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor or ''})"
        return f"{bang}[{label}]({base}/{path}{anchor or ''})" if base else label

    return LINK.sub(one, text)


def walk(items, base):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            copied = COPIES.get(chapter["path"])
            text = (ROOT / copied).read_text() if copied else chapter["content"]
            chapter["content"] = replaced(text, chapter["path"], base)
            walk(chapter["sub_items"], base)


if __name__ == "__main__":
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    _, book = json.load(sys.stdin)
    walk(book["items"], repository())
    json.dump(book, sys.stdout)
