"""Writes a lock file NAME.txt for each NAME.in: every package that it needs, with its version and the hashes of its files.

    just lock             # after a change of a .in file
    just lock --upgrade   # to the newest versions that the .in files allow
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Folders with .in files. .ci/tool and infra/local/src/venv.rs install from the lock files.
FOLDERS = [".ci/requirements", "bench", "infra/local", "tests"]
# The oldest Python that the packages of a file support. For all others it is 3.10.
PYTHON = {".ci/requirements/athena.in": "3.11", ".ci/requirements/workflows.in": "3.11", "bench/requirements.in": "3.11"}


def inputs() -> list[Path]:
    return sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).glob("*.in"))


def main() -> None:
    for path in inputs():
        print(path, flush=True)
        subprocess.run(
            [str(Path(sys.executable).parent / "uv"), "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate", "--no-strip-extras",
             "--custom-compile-command", "just lock", "--python-version", PYTHON.get(str(path), "3.10"),
             *sys.argv[1:], str(path), "--output-file", str(path.with_suffix(".txt"))],
            cwd=ROOT, check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
