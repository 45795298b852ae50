"""Tests of template.yaml beyond the linters. They translate the template as CloudFormation would and check the result.

    just template
"""

import fnmatch
import json
import re
from functools import cache
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = ["Export", "Flip", "Optout", "Sweep"]
# The parameters without a default.
REQUIRED = {"BucketName": "bucket", "GlueDatabases": "dmp", "DeployerArns": "arn:aws:iam::123456789012:role/deployer"}
FIXED = {"AWS::StackName": "lake", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012", "AWS::Partition": "aws"}


@cache
def template():
    return yaml_parse((ROOT / "template.yaml").read_text())


@cache
def translated(**given):
    """Returns the resources as CloudFormation makes them. References to resources stay: {"Ref"} and {"Fn::GetAtt"}."""
    loader = ManagedPolicyLoader(None)
    loader._policy_map = {}
    values = {name: parameter.get("Default", "") for name, parameter in template()["Parameters"].items()}
    values |= REQUIRED | given
    sam = json.loads(json.dumps(template()))
    for name in FUNCTIONS:
        sam["Resources"][f"{name}Function"]["Properties"]["CodeUri"] = "s3://code/zip"
    made = transform(sam, {**values, "AWS::Region": FIXED["AWS::Region"]}, loader)
    values |= FIXED
    conditions = {name: solve(rule, values, {}) for name, rule in made["Conditions"].items()}
    there = {name: one for name, one in made["Resources"].items() if conditions.get(one.get("Condition"), True)}
    return solve(there, values, conditions)


def solve(node, values, conditions):
    if isinstance(node, list):
        solved = [solve(each, values, conditions) for each in node]
        return [each for each in solved if each != {"Ref": "AWS::NoValue"}]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        (key, value), = node.items()
        if key == "Fn::If":
            return solve(value[1] if conditions[value[0]] else value[2], values, conditions)
        value = solve(value, values, conditions)
        match key:
            case "Ref" if value in values:
                listed = template()["Parameters"].get(value, {}).get("Type") == "CommaDelimitedList"
                return values[value].split(",") if listed else values[value]
            case "Fn::Equals":
                return str(value[0]) == str(value[1])
            case "Fn::Not":
                return not value[0]
            case "Fn::Select":
                return value[1][int(value[0])]
            case "Fn::Split":
                return value[1].split(value[0])
            case "Fn::Join":
                return value[0].join(value[1]) if all(isinstance(each, str) for each in value[1]) else {key: value}
            case "Fn::Sub":
                text, own = value if isinstance(value, list) else (value, {})
                known = {**values, **own}
                return re.sub(r"\$\{([\w:]+)\}", lambda name: str(known.get(name[1], name[0])), text)
    solved = {key: solve(value, values, conditions) for key, value in node.items()}
    return {key: value for key, value in solved.items() if value != {"Ref": "AWS::NoValue"}}


def of(kind, **given):
    return {name: one["Properties"] for name, one in translated(**given).items() if one["Type"] == kind}


def named(reference):
    """Returns the logical name in {"Ref"} or {"Fn::GetAtt"}."""
    (value,) = reference.values()
    return value[0] if isinstance(value, list) else value


def statements(role, **given):
    """Returns all statements of a role, from its own policies and the shared ones."""
    policies = list(of("AWS::IAM::Role", **given)[role].get("Policies", []))
    policies += [policy for policy in of("AWS::IAM::Policy", **given).values() if {"Ref": role} in policy["Roles"]]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def allows(role, action, resource):
    return any(
        action in flat(statement["Action"]) and resource in flat(statement["Resource"]) for statement in statements(role)
    )


def expression_fault(text):
    """Returns why EventBridge Scheduler would refuse an expression, or None (the user guide's "Schedule types")."""
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)(s?)\)", text):
        return None if int(rate[1]) > 0 and (rate[1] == "1") == (rate[3] == "") else "use a singular unit only after 1"
    if cron := re.fullmatch(r"cron\((.+)\)", text):
        fields = cron[1].split()
        if len(fields) != 6:
            return "cron needs six fields"
        return None if (fields[2] == "?") != (fields[4] == "?") else "exactly one of day of month and day of week must be ?"
    return "neither cron nor rate"


def rows_below(heading, page):
    """Returns the cells of each table row in a section of a page in docs/, without the rows of headings."""
    section = (ROOT / "docs" / page).read_text().split(f"\n{heading}\n")[1].split("\n##")[0]
    rows = [re.split(r"(?<!\\) \| ", row[2:-2]) for row in section.splitlines() if row.startswith("| ")]
    return [row for row in rows if "`" in row[0]]


def names_in(cell):
    return re.findall(r"`(\w+)`", cell)


def test_deploy_page_has_every_parameter_with_its_default():
    """A row of several parameters has their defaults in the same order, or the one that they share."""
    there = {}
    for cell, defaults, _ in rows_below("## Parameters", "deploy.md"):
        names, values = names_in(cell), defaults.replace("`", "").split(", ")
        assert len(values) in (1, len(names)), cell
        for name, value in zip(names, values * len(names) if len(values) == 1 else values):
            assert name not in there, f"{name} has two rows"
            there[name] = value
    expected = {name: str(one.get("Default", "required")) or "–" for name, one in template()["Parameters"].items()}
    assert there == expected


def test_deploy_page_has_every_output():
    there = [name for row in rows_below("## Outputs", "deploy.md") for name in names_in(row[0])]
    assert sorted(there) == sorted(template()["Outputs"])


def test_operate_page_has_every_alarm_and_the_queues_of_dead_letters():
    alarms = {name.removesuffix("Alarm") for name in of("AWS::CloudWatch::Alarm")}
    rows = rows_below("## Alarms", "operate.md")
    assert {name for row in rows for name in names_in(row[0])} == alarms
    for cell, *_ in rows:
        assert "](#" in cell or "](#" in next(row for row in rows if row[0] == cell)[1], f"{cell}: no section"
    section = (ROOT / "docs/operate.md").read_text().split("\n### Dead letters\n")[1].split("\n### ")[0]
    queues = {name for name in template()["Outputs"] if name.endswith("DeadLettersUrl")}
    assert len(queues) == len(FUNCTIONS) and queues == set(re.findall(r"\w+DeadLettersUrl", section))


def test_default_schedules_are_valid_expressions():
    for name, schedule in of("AWS::Scheduler::Schedule").items():
        assert expression_fault(schedule["ScheduleExpression"]) is None, name
    for wrong in ["rate(1 minutes)", "rate(2 hour)", "cron(0 2 * * *)", "cron(0 2 * * * *)", "every day"]:
        assert expression_fault(wrong), wrong


def test_visibility_timeout_is_at_least_six_times_the_functions_timeout():
    functions, queues = of("AWS::Lambda::Function"), of("AWS::SQS::Queue")
    mappings = of("AWS::Lambda::EventSourceMapping")
    assert len(mappings) == 3
    for mapping in mappings.values():
        queue, function = queues[named(mapping["EventSourceArn"])], functions[named(mapping["FunctionName"])]
        assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert queue["RedrivePolicy"]["maxReceiveCount"] >= 2


def test_every_failure_reaches_a_dead_letter_queue_with_an_alarm():
    queues = of("AWS::SQS::Queue")
    letters = {name for name in queues if name.endswith("DeadLetters")}
    assert letters == {f"{function}DeadLetters" for function in FUNCTIONS}
    for name in letters:
        assert queues[name]["MessageRetentionPeriod"] == 14 * 86400, name
        assert "FifoQueue" not in queues[name], "Lambda and EventBridge accept only standard queues"
    alarmed = {
        named(alarm["Dimensions"][0]["Value"])
        for alarm in of("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    }
    assert alarmed == letters

    failures = {}
    for invoke in of("AWS::Lambda::EventInvokeConfig").values():
        failures[named(invoke["FunctionName"])] = invoke["DestinationConfig"]["OnFailure"]["Destination"]
    for function in FUNCTIONS:
        destination = failures[f"{function}Function"]
        assert named(destination) in letters
        assert allows(f"{function}Role", "sqs:SendMessage", destination), function
    for name, queue in queues.items():
        if name not in letters:
            assert named(queue["RedrivePolicy"]["deadLetterTargetArn"]) in letters, name

    for name, schedule in of("AWS::Scheduler::Schedule").items():
        letter, role = schedule["Target"]["DeadLetterConfig"]["Arn"], named(schedule["Target"]["RoleArn"])
        assert allows(role, "sqs:SendMessage", letter), name

    let_in = [
        (policy["Queues"], statement)
        for policy in of("AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    for name, rule in of("AWS::Events::Rule").items():
        for target in rule["Targets"]:
            letter = target["DeadLetterConfig"]["Arn"]
            writes = [letter] + [target["Arn"]] * (named(target["Arn"]) in queues)
            for queue in writes:
                assert any(
                    {"Ref": named(queue)} in where
                    and queue in flat(statement["Resource"])
                    and {"Fn::GetAtt": [name, "Arn"]} in flat(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
                    for where, statement in let_in
                ), (name, queue)


def flat(one_or_many):
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def matches(pattern, event):
    """Returns whether an event matches, by the subset of EventBridge's patterns that the template uses."""
    if isinstance(pattern, dict):
        return all(key in event and matches(rule, event[key]) for key, rule in pattern.items())
    return any(one(rule, event) for rule in pattern)


def one(rule, value):
    if not isinstance(rule, dict):
        return rule == value
    ((how, what),) = rule.items()
    match how:
        case "wildcard":
            return fnmatch.fnmatchcase(value, what.replace("[", "[[]"))
        case "prefix":
            return value.startswith(what)
        case "anything-but":
            return not any(one(each, value) for each in flat(what))
    raise AssertionError(f"unsupported kind of pattern: {rule}")


def event(name):
    return json.loads((ROOT / "events" / name).read_text())


def test_rules_match_only_the_recorded_events():
    manifest, change = event("flip-s3.json"), event("flip-glue.json")
    drop = json.loads(event("optout-sqs.json")["Records"][0]["body"])
    bucket = manifest["detail"]["bucket"]["name"]
    drop["detail"]["bucket"]["name"] = bucket
    query, job = event("export-athena.json"), event("export-glue.json")
    names = {"EngineWorkgroups": "a,etl", "GlueJobs": "build-users", "PutBuckets": "exports,feeds"}
    rules = of("AWS::Events::Rule", BucketName=bucket, **names)
    events = {"manifest": manifest, "change": change, "drop": drop, "query": query, "job": job}
    data = json.loads(json.dumps(manifest))
    data["detail"]["object"]["key"] = "schemas/users/green-01JD675EJRSSKNZWWST95906C6/part-00000.parquet"
    other = json.loads(json.dumps(manifest))
    other["detail"]["bucket"]["name"] = "another"
    flip = json.loads(json.dumps(manifest))
    flip["detail"]["object"]["key"] = "schemas/users/_flips/01JD675EJRSSKNZWWST95906C6.json"
    ddl, running = json.loads(json.dumps(query)), json.loads(json.dumps(job))
    ddl["detail"]["statementType"] = "DDL"
    running["detail"]["state"] = "RUNNING"
    put, source_put = json.loads(json.dumps(manifest)), json.loads(json.dumps(other))
    put["detail"]["object"]["key"] = "source/prices/2026-11-30.csv"
    source_put["detail"]["bucket"]["name"] = "feeds"
    events |= {"put": put, "put into a source bucket": source_put}
    events |= {"data": data, "other bucket": other, "DDL": ddl, "running job": running, "flip": flip}
    found = {
        (name, what) for name, rule in rules.items() for what, each in events.items() if matches(rule["EventPattern"], each)
    }
    assert found == {
        ("FlipFunctionManifest", "manifest"),
        ("FlipFunctionTableChanged", "change"),
        ("OptoutDrops", "drop"),
        ("ExportFunctionFlipped", "flip"),
        ("ExportPuts", "put"),
        ("ExportSourcePuts", "put into a source bucket"),
        ("ExportFunctionQueryEnded", "query"),
        ("ExportFunctionJobEnded", "job"),
    }
    # Without engines, the rules match no queries and no jobs.
    for name, rule in of("AWS::Events::Rule").items():
        assert not any(matches(rule["EventPattern"], each) for each in (query, job)), name


def test_patterns_for_other_programs_match_what_the_page_says():
    page = (ROOT / "docs/events.md").read_text()
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    patterns = [block for block in blocks if "detail-type" in block]
    keys = {
        "flip": "schemas/users/_flips/01JD675EJRSSKNZWWST95906C6.json",
        "verdict": "schemas/users/_verdicts/green-01JD675EJRSSKNZWWST95906C6.json",
        "failure": "schemas/users/_export_failed.json",
        "manifest": "schemas/users/_manifests/green-01JD675EJRSSKNZWWST95906C6.json",
        "data": "schemas/users/green-01JD675EJRSSKNZWWST95906C6/part-00000.parquet",
        "other table": "schemas/all_users/_flips/01JD675EJRSSKNZWWST95906C6.json",
    }
    found = []
    for pattern in patterns:
        each = json.loads(json.dumps(event("flip-s3.json")))
        matched = set()
        for name, key in keys.items():
            each["detail"]["object"]["key"] = key
            matched |= {name} if matches(pattern, each) else set()
        each["detail"] = {"bucket": {"name": "another"}, "object": {"key": keys["flip"]}}
        assert not matches(pattern, each)
        found.append(matched)
    assert found == [{"flip"}, {"verdict"}, {"failure"}]
    machine = next(block for block in blocks if "States" in block)
    following = [state.get("Next") or state.get("Default") for state in machine["States"].values()]
    following += [choice["Next"] for choice in machine["States"]["IsPending"]["Choices"]]
    assert {machine["StartAt"], *filter(None, following)} == machine["States"].keys()


def test_functions_get_exactly_the_variables_that_they_read():
    """Variables that `shared` reads are set by Lambda, for every function, or for those that call Athena."""
    reading = re.compile(r'\b(?:required|optional)\("([A-Z_]+)"\)')
    shared = set()
    for path in (ROOT / "shared/src").rglob("*.rs"):
        shared |= set(reading.findall(path.read_text()))
    for function in FUNCTIONS:
        own = set(reading.findall((ROOT / f"functions/{function.lower()}/src/main.rs").read_text()))
        variables = set(of("AWS::Lambda::Function")[f"{function}Function"]["Environment"]["Variables"])
        variables -= {"MALLOC_ARENA_MAX"}  # Read by the C library.
        assert own | {"DATASETS", "STACK"} <= variables <= own | shared, function


def test_every_function_logs_json_to_its_own_group_with_a_retention():
    groups = of("AWS::Logs::LogGroup")
    for function in FUNCTIONS:
        properties = of("AWS::Lambda::Function")[f"{function}Function"]
        assert properties["LoggingConfig"]["LogFormat"] == "JSON"
        group = groups[named(properties["LoggingConfig"]["LogGroup"])]
        assert group["RetentionInDays"] == 30
        writes = {"Fn::GetAtt": [f"{function}Logs", "Arn"]}
        assert allows(f"{function}Role", "logs:PutLogEvents", writes), function
    assert len(groups) == len(FUNCTIONS)


def test_no_statement_has_broad_wildcards():
    everywhere = {"ec2:CreateNetworkInterface", "lakeformation:GetDataAccess", "xray:PutTraceSegments"}
    given = dict(SubnetIds="subnet-1", SecurityGroupIds="sg-1", Tracing="Active", KmsKeyArn="arn:aws:kms:eu-west-1:1:key/2")
    given |= dict(LakeFormation="true", AthenaResultsArn="arn:aws:s3:::results/*", EngineWorkgroups="etl")
    roles, policies = of("AWS::IAM::Role", **given), of("AWS::IAM::Policy", **given)
    documents = [policy["PolicyDocument"] for role in roles.values() for policy in role.get("Policies", [])]
    documents += [policy["PolicyDocument"] for policy in policies.values()]
    for document in documents:
        for statement in flat(document["Statement"]):
            if statement["Effect"] == "Deny":
                continue
            actions = flat(statement["Action"])
            assert not any("*" in action for action in actions), actions
            if "*" in flat(statement["Resource"]):
                assert everywhere & set(actions), actions


def test_parameters_that_decide_who_may_do_what_have_no_default():
    without = {name for name, parameter in template()["Parameters"].items() if "Default" not in parameter}
    assert without == REQUIRED.keys()


def test_versions_are_kept_only_on_request_and_then_expire():
    def found(**given):
        bucket = of("AWS::S3::Bucket", **given)["Bucket"]
        rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
        return bucket.get("VersioningConfiguration"), rules.get("expire-old-versions", {}).get("NoncurrentVersionExpiration")

    assert found() == (None, None)
    assert found(VersionDays="30") == ({"Status": "Enabled"}, {"NoncurrentDays": "30"})


def test_operators_invoke_an_alias_and_events_the_function():
    aliases = {name: (alias["Name"], named(alias["FunctionName"])) for name, alias in of("AWS::Lambda::Alias").items()}
    assert aliases == {f"{function}Operator": ("operator", f"{function}Function") for function in ("Flip", "Optout")}
    rules = of("AWS::Events::Rule")
    targets = {target["Arn"]["Fn::GetAtt"][0] for rule in rules.values() for target in rule["Targets"]}
    allowed = {named(permission["FunctionName"]) for permission in of("AWS::Lambda::Permission").values()}
    assert "FlipFunction" in targets and not aliases.keys() & (targets | allowed)
    for permission in of("AWS::Lambda::Permission").values():
        assert permission["Principal"] == "events.amazonaws.com" and named(permission["SourceArn"]) in rules


def test_queries_from_datasets_toml_run_with_a_role_that_changes_nothing():
    """Whatever the parser of `sql` lets through, Athena runs it with this role: it writes results, and nothing else."""
    own = [statement for statement in statements("ChecksRole") if statement["Effect"] == "Allow"]
    changes = {action for statement in own for action in flat(statement["Action"]) if not re.search(r":(Get|List|BatchGet)", action)}
    queries = {"athena:StartQueryExecution", "athena:StopQueryExecution"}
    assert changes == queries | {"s3:PutObject", "s3:AbortMultipartUpload"}
    written = [resource for statement in own if "s3:PutObject" in statement["Action"] for resource in flat(statement["Resource"])]
    assert written == ["arn:aws:s3:::bucket/_athena/*"]
    trust = of("AWS::IAM::Role")["ChecksRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert [named(one["Principal"]["AWS"]) for one in trust] == ["FlipRole"]
    assert named(of("AWS::Lambda::Function")["FlipFunction"]["Environment"]["Variables"]["CHECKS_ROLE"]) == "ChecksRole"
    for function in ("Flip", "Optout", "Sweep"):  # Export's engines run in their own workgroups.
        actions = {action for statement in statements(f"{function}Role") for action in flat(statement["Action"])}
        assert "athena:StartQueryExecution" not in actions, function


def test_only_sweep_may_delete_objects_and_the_bucket_is_retained():
    for function in FUNCTIONS:
        actions = {action for statement in statements(f"{function}Role") for action in flat(statement["Action"])}
        assert ("s3:DeleteObject" in actions) == (function == "Sweep"), function
    bucket = translated()["Bucket"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("create", ["true", "false"])
def test_an_existing_bucket_is_not_managed(create):
    assert ("Bucket" in translated(CreateBucket=create)) == ("BucketPolicy" in translated(CreateBucket=create)) == (create == "true")
    text = json.dumps(translated(CreateBucket="false"))
    assert '"Ref": "Bucket"' not in text and '["Bucket", ' not in text


def test_key_boundary_and_tracing_apply_to_everything():
    key, boundary = "arn:aws:kms:eu-west-1:1:key/2", "arn:aws:iam::1:policy/boundary"
    given = dict(KmsKeyArn=key, PermissionsBoundaryArn=boundary, Tracing="Active", OptoutReservedConcurrency="3")
    encryption = of("AWS::S3::Bucket", **given)["Bucket"]["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    assert all(queue["KmsMasterKeyId"] == key for queue in of("AWS::SQS::Queue", **given).values())
    assert all(group["KmsKeyId"] == key for group in of("AWS::Logs::LogGroup", **given).values())
    assert all(role["PermissionsBoundary"] == boundary for role in of("AWS::IAM::Role", **given).values())
    functions = of("AWS::Lambda::Function", **given)
    assert all(function["TracingConfig"] == {"Mode": "Active"} for function in functions.values())
    assert functions["OptoutFunction"]["ReservedConcurrentExecutions"] == "3"
    assert all("SqsManagedSseEnabled" in queue for queue in of("AWS::SQS::Queue").values())
    assert "ReservedConcurrentExecutions" not in of("AWS::Lambda::Function")["OptoutFunction"]


def test_alarms_use_emitted_metrics_and_the_dashboard_shows_them_all():
    code = (ROOT / "shared/src/metric.rs").read_text()
    emitted = set(re.findall(r'Metric::\w+ => \("(\w+)"', code))
    assert len(emitted) > 5
    alarms = of("AWS::CloudWatch::Alarm")
    assert {alarm["MetricName"] for alarm in alarms.values() if alarm["Namespace"] == "Turntable"} <= emitted
    body = json.loads(of("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"].replace("${", "$"))
    text = json.dumps(body)
    shown = set(re.findall(r'MetricName=\\"(\w+)\\"', text))
    assert shown == emitted
    status = body["widgets"][0]["properties"]["alarms"]
    assert {arn.removeprefix("$").removesuffix(".Arn}") for arn in status} == set(alarms)
    places = [(x, y) for widget in body["widgets"] for x in range(widget["x"], widget["x"] + widget["width"])
              for y in range(widget["y"], widget["y"] + widget["height"])]
    assert len(places) == len(set(places)) and max(x for x, _ in places) == 23


def test_the_roles_of_schedules_may_use_the_key_of_the_dead_letters():
    """EventBridge Scheduler sends a dead letter with the schedule's execution role, which then needs the queue's key.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
    """
    key = "arn:aws:kms:eu-west-1:1:key/2"
    schedules = of("AWS::Scheduler::Schedule", KmsKeyArn=key)
    assert len(schedules) == 4
    for name, schedule in schedules.items():
        own = statements(named(schedule["Target"]["RoleArn"]), KmsKeyArn=key)
        granted = {action for statement in own if key in flat(statement["Resource"]) for action in flat(statement["Action"])}
        assert granted == {"kms:Decrypt", "kms:GenerateDataKey"}, name


def test_functions_that_read_databases_are_attached_to_the_subnets():
    given = dict(SubnetIds="subnet-1,subnet-2", SecurityGroupIds="sg-1", SecretArns="arn:aws:secretsmanager:*:*:secret:*")
    for function in FUNCTIONS:
        actions = {action for statement in statements(f"{function}Role", **given) for action in flat(statement["Action"])}
        network = of("AWS::Lambda::Function", **given)[f"{function}Function"].get("VpcConfig")
        if "secretsmanager:GetSecretValue" in actions:
            assert network == {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}, function
            assert "ec2:CreateNetworkInterface" in actions, function
        else:
            assert network is None and "ec2:CreateNetworkInterface" not in actions, function
        assert "VpcConfig" not in of("AWS::Lambda::Function")[f"{function}Function"], function


def test_layers_are_for_the_functions_that_read_databases():
    layers = ["arn:aws:lambda:eu-west-1:1:layer:certificates:1", "arn:aws:lambda:eu-west-1:1:layer:other:2"]
    with_layers, without = of("AWS::Lambda::Function", Layers=",".join(layers)), of("AWS::Lambda::Function")
    for function in FUNCTIONS:
        expected = layers if function in ("Export", "Optout") else None
        assert with_layers[f"{function}Function"].get("Layers") == expected, function
        assert "Layers" not in without[f"{function}Function"], function


def test_results_of_queries_go_where_the_parameter_says():
    for function in ("Export", "Flip"):
        name = f"{function}Function"
        variables = of("AWS::Lambda::Function")[name]["Environment"]["Variables"]
        assert variables["ATHENA_OUTPUT"] == "s3://bucket/_athena/"
        variables = of("AWS::Lambda::Function", AthenaResults="WORKGROUP")[name]["Environment"]["Variables"]
        assert "ATHENA_OUTPUT" not in variables
    own = statements("ChecksRole", AthenaResultsArn="arn:aws:s3:::results/team/*")
    named_there = {resource for statement in own for resource in flat(statement["Resource"]) if "results" in str(resource)}
    assert named_there == {"arn:aws:s3:::results", "arn:aws:s3:::results/team/*"}
