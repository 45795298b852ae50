"""Checks the pages with proselint, without their code, and with the checks that have found real faults here or might find some.

    just prose
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Off: it asks for typographic quotes and symbols, which code lacks, and for “nearly all the time”, which means another thing.
CONFIG = {"checks": {"typography": False, "misc.preferred_forms": False}}
PROGRAM = Path(sys.executable).parent / "proselint"


def prose(text):
    """Returns a page's text without code, headings and addresses. Each line stays on its line."""
    lines, fenced, code = [], False, True
    for number, line in enumerate(text.splitlines()):
        fence = line.lstrip().startswith("```")
        code = fence or fenced or not line or (code and line.startswith("    "))
        fenced ^= fence
        # What stands before and after belongs to different sentences.
        lines.append(f"(y{number}y)" if code or line.startswith("#") else line)
    spans = iter(range(10**6))
    text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", lambda found: f"code{next(spans)}x" + "\n" * found[0].count("\n"), "\n".join(lines), flags=re.DOTALL)
    text = re.sub(r"\]\([^)\s]*\)", "]", text)
    return re.sub(r"\||\w*_\w*", lambda _: f"(x{next(spans)}x)", text) + "\n"


def faults(pages):
    """Returns what proselint finds in `pages`: their names, and their texts."""
    with tempfile.TemporaryDirectory() as folder:
        # Its option --config has no effect.
        Path(folder, ".proselintrc.json").write_text(json.dumps(CONFIG))
        for name, text in pages.items():
            copy = Path(folder, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(prose(text))
        ended = subprocess.run(
            [PROGRAM, "--output-format", "compact", "check", *pages], cwd=folder, capture_output=True, text=True
        )
        told = re.sub(r"\x1b\[[\d;]*m", "", ended.stdout).replace(f"{Path(folder).resolve()}/", "").strip()
        assert bool(told) == (ended.returncode != 0), ended.stderr
        return told


def main():
    tracked = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    english = [name for name in tracked if not name.endswith(".ja.md") and not name.startswith("docs/ja/")]
    found = faults({name: (ROOT / name).read_text() for name in english})
    print(found or f"{len(english)} pages: proselint found nothing")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
