"""Writes modules/stack/variables.tf: template.yaml's parameters as Terraform variables.

    .ci/tool sam python infra/terraform/parameters.py

test_stack.py checks that the file is up to date.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VARIABLES = HERE / "modules/stack/variables.tf"
sys.path.insert(0, str(HERE.parent))

from test_template import template  # noqa: E402

RESERVATION = "^$|^[1-9][0-9]{0,3}$"  # A number, or nothing: CloudFormation has no null.


def snake(name):
    """Returns the Terraform name for a logical ID or a parameter: LiveAgeSeconds → live_age_seconds."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def text(value):
    """Returns a string literal."""
    return json.dumps(value, ensure_ascii=False).replace("${", "$${")


def kind(parameter):
    """Returns the Terraform type for a parameter."""
    if parameter.get("AllowedValues") == ["true", "false"]:
        return "bool"
    if parameter.get("AllowedPattern") == RESERVATION:
        return "number"
    return {"Number": "number", "String": "string", "CommaDelimitedList": "list(string)"}[parameter["Type"]]


def default(parameter):
    """Returns the Terraform literal for a parameter's default, or None if the parameter is required."""
    if "Default" not in parameter:
        return None
    value = parameter["Default"]
    match kind(parameter):
        case "bool":
            return value
        case "number":
            return str(value) if value != "" else "null"
        case "list(string)":
            return json.dumps([one for one in value.split(",") if one])
    return text(value)


def validation(name, parameter):
    """Returns the condition and the error message for a parameter's allowed values, or None if all are allowed."""
    it = f"var.{name}"
    if kind(parameter) == "bool":
        return None
    if parameter.get("AllowedPattern") == RESERVATION:
        return f"{it} == null ? true : {it} >= 1 && {it} <= 9999", "The value must be between 1 and 9999, or null."
    if "AllowedValues" in parameter:
        values = parameter["AllowedValues"]
        return f"contains({json.dumps(values)}, {it})", f"The value must be one of {', '.join(map(str, values))}."
    if "AllowedPattern" in parameter:
        pattern = parameter["AllowedPattern"]
        return f"can(regex({text(pattern)}, {it}))", f"The value must match {pattern}."
    size, length = ("Length", f"length({it})") if "MaxLength" in parameter or "MinLength" in parameter else ("Value", it)
    least, most = parameter.get(f"Min{size}"), parameter.get(f"Max{size}")
    what = "The length" if size == "Length" else "The value"
    if least is None:
        return None
    if most is None:
        return f"{length} >= {least}", f"{what} must be at least {least}."
    return f"{length} >= {least} && {length} <= {most}", f"{what} must be between {least} and {most}."


def description(parameter, names):
    """Returns a parameter's description with Terraform's names for parameters and functions."""
    said = re.sub(r"\b(Export|Flip|Optout|Sweep)Function\b", lambda found: f"`{found[1].lower()}`", parameter["Description"])
    for name in names:
        # A name of one word is also an ordinary word at the beginning of a sentence.
        before = "" if re.search("[a-z][A-Z]", name) else r"(?<=[a-z] )"
        said = re.sub(rf"{before}\b{name}\b", f"`{snake(name)}`", said)
    return said.replace("Empty for", "null for") if parameter.get("AllowedPattern") == RESERVATION else said


def variable(name, parameter, names):
    """Returns the block for one parameter, as `terraform fmt` formats it."""
    given = default(parameter)
    rows = [("description", text(description(parameter, names))), ("type", kind(parameter))]
    if given is not None:
        rows.append(("default", given))
    if given != "null":
        rows.append(("nullable", "false"))  # null takes the default.
    block = [f'variable "{snake(name)}" {{', *(f"  {key:11} = {value}" for key, value in rows)]
    if found := validation(snake(name), parameter):
        condition, message = found
        block += ["", "  validation {", f"    condition     = {condition}", f"    error_message = {text(message)}", "  }"]
    return "\n".join([*block, "}"])


def variables():
    """Returns the text of variables.tf."""
    parameters = template()["Parameters"]
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    names = sorted(parameters, key=len, reverse=True)
    parts = ["# template.yaml's parameters. Made by ../../parameters.py: edit the template instead."]
    for group in groups:
        blocks = [variable(name, parameters[name], names) for name in group["Parameters"]]
        parts.append("\n\n".join([f"# {group['Label']['default']}", *blocks]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    VARIABLES.write_text(variables())
