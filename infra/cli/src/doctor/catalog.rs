//! Checks Glue's databases and jobs, and Lake Formation.

use anyhow::Result;
use aws_sdk_glue::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata},
    types::Database,
};
use serde::Deserialize;
use turntable::config::{Config, Source};

use super::report::{Line, is_denied};
use crate::signed::{Body, Service, Signed};

const DATABASE: &str = "glue-database";
const LAKE_FORMATION: &str = "lake-formation";

/// The principal that stands for everybody whom IAM allows. If it has permissions on a database, only IAM decides.
/// <https://docs.aws.amazon.com/lake-formation/latest/dg/upgrade-glue-lake-formation-background.html>
const IAM_ALLOWED: &str = "IAM_ALLOWED_PRINCIPALS";

pub const SERVICE: Service =
    Service { name: "Lake Formation", host: "lakeformation", endpoint: "AWS_ENDPOINT_URL_LAKEFORMATION" };

/// Checks the Glue databases and jobs that the datasets use.
pub async fn lines(glue: &Client, config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    for name in config.databases() {
        match glue.get_database().name(name).send().await {
            Ok(answer) => lines.extend(answer.database.iter().flat_map(|found| judged(name, found))),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_entity_not_found_exception()) => {
                let todo = format!("create it: aws glue create-database --database-input Name={name}");
                lines.push(Line::fault(DATABASE, name, "it does not exist, and Turntable creates only tables", todo));
            }
            Err(error) => lines.push(refused(DATABASE, name, &error, "glue:GetDatabase")),
        }
    }
    for dataset in config.datasets() {
        let Source::GlueJob(job) = &dataset.source else { continue };
        match glue.get_job().job_name(&job.name).send().await {
            Ok(_) => lines.push(Line::ok("glue-job", &job.name, format!("it exists, for {}", dataset.name))),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_entity_not_found_exception()) => {
                let found = format!("it does not exist, and {} needs it", dataset.name);
                lines.push(Line::fault("glue-job", &job.name, found, "create the job, or correct its name"));
            }
            Err(error) => lines.push(refused("glue-job", &job.name, &error, "glue:GetJob")),
        }
    }
    lines
}

fn refused<E: ProvideErrorMetadata + std::error::Error>(
    check: &'static str,
    name: &str,
    error: &E,
    permission: &str,
) -> Line {
    let text = error.message().map_or_else(|| DisplayErrorContext(error).to_string(), str::to_owned);
    match is_denied(&text) || error.code() == Some("AccessDeniedException") {
        true => Line::unread(check, name, "access is denied", permission),
        false => Line::fault(check, name, text, "fix the problem that Glue names"),
    }
}

fn judged(name: &str, database: &Database) -> Vec<Line> {
    if let Some(target) = &database.target_database {
        let found = format!("it is a resource link to {}", target.database_name().unwrap_or("another database"));
        return vec![Line::fault(DATABASE, name, found, "name a database in this account: a link can't hold tables")];
    }
    if database.federated_database.is_some() {
        return vec![Line::fault(
            DATABASE,
            name,
            "it is federated",
            "name a database in Glue itself: a federated one can't hold tables",
        )];
    }
    let mut lines = vec![Line::ok(DATABASE, name, "it exists")];
    // Without this list in the response, it isn't known who decides.
    if let Some(defaults) = &database.create_table_default_permissions {
        let by_iam = defaults.iter().any(|grant| {
            let principal = grant.principal().and_then(|principal| principal.data_lake_principal_identifier());
            principal == Some(IAM_ALLOWED) && !grant.permissions().is_empty()
        });
        lines.push(match by_iam {
            true => Line::ok(LAKE_FORMATION, name, "only IAM decides who may use new tables"),
            false => Line::warning(
                LAKE_FORMATION,
                name,
                "Lake Formation decides who may use new tables, also for the functions' roles",
                "deploy with LakeFormation=true, and grant the roles what docs/deploy.md lists",
            ),
        });
    }
    lines
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Resources {
    resource_info_list: Vec<Resource>,
    next_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Resource {
    resource_arn: String,
}

/// Checks whether locations in the bucket are registered with Lake Formation.
pub async fn registration(lake: &Signed, bucket: &str) -> Line {
    match registered(lake, bucket).await {
        Ok(found) if found.is_empty() => Line::ok(LAKE_FORMATION, bucket, "no location in the bucket is registered"),
        Ok(found) => Line::warning(
            LAKE_FORMATION,
            bucket,
            format!("registered: {}", found.join(", ")),
            "deploy with LakeFormation=true, and grant the roles DATA_LOCATION_ACCESS: docs/deploy.md",
        ),
        Err(error) => Line::unread(LAKE_FORMATION, bucket, format!("{error:#}"), "lakeformation:ListResources"),
    }
}

async fn registered(lake: &Signed, bucket: &str) -> Result<Vec<String>> {
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let body = match &token {
            Some(token) => serde_json::json!({ "NextToken": token }),
            None => serde_json::json!({}),
        };
        let response = lake.send("POST", "/ListResources", Body::json(body.to_string().into_bytes())).await?;
        let page: Resources = serde_json::from_slice(&response.payload)?;
        found.extend(page.resource_info_list.into_iter().map(|one| one.resource_arn).filter(|arn| is_in(arn, bucket)));
        token = page.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(found);
        }
    }
}

/// Returns whether `arn`, a location such as `arn:aws:s3:::BUCKET/PREFIX`, is in the bucket.
fn is_in(arn: &str, bucket: &str) -> bool {
    arn.split_once(":::").is_some_and(|(_, place)| place.split('/').next() == Some(bucket))
}

#[cfg(test)]
mod tests {
    use aws_sdk_glue::types::{DataLakePrincipal, DatabaseIdentifier, Permission, PrincipalPermissions};

    use super::*;
    use crate::doctor::report::Status;

    #[test]
    fn database_that_cannot_hold_tables_is_a_fault() {
        let status = |database: &Database| judged("dmp", database).iter().map(|line| line.status).max();
        let plain = Database::builder().name("dmp");
        assert_eq!(status(&plain.clone().build().unwrap()), Some(Status::Ok));
        let target = DatabaseIdentifier::builder().database_name("x").build();
        assert_eq!(status(&plain.clone().target_database(target).build().unwrap()), Some(Status::Fault));
        let governed = plain.clone().set_create_table_default_permissions(Some(Vec::new())).build().unwrap();
        assert_eq!(status(&governed), Some(Status::Warning));
        let everybody = DataLakePrincipal::builder().data_lake_principal_identifier(IAM_ALLOWED).build();
        let grant = PrincipalPermissions::builder().principal(everybody).permissions(Permission::All).build();
        let open = plain.set_create_table_default_permissions(Some(vec![grant])).build().unwrap();
        assert_eq!(status(&open), Some(Status::Ok));
    }

    #[test]
    fn location_is_found_by_its_bucket() {
        assert!(is_in("arn:aws:s3:::lake", "lake"));
        assert!(is_in("arn:aws-cn:s3:::lake/schemas", "lake"));
        assert!(!is_in("arn:aws:s3:::lake-2/schemas", "lake"));
    }
}
