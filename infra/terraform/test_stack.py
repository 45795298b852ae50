"""Compares modules/stack with template.yaml: every resource, property, permission, output and parameter.

Terraform plans the module with mocked AWS for several sets of parameters, and SAM translates the template for the same sets. Both are
reduced to facts (facts.py), which must be the same. A difference names the resource, the property and the module's file. Without
Terraform 1.11 or a mirror of hashicorp/aws, the tests that need a plan are skipped.

    .ci/tool sam python -m pytest -q infra/terraform/test_stack.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import facts_of_module  # noqa: E402
import facts_of_template  # noqa: E402
import parameters  # noqa: E402
from facts import PLACE  # noqa: E402
from test_plan import mirror  # noqa: E402
from test_template import FIXED, FUNCTIONS, REQUIRED, template  # noqa: E402

MODULE = HERE / "modules/stack"
KEY = f"arn:aws:kms:{PLACE}:key/2"

# Gives each parameter a value that is not its default, except for the two about the bucket.
EVERYTHING = {
    "KmsKeyArn": KEY,
    "PermissionsBoundaryArn": f"arn:aws:iam::{FIXED['AWS::AccountId']}:policy/boundary",
    "DatasetsKey": "config/datasets.toml",
    "GlueDatabases": "dmp,sales_*",
    "DeployerArns": "arn:aws:iam::123456789012:role/deployer,arn:aws:iam::123456789012:role/ci-*",
    "VersionDays": "14",
    "OtherAccounts": "210987654321,111122223333",
    "InboxPrefix": "drops/",
    "ArchiveDays": "7",
    "SourceBuckets": "files,more-files",
    "PutPrefix": "exports/",
    "PutBuckets": "files,more-files",
    "BucketOwners": "files=210987654321,more-files=111122223333",
    "SecretArns": "arn:aws:secretsmanager:*:*:secret:a,arn:aws:secretsmanager:*:*:secret:b",
    "RdsUserArns": f"arn:aws:rds-db:{PLACE}:dbuser:db-1/reader",
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
    "Layers": f"arn:aws:lambda:{PLACE}:layer:certificates:1,arn:aws:lambda:{PLACE}:layer:other:2",
    "EngineWorkgroups": "etl,more",
    "GlueJobs": "build-users,build-orders",
    "ConnectorArns": f"arn:aws:lambda:{PLACE}:function:connector",
    "Schedule": "rate(6 hours)",
    "ScheduleTimezone": "Asia/Tokyo",
    "ScheduleState": "DISABLED",
    "OptoutSchedule": "rate(2 minutes)",
    "LiveAgeSeconds": "3600",
    "OptoutLagSeconds": "60",
    "SweepSchedule": "rate(2 hours)",
    "Workgroups": "primary,team-*",
    "Architecture": "x86_64",
    "ExportMemory": "4096",
    "ExportConcurrency": "7",
    "DatasetMetrics": "false",
    "FlipReservedConcurrency": "4",
    "OptoutReservedConcurrency": "3",
    "AthenaWorkgroup": "checks",
    "AthenaResults": "WORKGROUP",
    "AthenaResultsArn": "arn:aws:s3:::results/team/*",
    "LakeFormation": "true",
    "LogLevel": "DEBUG",
    "Tracing": "Active",
    "AlarmTopicArn": f"arn:aws:sns:{PLACE}:alarms",
    "LogRetentionDays": "365",
}

SETS = {
    "defaults": {},
    "everything": EVERYTHING,
    "existing bucket": {"CreateBucket": "false", "KmsKeyArn": KEY},
}
MANY = "100 databases"
DATABASES = {"GlueDatabases": ",".join(f"department_{number:03}_lake" for number in range(100))}

# One wrong value for each kind of condition in variables.tf. `terraform test` fails unless all are refused.
WRONG = {
    "bucket_name": "Bucket",
    "inbox_prefix": "",
    "archive_days": 0,
    "live_age_seconds": 59,
    "schedule": "daily",
    "schedule_state": "OFF",
    "log_retention_days": 2,
    "optout_reserved_concurrency": 0,
    "stack_name": "1",
}

# Where the module defines resources of a type. Anything else is in functions.tf.
FILES = {
    "AWS::CloudWatch::Alarm": "alarms.tf",
    "AWS::CloudWatch::Dashboard": "dashboard.tf",
    "AWS::Events::Rule": "events.tf",
    "AWS::IAM::Role": "policies.tf, or events.tf for a schedule",
    "AWS::Lambda::Permission": "events.tf",
    "AWS::S3::Bucket": "bucket.tf",
    "AWS::S3::BucketPolicy": "bucket.tf",
    "AWS::SQS::Queue": "queues.tf",
    "AWS::SQS::QueuePolicy": "queues.tf",
    "AWS::Scheduler::Schedule": "events.tf",
}

MOCKS = f"""
mock_provider "aws" {{
  override_during = plan

  mock_data "aws_caller_identity" {{
    defaults = {{ account_id = "{FIXED["AWS::AccountId"]}" }}
  }}

  mock_data "aws_partition" {{
    defaults = {{ partition = "aws" }}
  }}

  mock_data "aws_region" {{
    defaults = {{ name = "{FIXED["AWS::Region"]}" }}
  }}
"""


def runs():
    """Returns a file of `terraform test` that plans the module for each set of parameters."""
    overrides = [
        f"  override_resource {{\n    target = {address}\n    values = {hcl(known)}\n  }}\n" for address, known in facts_of_module.addresses(SETS.values())
    ]
    blocks = [MOCKS, *overrides, "}\n"]
    for name, given in {**SETS, MANY: EVERYTHING | DATABASES}.items():
        blocks.append(f'run "set_{name.replace(" ", "_")}" {{\n  command = plan\n\n  variables {{\n')
        blocks += [f"    {key} = {hcl(value)}\n" for key, value in inputs(given).items()]
        blocks.append("  }\n}\n")
    wrong = "".join(f"    {name} = {hcl(value)}\n" for name, value in {**inputs({}), **WRONG}.items())
    refused = ", ".join(f"var.{name}" for name in WRONG)
    blocks.append(f'run "wrong" {{\n  command = plan\n\n  expect_failures = [{refused}]\n\n  variables {{\n{wrong}  }}\n}}\n')
    return "".join(blocks)


def inputs(given):
    """Returns the module's variables for these parameters of the template."""
    values = {"release": "dist", "stack_name": FIXED["AWS::StackName"]}
    for name, value in {**REQUIRED, **given}.items():
        match parameters.kind(template()["Parameters"][name]):
            case "bool":
                value = value == "true"
            case "number":
                value = int(value)
            case "list(string)":
                value = value.split(",")
        values[parameters.snake(name)] = value
    return values


def hcl(value):
    """Returns a literal. HCL reads JSON, except for `:` in objects."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {hcl(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


def terraform(folder, *arguments):
    command = ["terraform", f"-chdir={folder}", *arguments, "-no-color"]
    # Without TF_CLI_CONFIG_FILE, Terraform warns if the home folder has no configuration file.
    environment = os.environ | {"TF_CLI_CONFIG_FILE": os.devnull, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@cache
def plans():
    """Returns the module's plan for each set of parameters."""
    if not shutil.which("terraform"):
        pytest.skip("terraform is not on the PATH")
    if not (plugins := mirror()):
        pytest.skip("no mirror of hashicorp/aws 5.x found; set TF_PLUGIN_MIRROR to the folder of one")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "stack"
        shutil.copytree(MODULE, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        (folder / "dist").mkdir()
        for name in FUNCTIONS:
            for architecture in ["arm64", "x86_64"]:
                (folder / f"dist/{name.lower()}-{architecture}.zip").write_bytes(b"")
        (folder / "sets.tftest.hcl").write_text(runs())
        for command in (["init", f"-plugin-dir={plugins}"], ["validate"]):
            ran = terraform(folder, *command)
            assert ran.returncode == 0, ran.stdout + ran.stderr
        ran = terraform(folder, "test", "-json", "-verbose")
        messages = [json.loads(line) for line in ran.stdout.splitlines()]
        faults = [message["diagnostic"] for message in messages if message.get("diagnostic", {}).get("severity") == "error"]
        assert ran.returncode == 0, json.dumps(faults, indent=1) + ran.stderr
        made = [message["test_plan"] for message in messages if message["type"] == "test_plan"]
        return dict(zip([*SETS, MANY], made))


def differences(expected, actual):
    """Returns one line for each fact that only one side has."""
    lines = []
    for resource in sorted({*expected, *actual}):
        file = FILES.get(resource.split()[0], "functions.tf")
        if resource not in actual:
            lines.append(f"{resource}: only in template.yaml. Add it to {file}.")
        elif resource not in expected:
            lines.append(f"{resource}: only in Terraform. Remove it from {file}, or add it to template.yaml.")
        else:
            there, here = expected[resource], actual[resource]
            lines += [
                f"{resource}: {fact}: {there.get(fact, '(nothing)')} in template.yaml, {here.get(fact, '(nothing)')} in Terraform. See {file}."
                for fact in sorted({*there, *here})
                if there.get(fact) != here.get(fact)
            ]
    return lines


def found(name, expected, actual, compared):
    """Fails with each difference once, and the sets of parameters that show it."""
    sets = {}
    for each, given in SETS.items():
        for line in compared(expected(given), actual(plans()[each])):
            sets.setdefault(line, []).append(each)
    lines = [line if of == [*SETS] else f"{line} Only with: {', '.join(of)}." for line, of in sets.items()]
    assert not lines, f"{name} differ:\n" + "\n".join(lines)


def test_the_module_makes_the_resources_of_the_template():
    found("resources", facts_of_template.facts, facts_of_module.facts, differences)


def test_the_module_has_the_outputs_of_the_template():
    def compared(expected, actual):
        return [
            f"output {name}: {expected.get(name, '(nothing)')} in template.yaml, {actual.get(name, '(nothing)')} in outputs.tf."
            for name in sorted({*expected, *actual})
            if expected.get(name) != actual.get(name)
        ]

    found("outputs", facts_of_template.outputs, facts_of_module.outputs, compared)


def test_the_module_has_the_parameters_of_the_template():
    assert parameters.VARIABLES.read_text() == parameters.variables(), (
        "variables.tf differs from template.yaml's parameters. Run: .ci/tool sam python infra/terraform/parameters.py"
    )


def test_the_sets_give_each_parameter_another_value():
    for name, parameter in template()["Parameters"].items():
        given = {values[name] for values in SETS.values() if name in values}
        assert given - {str(parameter.get("Default"))} or name in REQUIRED, f"test_stack.py, EVERYTHING: give {name} a value"


def test_names_begin_with_the_name_of_the_stack():
    """As CloudFormation's do: infra/deployer.json limits people to roles with such names."""
    for resource in plans()["everything"]["resource_changes"]:
        after = resource["change"]["after"]
        name = after.get("function_name") or after.get("alarm_name") or after.get("dashboard_name") or after.get("name")
        if name and resource["type"] != "aws_iam_role_policy":
            assert re.match(rf"(/aws/lambda/)?{FIXED['AWS::StackName']}\b", name), resource["address"]


def test_the_bucket_is_never_destroyed():
    assert template()["Resources"]["Bucket"]["DeletionPolicy"] == "Retain"
    block = re.search(r'^resource "aws_s3_bucket" "this" \{\n(.*?)^\}', (MODULE / "bucket.tf").read_text(), re.M | re.S)[1]
    assert "prevent_destroy = true" in block


def test_inline_policies_of_a_role_stay_below_iams_limit_with_100_databases():
    """IAM allows 10,240 characters for all inline policies of a role together, without white space."""
    sizes = {}
    for resource in plans()[MANY]["resource_changes"]:
        if resource["type"] == "aws_iam_role_policy":
            after = resource["change"]["after"]
            sizes[after["role"]] = sizes.get(after["role"], 0) + len(after["policy"])
    assert len(sizes) > len(FUNCTIONS)
    assert max(sizes.values()) <= 10_240, sizes
