"""Checks that everything that CI and a laptop download is pinned, and that a release is compared and signed before it is published.

    just workflows
"""

import re
from pathlib import Path

import pytest
from lock import FOLDERS, ROOT, inputs
from samcli.yamlhelper import yaml_parse

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


def pins(text):
    """Returns a lock file's packages: name without extras → versions, of which there may be one per Python version."""
    found = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(name.lower(), set()).add(version)
    return found


def wanted(path):
    """Returns the pins of a .in file and of the files that it includes."""
    text = path.read_text()
    found = pins(text)
    for included in re.findall(r"^-r (\S+)", text, re.MULTILINE):
        for name, versions in wanted(path.parent / included).items():
            found.setdefault(name, set()).update(versions)
    return found


@pytest.mark.parametrize("path", inputs(), ids=str)
def test_each_package_is_locked_with_hashes(path):
    lock = (ROOT / path).with_suffix(".txt").read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", lock, flags=re.MULTILINE).strip())
    assert entries and all(re.match(r"[\w.-]+(\[[^\]]*\])?==\S+", entry) and "--hash=sha256:" in entry for entry in entries)
    locked = pins(lock)
    for name, versions in wanted(ROOT / path).items():
        # The lock leaves out a version that is only for a Python that it doesn't support.
        assert locked[name] <= versions, f"{name}: run `just lock`"


def test_every_lock_file_has_its_input():
    locks = {path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).glob("*.txt")}
    assert locks == {path.with_suffix(".txt") for path in inputs()}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_jobs_have_only_the_permissions_they_name(path):
    text = path.read_text()
    workflow = yaml_parse(text)
    assert workflow["permissions"] == {}
    assert all("permissions" in job and "timeout-minutes" in job for job in workflow["jobs"].values())
    for line in re.findall(r"uses: (.+)", text):
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    assert "pull_request_target" not in text


def test_a_release_is_built_twice_and_compared_before_anything_is_signed_or_published():
    jobs = yaml_parse((ROOT / ".github/workflows/release.yaml").read_text())["jobs"]

    def after(job):
        needs = jobs[job].get("needs", [])
        needs = [needs] if isinstance(needs, str) else needs
        return {*needs, *(each for need in needs for each in after(need))}

    assert {"build", "rebuild"} <= after("compare")
    assert any(step.get("run", "").startswith("diff ") for step in jobs["compare"]["steps"])
    signing = {name for name, job in jobs.items() if "id-token" in job["permissions"]}
    assert signing == {"publish", "sbom"} and all("compare" in after(name) for name in signing)
    # A job that may sign or publish runs no code of this repository or of its dependencies.
    for name in signing:
        assert not any("checkout" in step.get("uses", "") for step in jobs[name]["steps"])
    assert jobs["build"]["env"] == jobs["rebuild"]["env"]
    functions = {path.name for path in (ROOT / "functions").iterdir() if (path / "Cargo.toml").exists()}
    assert set(jobs["sbom"]["strategy"]["matrix"]["function"]) == functions


def test_updates_are_proposed_for_everything_that_is_pinned():
    updates = {each["package-ecosystem"]: each for each in yaml_parse((ROOT / ".github/dependabot.yml").read_text())["updates"]}
    assert updates.keys() == {"cargo", "pip", "github-actions"}
    pinned = {f"/{path.parent.relative_to(ROOT)}" for pattern in ("*.in", "requirements*.txt") for path in ROOT.rglob(pattern)
              if not {"target", "node_modules"} & set(path.relative_to(ROOT).parts)}
    assert set(updates["pip"]["directories"]) == pinned
    locks = {f"/{path.parent.relative_to(ROOT)}".rstrip(".").rstrip("/") or "/" for path in [ROOT / "Cargo.lock", ROOT / "fuzz/Cargo.lock"]}
    assert set(updates["cargo"]["directories"]) == locks and all((ROOT / folder.strip("/") / "Cargo.lock").exists() for folder in locks)
