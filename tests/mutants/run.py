#!/usr/bin/env python3
"""Puts each fault of this folder into a copy of the code, and checks that the tests turn red.

    python3 tests/mutants/run.py                    all faults
    python3 tests/mutants/run.py hold decision      those whose name or test command contains one of these words
    python3 tests/mutants/run.py --list             the faults and their test commands

A fault is a patch `NAME.patch`. Its first lines are comments: the test command that must fail, the promise that the
fault breaks, and, for a fault that no test finds, why it survives:

    # run: cargo test -p turntable-core --lib decision::
    # A flip goes on in spite of a hold.
    # survives: REASON

The copy and its build are in `target/mutants`; MUTANTS_TARGET_DIR names another folder for the build. It must not be
that of another checkout: cargo takes the crates of both for the same. The exit code is 1 if a fault survives without a
reason, is found although it has one, no longer applies, or doesn't compile.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

FAULTS = Path(__file__).resolve().parent
ROOT = FAULTS.parent.parent
WORK = ROOT / "target" / "mutants"
COPY = WORK / "tree"
BUILD = Path(os.environ.get("MUTANTS_TARGET_DIR", WORK / "target"))
# The test program is compiled once for each fault. Without optimisation, that takes a quarter of the time.
CARGO = ["cargo", "--config", "profile.dev.package.tests.opt-level=0"]
# The longest family takes a few minutes, after a build of some minutes.
MAX_SECONDS = 45 * 60


@dataclass
class Fault:
    name: str
    patch: Path
    command: list[str]
    survives: str | None


def fault(patch: Path) -> Fault:
    comments = [line[1:].strip() for line in patch.read_text().splitlines() if line.startswith("# ")]
    named = {key: text for key, _, text in (line.partition(": ") for line in comments)}
    if not comments or not comments[0].startswith("run: cargo "):
        sys.exit(f"{patch}: its first line is not `# run: cargo …`")
    return Fault(patch.stem, patch, shlex.split(named["run"]), named.get("survives"))


def synchronise() -> None:
    """Makes the copy equal to the checkout. A file that stays the same keeps its time, so that cargo doesn't rebuild."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    )
    names = {Path(name) for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
    for old in [path for path in COPY.rglob("*") if path.is_file() and path.relative_to(COPY) not in names]:
        old.unlink()
    for name in names:
        source, target = ROOT / name, COPY / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        elif source.read_bytes() != target.read_bytes():
            # With the time of now: the copy may have been built since the source was written.
            shutil.copyfile(source, target)


def apply(patch: Path) -> bool:
    # Without the ceiling, git would find the checkout and skip the patch silently, because the copy is ignored in it.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(WORK)}
    done = subprocess.run(["git", "apply", str(patch)], cwd=COPY, env=environment, capture_output=True, text=True)
    return done.returncode == 0


def run(command: list[str]) -> tuple[str, str]:
    """Returns what the tests show, and their output."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(BUILD)}
    try:
        done = subprocess.run(
            [*CARGO, *command[1:]], cwd=COPY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=MAX_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "caught: no end", ""
    passed = sum(int(count) for count in re.findall(r"^test result: \w+\. (\d+) passed", done.stdout, re.MULTILINE))
    red = re.findall(r"^test (\S+) \.\.\. FAILED", done.stdout, re.MULTILINE)
    if done.returncode == 0:
        return ("survived" if passed else "runs no test"), done.stdout
    if red:
        return f"caught by {red[0]}" + (f" and {len(red) - 1} more" if len(red) > 1 else ""), done.stdout
    return "does not compile", done.stdout


def judge(one: Fault) -> tuple[bool, str]:
    """Returns whether the fault behaves as its patch says, and what happened."""
    if not apply(one.patch):
        return False, "does not apply"
    result, output = run(one.command)
    if one.survives and result == "survived":
        return True, f"survived, as listed: {one.survives}"
    if one.survives and result.startswith("caught"):
        return False, f"{result}: remove the line `# survives`"
    if result in ("does not compile", "runs no test"):
        print(output[-4000:])
    return result.startswith("caught"), result


def main() -> int:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    faults = sorted(map(fault, FAULTS.glob("*.patch")), key=lambda one: (one.command, one.name))
    chosen = [one for one in faults if not words or any(word in f"{one.name} {shlex.join(one.command)}" for word in words)]
    if "--list" in sys.argv:
        for one in chosen:
            print(f"{one.name:34} {shlex.join(one.command)}")
        return 0
    COPY.mkdir(parents=True, exist_ok=True)
    synchronise()
    # A test that is red without a fault would show nothing.
    for command in sorted({tuple(one.command) for one in chosen}):
        result, output = run(list(command))
        if result != "survived":
            print(output[-4000:])
            print(f"without a fault: {shlex.join(command)}: {result}")
            return 1
    rows, fine = [], True
    for one in chosen:
        began = time.monotonic()
        try:
            good, result = judge(one)
        finally:
            synchronise()
        fine &= good
        rows.append(f"{'ok ' if good else 'BAD'}  {one.name:34} {time.monotonic() - began:5.0f} s  {result}")
        print(rows[-1], flush=True)
    print(f"\n{len(rows)} faults, {sum(row.startswith('BAD') for row in rows)} not as they should be\n")
    print("\n".join(row for row in rows if row.startswith("BAD")))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
