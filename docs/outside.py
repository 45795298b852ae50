"""A preprocessor of mdBook: links from a page to a file outside docs/.

The site has only docs/. On GitHub's runners the links lead to the repository. Elsewhere only their text stays.
"""

import json
import os
import posixpath
import re
import sys

LINK = re.compile(r"(!?)\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\(((?:\.\./)+[^)\s]*)\)")


def repository():
    """Returns the address of this commit's files, or None if nothing names it."""
    server, name, commit = (os.environ.get(f"GITHUB_{part}") for part in ("SERVER_URL", "REPOSITORY", "SHA"))
    return f"{server}/{name}/blob/{commit}" if server and name and commit else None


def replaced(text, page, base):
    """Returns a page's text with the links that leave docs/ led to `base`, or without them."""

    def one(match):
        bang, label, target = match.groups()
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
        if path.startswith("docs/"):
            return match.group()
        return f"{bang}[{label}]({base}/{path})" if base else label

    return LINK.sub(one, text)


def walk(items, base):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            chapter["content"] = replaced(chapter["content"], chapter["path"], base)
            walk(chapter["sub_items"], base)


if __name__ == "__main__":
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    _, book = json.load(sys.stdin)
    walk(book["items"], repository())
    json.dump(book, sys.stdout)
