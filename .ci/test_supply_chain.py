"""Checks that everything that CI and a laptop download is pinned, and that a release is compared and signed before it is published.

    just workflows
"""

import hashlib
import os
import re
import subprocess
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
    systems = jobs["build"]["strategy"]["matrix"]["system"]
    compared = [step["run"] for step in jobs["compare"]["steps"] if step.get("run", "").startswith("diff ")]
    assert compared == [f"diff dist-{system}/SHA256SUMS rebuilt-{system}/SHA256SUMS" for system in systems]
    signing = {name for name, job in jobs.items() if "id-token" in job["permissions"]}
    assert signing == {"publish", "sbom"} and all("compare" in after(name) for name in signing)
    # A job that may sign or publish runs no code of this repository or of its dependencies.
    for name in signing:
        assert not any("checkout" in step.get("uses", "") for step in jobs[name]["steps"])
    assert jobs["build"]["env"] == jobs["rebuild"]["env"] and jobs["build"]["strategy"] == jobs["rebuild"]["strategy"]
    functions = {path.name for path in (ROOT / "functions").iterdir() if (path / "Cargo.toml").exists()}
    attested = {name.rpartition("-")[0] for name in jobs["sbom"]["strategy"]["matrix"]["name"] if not name.startswith("turntable-")}
    assert attested == functions


@pytest.mark.parametrize(
    ("tag", "missing", "accepted"),
    [("v1.2.3", None, True), ("v1.2.4", None, False), ("v1.2.3", "date", False), ("v1.2.3", "samples", False), ("v1.2.3", "requests", False)],
)
def test_tag_is_refused_unless_its_version_is_complete(tmp_path, tag, missing, accepted):
    """Runs the command of the job `build` in a small repository of version 1.2.3."""
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3%s\n" % ("" if missing == "date" else " (2026-01-31)"))
    (tmp_path / "tests/samples").mkdir(parents=True)
    (tmp_path / "tests/requests").mkdir()
    for version in ["1.2.3", "1.2.4"]:
        if missing != "samples":
            (tmp_path / "tests/samples" / version).mkdir()
        if missing != "requests":
            (tmp_path / f"tests/requests/{version}.json").write_text("[]")
    (tmp_path / "cargo").write_text("#!/bin/sh\necho 'path+file:///turntable/shared#turntable@1.2.3'\n")
    (tmp_path / "cargo").chmod(0o755)
    steps = yaml_parse((ROOT / ".github/workflows/release.yaml").read_text())["jobs"]["build"]["steps"]
    (script,) = [step["run"] for step in steps if step.get("name", "").startswith("check that the tag")]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_REF_NAME": tag}
    ran = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ran.returncode == 0) == accepted, ran.stdout + ran.stderr


@pytest.mark.parametrize("tampered", [None, "export-arm64.zip", "turntable.tar.gz"])
def test_files_of_both_systems_are_joined_and_checked(tmp_path, tampered):
    """Runs the commands of the job `compare` on two small releases, one of which differs from what the second machine built."""
    files = {"ubuntu-24.04": ["export-arm64.zip", "toolchain-Linux.txt"], "macos-15": ["turntable.tar.gz", "toolchain-Darwin.txt"]}
    for system, names in files.items():
        for folder in [tmp_path / f"dist-{system}", tmp_path / f"rebuilt-{system}"]:
            folder.mkdir()
            lines = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in sorted(names)]
            (folder / "SHA256SUMS").write_text("".join(lines))
        for name in names:
            (tmp_path / f"dist-{system}" / name).write_text("something else" if name == tampered else name)
    steps = yaml_parse((ROOT / ".github/workflows/release.yaml").read_text())["jobs"]["compare"]["steps"]
    script = "\n".join(step["run"] for step in steps if "run" in step)
    ran = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode == 0) == (tampered is None), ran.stdout + ran.stderr
    if tampered is None:
        assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == sorted(["SHA256SUMS", *files["ubuntu-24.04"], *files["macos-15"]])
    else:
        assert f"{tampered}: FAILED" in ran.stdout


def test_updates_are_proposed_for_everything_that_is_pinned():
    updates = {each["package-ecosystem"]: each for each in yaml_parse((ROOT / ".github/dependabot.yml").read_text())["updates"]}
    assert updates.keys() == {"cargo", "pip", "github-actions"}
    pinned = {f"/{path.parent.relative_to(ROOT)}" for pattern in ("*.in", "requirements*.txt") for path in ROOT.rglob(pattern)
              if not {"target", "node_modules"} & set(path.relative_to(ROOT).parts)}
    assert set(updates["pip"]["directories"]) == pinned
    locks = {f"/{path.parent.relative_to(ROOT)}".rstrip(".").rstrip("/") or "/" for path in [ROOT / "Cargo.lock", ROOT / "fuzz/Cargo.lock"]}
    assert set(updates["cargo"]["directories"]) == locks and all((ROOT / folder.strip("/") / "Cargo.lock").exists() for folder in locks)
