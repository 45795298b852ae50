//! Converts Athena's answers about refused and failed queries into errors that tell the operator what to do.

use aws_sdk_athena::{
    error::{ProvideErrorMetadata, SdkError},
    operation::start_query_execution::StartQueryExecutionError,
    types::{AthenaError, QueryExecution, QueryExecutionState, QueryExecutionStatus},
};
use turntable_core::error::{Error, Result};

use crate::fault::fault;

/// Converts the error from a query that Athena refused to start. Athena returns the same exception for a syntax error
/// as for a workgroup without an output location.
pub fn refused(workgroup: &str, error: SdkError<StartQueryExecutionError>) -> Error {
    let message = error.message().unwrap_or_default().to_owned();
    match error.as_service_error() {
        Some(StartQueryExecutionError::InvalidRequestException(invalid)) => {
            // No row has been read yet, so the message can only quote the query.
            if invalid.athena_error_code() == Some("MALFORMED_QUERY") || message.starts_with("line ") {
                return Error::input(format!(
                    "Athena rejected the query with SYNTAX_ERROR: {message}: correct the query"
                ));
            }
            Error::config(format!(
                "Athena refused to start a query in workgroup {workgroup:?} ({message}): correct the workgroup's \
                 settings or the function's permissions"
            ))
        }
        _ => fault("athena:StartQueryExecution", workgroup, error),
    }
}

/// Returns whether a query has finished. Returns an error if the query failed or was cancelled. `output` is the result
/// location named in the request.
pub fn ended(id: &str, execution: &QueryExecution, output: Option<&str>) -> Result<bool> {
    match execution.status().and_then(QueryExecutionStatus::state) {
        Some(QueryExecutionState::Succeeded) => Ok(true),
        Some(QueryExecutionState::Failed) => Err(failed(id, execution, output)),
        Some(QueryExecutionState::Cancelled) => Err(Error::unavailable(format!(
            "Athena query {id} was cancelled, by a person or by the workgroup's limit on scanned bytes: invoke the \
             function again, or raise the limit"
        ))),
        _ => Ok(false),
    }
}

/// The names of errors whose messages may be quoted, because they contain only the query, names and locations, never
/// values from rows. Athena raises most of these errors before it reads a row.
const SAFE_TO_QUOTE: [&str; 13] = [
    "SYNTAX_ERROR",
    "COLUMN_NOT_FOUND",
    "TABLE_NOT_FOUND",
    "SCHEMA_NOT_FOUND",
    "FUNCTION_NOT_FOUND",
    "TYPE_MISMATCH",
    "EXPRESSION_NOT_AGGREGATE",
    "AMBIGUOUS_NAME",
    "MISSING_COLUMN_NAME",
    "DUPLICATE_COLUMN_NAME",
    "HIVE_PATH_ALREADY_EXISTS",
    "HIVE_TOO_MANY_OPEN_PARTITIONS",
    "NOT_SUPPORTED",
];

/// The `AthenaError.ErrorCategory` of errors in Athena itself. This category and the error types below are listed in
/// the "Athena error catalog" (<https://docs.aws.amazon.com/athena/latest/ug/error-reference.html>).
const SYSTEM: i32 = 1;

/// The error types for throttling by Glue, S3 or Athena, and for an exceeded capacity limit.
const THROTTLED: [i32; 8] = [1400, 1401, 1402, 1403, 1404, 1405, 1406, 1602];

/// The error types "Permission error" and "Amazon S3 permission error".
const DENIED: [i32; 2] = [1500, 1501];

/// Returns the error for a failed query. Athena's text may quote a value, as in `Cannot cast 'alice' to bigint`, so
/// unless the error is in `SAFE_TO_QUOTE`, only its name and the query's ID are kept. With the ID, anyone with access
/// to Athena can look up the full text.
fn failed(id: &str, execution: &QueryExecution, output: Option<&str>) -> Error {
    let status = execution.status();
    let error = status.and_then(QueryExecutionStatus::athena_error);
    let text = status.and_then(QueryExecutionStatus::state_change_reason).unwrap_or_default();
    let name = text.split(':').next().filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    let name = name.filter(|name| !name.is_empty()).unwrap_or("an unnamed error");
    let kind = error.and_then(AthenaError::error_type).unwrap_or_default();
    // Checked before the category, because a missing permission is never temporary.
    if DENIED.contains(&kind) || is_denied(text) {
        return denied(id, name, text, foreign_output(execution, output));
    }
    let is_temporary = error.and_then(AthenaError::error_category) == Some(SYSTEM)
        || error.is_some_and(AthenaError::retryable)
        || THROTTLED.contains(&kind);
    if is_temporary {
        return Error::unavailable(format!(
            "Athena query {id} failed with a temporary error, {name}: invoke the function again"
        ));
    }
    let why = if SAFE_TO_QUOTE.contains(&name) { text } else { name };
    Error::input(format!("Athena query {id} failed with {why}: correct the query or the data that it reads"))
}

/// Returns whether a failed query's text reports a missing permission, in the wording of Trino, of Glue and S3, whose
/// errors Athena passes on, or of Athena itself:
///
/// - `PERMISSION_DENIED: …`, `ACCESS_DENIED: …`
/// - `User: arn:… is not authorized to perform: glue:GetDatabases on resource: …`, also inside `FAILED: Execution Error
///   … MetaException(message:User: …` (awsdocs/amazon-athena-user-guide #81)
/// - `Insufficient permissions to execute the query. Principal does not have any privilege on specified resource`
///   ("Querying Amazon S3 tables with Athena", S3 guide)
/// - `Permission denied on S3 path: s3://…` (Kubecost's guide to Athena)
/// - `Access denied when writing to location: s3://…` (grafana/athena-datasource #112)
///
/// If the text holds a row's value, the value follows the error's name. So only the beginning is compared.
fn is_denied(text: &str) -> bool {
    const BEGINNINGS: [&str; 7] = [
        "PERMISSION_DENIED",
        "ACCESS_DENIED",
        "User: arn:",
        "Insufficient permissions to execute the query",
        "Permission denied on S3 path",
        "Access denied when writing",
        "Access Denied",
    ];
    let task = text.strip_prefix("FAILED: Execution Error").and_then(|text| text.split_once("MetaException(message:"));
    let text = task.map_or(text, |(_, message)| message);
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

fn denied(id: &str, name: &str, text: &str, foreign: Option<&str>) -> Error {
    // IAM's text names the action and the resource.
    let action = text.split_once("not authorized to perform: ").map(|(_, action)| action);
    let action = action.and_then(|action| action.split([' ', '(', '\n']).next()).filter(|action| is_action(action));
    let what = match action {
        Some(action) => format!("because {action} is not allowed"),
        None if name.ends_with("DENIED") => format!("with {name}"),
        None => "because a permission is missing".into(),
    };
    let advice = match foreign {
        // The message names the workgroup as a possible cause, because the text doesn't say reliably whether it is.
        Some(location) => format!(
            "allow the function's role to read the tables and files that it queries, and to write {location}: the \
             workgroup puts results there instead of where the function asked (the parameter AthenaResultsArn)"
        ),
        None => "allow the function's role to read the tables and files that it queries".into(),
    };
    Error::config(format!("Athena query {id} failed {what}: {advice}"))
}

/// Returns whether a text is an IAM action, such as `glue:GetTable`.
fn is_action(text: &str) -> bool {
    let is_name = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    text.split_once(':').is_some_and(|(service, action)| is_name(service) && is_name(action))
}

/// Returns the folder of a query's result if it isn't `output`, the location that the request named. In that case, the
/// workgroup overrides client-side settings
/// (<https://docs.aws.amazon.com/athena/latest/ug/workgroups-settings-override.html>).
fn foreign_output<'a>(execution: &'a QueryExecution, output: Option<&str>) -> Option<&'a str> {
    let actual = execution.result_configuration()?.output_location()?;
    let folder = actual.rsplit_once('/').map_or(actual, |(folder, _)| folder);
    output.is_some_and(|output| folder != output.trim_end_matches('/')).then_some(folder)
}

#[cfg(test)]
mod tests {
    use aws_sdk_athena::types::ResultConfiguration;
    use turntable_core::error::Kind;

    use super::*;

    fn execution(reason: &str, category: i32, kind: Option<i32>) -> QueryExecution {
        let error = AthenaError::builder().error_category(category).set_error_type(kind).build();
        let status = QueryExecutionStatus::builder()
            .state(QueryExecutionState::Failed)
            .state_change_reason(reason)
            .athena_error(error)
            .build();
        let result = ResultConfiguration::builder().output_location("s3://results/team/q1.csv").build();
        QueryExecution::builder().status(status).result_configuration(result).build()
    }

    fn report(reason: &str, category: i32, kind: Option<i32>, output: Option<&str>) -> (Kind, String) {
        let error = ended("q1", &execution(reason, category, kind), output).unwrap_err();
        (error.kind(), error.message().to_owned())
    }

    #[test]
    fn error_text_that_may_hold_a_row_value_is_not_reported() {
        for (reason, category, kind, expected) in [
            (
                "INVALID_CAST_ARGUMENT: Cannot cast 'alice' to BIGINT",
                2,
                Kind::Input,
                "Athena query q1 failed with INVALID_CAST_ARGUMENT: correct the query or the data that it reads",
            ),
            (
                "INVALID_CAST_ARGUMENT: Cannot cast 'User: arn:aws is not authorized to perform: x' to BIGINT",
                2,
                Kind::Input,
                "Athena query q1 failed with INVALID_CAST_ARGUMENT: correct the query or the data that it reads",
            ),
            (
                "COLUMN_NOT_FOUND: line 1:8: Column 'idd' cannot be resolved",
                2,
                Kind::Input,
                "Athena query q1 failed with COLUMN_NOT_FOUND: line 1:8: Column 'idd' cannot be resolved: correct the \
                 query or the data that it reads",
            ),
            (
                "alice is wrong",
                2,
                Kind::Input,
                "Athena query q1 failed with an unnamed error: correct the query or the data that it reads",
            ),
            (
                "",
                3,
                Kind::Input,
                "Athena query q1 failed with an unnamed error: correct the query or the data that it reads",
            ),
            (
                "HIVE_CURSOR_ERROR: s3://…",
                1,
                Kind::Unavailable,
                "Athena query q1 failed with a temporary error, HIVE_CURSOR_ERROR: invoke the function again",
            ),
        ] {
            assert_eq!(report(reason, category, None, None), (kind, expected.to_owned()));
        }
    }

    /// A missing permission must neither reject a candidate nor undo a flip.
    #[test]
    fn missing_permissions_are_not_bad_data() {
        const GLUE: &str = "User: arn:aws:sts::123456789012:assumed-role/lake-flip/lake-flip is not authorized to perform: \
                            glue:GetPartition on resource: arn:aws:glue:eu-west-1:123456789012:catalog because no \
                            identity-based policy allows the glue:GetPartition action (Service: AmazonDataCatalog; Status \
                            Code: 400; Error Code: AccessDeniedException; Request ID: 1; Proxy: null)";
        let wrapped =
            format!("FAILED: Execution Error, return code 1 from org.apache.DDLTask. MetaException(message:{GLUE})");
        for (reason, category, kind, what) in [
            ("PERMISSION_DENIED: Access Denied", 2, None, "with PERMISSION_DENIED"),
            (GLUE, 2, None, "because glue:GetPartition is not allowed"),
            (GLUE, 1, None, "because glue:GetPartition is not allowed"),
            (&wrapped, 3, None, "because glue:GetPartition is not allowed"),
            (
                "Insufficient permissions to execute the query. Principal does not have any privilege on specified \
                 resource",
                2,
                None,
                "because a permission is missing",
            ),
            (
                "Access denied when writing to location: s3://results/team/q1.csv",
                2,
                None,
                "because a permission is missing",
            ),
            ("Permission denied on S3 path: s3://lake/users", 2, None, "because a permission is missing"),
            ("HIVE_CURSOR_ERROR: alice", 2, Some(1501), "because a permission is missing"),
            ("alice", 2, Some(1500), "because a permission is missing"),
        ] {
            let expected = format!(
                "Athena query q1 failed {what}: allow the function's role to read the tables and files that it queries"
            );
            assert_eq!(report(reason, category, kind, None), (Kind::Config, expected), "{reason}");
        }
    }

    #[test]
    fn throttling_is_temporary_whatever_its_category() {
        for kind in THROTTLED {
            assert_eq!(report("GENERIC_USER_ERROR: x", 2, Some(kind), None).0, Kind::Unavailable);
        }
        assert_eq!(report("GENERIC_USER_ERROR: x", 2, Some(1001), None).0, Kind::Input);
    }

    /// Such a workgroup makes the query write to a folder that the function didn't name, where its role may lack
    /// permission to write.
    #[test]
    fn a_workgroup_that_overrides_the_location_of_results_is_named_as_a_cause() {
        let reason = "Access denied when writing to location: s3://results/team/q1.csv";
        let told =
            |output| report(reason, 2, None, output).1.contains("to write s3://results/team: the workgroup puts");
        assert!(told(Some("s3://lake/_athena/")));
        assert!(!told(Some("s3://results/team/")));
        assert!(!told(None));
    }
}
