"""Evaluates IAM policies: whether statements allow a call, with its condition keys.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import re
from functools import cache


def flat(one_or_many):
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


@cache
def _pattern(text):
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def fits(pattern, text):
    """Returns whether the text matches the pattern with IAM's wildcards."""
    return _pattern(pattern).fullmatch(text) is not None


def allows(statements, action, resource, context):
    """Returns whether the statements allow a call: one allows it, and none denies it."""
    effects = {statement["Effect"] for statement in statements if applies(statement, action, resource, context)}
    return effects == {"Allow"}


def applies(statement, action, resource, context):
    """Returns whether a statement is about the call. Refuses elements that no policy of the template uses."""
    unknown = statement.keys() - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    assert not unknown, f"not implemented: {unknown}"
    return (
        any(fits(each.lower(), action.lower()) for each in flat(statement["Action"]))
        and any(fits(each, resource) for each in flat(statement["Resource"]))
        and all(
            holds(operator, key, flat(values), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def holds(operator, key, values, context):
    """Returns whether a condition holds.

    A key that the request lacks fulfils only `Null`, what ends with `IfExists`, and a negated operator such as StringNotEquals.
    """
    known = {name.lower(): value for name, value in context.items()}
    value = known.get(key.lower())
    if operator == "Null":
        return (value is None) == (str(values[0]).lower() == "true")
    plain = operator.removesuffix("IfExists")
    if "Not" in plain:
        return value is None or not holds(plain.replace("Not", "", 1), key, values, context)
    if value is None:
        return plain != operator
    match plain:
        case "Bool":
            return value.lower() in [str(each).lower() for each in values]
        case "StringEquals":
            return value in values
        case "StringLike" | "ArnEquals" | "ArnLike":
            return any(fits(each, value) for each in values)
    raise AssertionError(f"not implemented: the condition operator {operator}")
