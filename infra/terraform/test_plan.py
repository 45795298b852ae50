#!/usr/bin/env python3
"""Checks that `terraform plan` reports no changes after a flip, and that it would without ignore_changes.

The real AWS provider, from a local mirror, applies example/ to moto's Glue. The test then flips both tables as Turntable
does, and plans again. Without Terraform or a mirror it prints one line "skipped: ..." and exits with 0.

    pip install 'moto[server,glue]==5.2.5'
    python infra/terraform/test_plan.py
"""

import contextlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
MIRRORS = [  # Terraform's search path, and the usual places in container images.
    os.environ.get("TF_PLUGIN_MIRROR", ""),
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
    "/opt",
]
NO_CHANGES, CHANGES = 0, 2  # Exit codes of `terraform plan -detailed-exitcode`.

# The fields that UpdateTable accepts. GetTable returns more.
SETTABLE = """Name Description Owner LastAccessTime LastAnalyzedTime Retention StorageDescriptor PartitionKeys
    ViewOriginalText ViewExpandedText TableType Parameters TargetTable ViewDefinition""".split()

OVERRIDE = """
provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {
    glue = "ENDPOINT"
  }
}
"""


def mirror():
    """Returns the folder for `init -plugin-dir` (it holds registry.terraform.io/hashicorp/aws/5.x/OS_ARCH/), or None."""
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    provider = f"registry.terraform.io/hashicorp/aws/5.*/{platform.system().lower()}_{arch}/terraform-provider-aws_v5*"
    for root in filter(None, MIRRORS):
        root = Path(root).expanduser()
        for pattern in (provider, f"*/{provider}"):
            for found in sorted(root.glob(pattern)):
                return found.parents[5]
    return None


@contextlib.contextmanager
def moto():
    """Serves an empty AWS on a free loopback port and yields its endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit("moto did not start: run pip install 'moto[server,glue]==5.2.5'")
                time.sleep(0.1)
        yield endpoint
    finally:
        server.terminate()
        server.wait()


def location(glue, table):
    return glue.get_table(DatabaseName="dmp", Name=table)["Table"]["StorageDescriptor"]["Location"]


def settable(glue, table):
    read = glue.get_table(DatabaseName="dmp", Name=table)["Table"]
    return {field: read[field] for field in SETTABLE if field in read}


def flip(glue, table, generation):
    """Sends one UpdateTable as Turntable does: all settable fields, the VersionId that was read, and SkipArchive."""
    read = glue.get_table(DatabaseName="dmp", Name=table)["Table"]
    update = {field: read[field] for field in SETTABLE if field in read}
    storage, parameters = update["StorageDescriptor"], update["Parameters"]
    before = storage["Location"]
    storage["Location"] = f"s3://lake/schemas/{table}/{generation}"
    storage["Columns"].append({"Name": "added", "Type": "string"})  # As for a dataset with schema = "additive".
    if "storage.location.template" in parameters:
        template = parameters["storage.location.template"]
        parameters["storage.location.template"] = template.replace(before, storage["Location"])
        for column in [key["Name"] for key in read["PartitionKeys"]]:  # As a flip to today's ranges.
            for key in [key for key in parameters if key.startswith(f"projection.{column}.")]:
                del parameters[key]
            parameters[f"projection.{column}.type"] = "enum"
            parameters[f"projection.{column}.values"] = "2024-11-21,2024-11-22"
    glue.update_table(DatabaseName="dmp", TableInput=update, VersionId=read.get("VersionId", "0"), SkipArchive=True)


def main():
    if not shutil.which("terraform"):
        return print("skipped: terraform is not on the PATH")
    if not (plugins := mirror()):
        return print("skipped: no mirror of hashicorp/aws 5.x found; set TF_PLUGIN_MIRROR to the folder of one")
    import boto3  # Installed with moto. Imported here so that skipping needs no moto.

    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with tempfile.TemporaryDirectory() as scratch, moto() as endpoint:
        tree = Path(scratch) / "terraform"
        shutil.copytree(HERE, tree, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        (tree / "example/moto_override.tf").write_text(OVERRIDE.replace("ENDPOINT", endpoint))

        def terraform(*arguments, expected=0):
            command = ["terraform", f"-chdir={tree / 'example'}", *arguments, "-no-color"]
            ran = subprocess.run(command, env=os.environ | keys, capture_output=True, text=True)
            if ran.returncode != expected:
                sys.exit(f"{' '.join(arguments)}: exit code {ran.returncode}, expected {expected}\n{ran.stdout}{ran.stderr}")

        def plan(what, expected):
            terraform("plan", "-detailed-exitcode", expected=expected)
            print(f"ok: {what}: {'No changes' if expected == NO_CHANGES else 'changes planned'}", flush=True)

        terraform("fmt", "-check", "-recursive", str(HERE))
        terraform("init", f"-plugin-dir={plugins}")
        terraform("validate")
        terraform("apply", "-auto-approve")
        plan("after apply", NO_CHANGES)

        session = boto3.Session("test", "test", region_name="ap-northeast-1")
        glue = session.client("glue", endpoint_url=endpoint)
        blue = {table: settable(glue, table) for table in ("users", "orders")}
        for table in blue:
            flip(glue, table, "green-01JD675EJRSSKNZWWST95906C6")
        plan("after a flip that added a column and changed the projection's ranges", NO_CHANGES)
        green = {table: settable(glue, table) for table in blue}
        for table, before in blue.items():
            glue.update_table(DatabaseName="dmp", TableInput=before, SkipArchive=True)
        plan("after a rollback", NO_CHANGES)

        # The case that README.md warns about: a plan with another change also sends the location as of the plan.
        main = tree / "example/main.tf"
        main.write_text(main.read_text().replace("All users who have an account.", "All users."))
        terraform("plan", f"-out={tree / 'plan'}")
        for table, update in green.items():
            glue.update_table(DatabaseName="dmp", TableInput=update, SkipArchive=True)
        flipped = location(glue, "users")
        terraform("apply", str(tree / "plan"))
        if location(glue, "users") == flipped:
            sys.exit("an apply of an older plan no longer undoes a flip: update README.md")
        print("ok: applying a plan from before a flip undoes the flip, as README.md says", flush=True)
        glue.update_table(DatabaseName="dmp", TableInput=green["users"] | {"Description": "All users."}, SkipArchive=True)
        plan("after the repair", NO_CHANGES)

        # Checks that each line of ignore_changes is needed: without it, the next apply would undo a flip's change.
        module = tree / "modules/table/main.tf"
        complete = module.read_text()
        for line in re.search(r"ignore_changes = \[\n(.*?)\n    \]", complete, re.S).group(1).splitlines():
            module.write_text(complete.replace(f"{line}\n", ""))
            plan(f"after a flip, without {line.strip(' ,')} in ignore_changes", CHANGES)


if __name__ == "__main__":
    main()
