//! Checks datasets.toml, and that the stack has permissions for its locations and receives events from them.

use turntable::{
    config::{Config, Source},
    layout::Key,
    port::Objects,
};

use super::report::{Line, is_denied, one_line};

const FILE: &str = "datasets-file";

/// Reads and parses the datasets file.
pub async fn file(objects: &dyn Objects, at: &Key) -> (Option<Config>, Line) {
    let place = at.to_string();
    match objects.get(at).await {
        Ok(Some(bytes)) => match String::from_utf8(bytes.to_vec()) {
            Ok(text) => match Config::parse(&place, &text) {
                Ok(config) => {
                    let found = format!("{} datasets", config.datasets().count());
                    (Some(config), Line::ok(FILE, place, found))
                }
                Err(error) => {
                    (None, Line::fault(FILE, place, one_line(&error), "fix it: the command check shows all errors"))
                }
            },
            Err(_) => (None, Line::fault(FILE, place, "it is not UTF-8", "save it as UTF-8")),
        },
        Ok(None) => (None, Line::fault(FILE, place.clone(), "no such file", format!("upload the file to {place}"))),
        Err(error) => {
            let why = one_line(&error);
            let line = match is_denied(&why) {
                true => Line::unread(FILE, place, why, "s3:GetObject on it"),
                false => Line::fault(FILE, place, why, "fix what the message names"),
            };
            (None, line)
        }
    }
}

/// Checks the locations of all datasets. `bucket` is the stack's bucket, and all inboxes must start with the URI
/// `inboxes`.
pub fn locations(config: &Config, bucket: &str, inboxes: Option<&str>) -> Vec<Line> {
    let mut lines = Vec::new();
    for dataset in config.datasets() {
        let home = dataset.paths.location();
        if home.bucket != bucket {
            lines.push(Line::fault(
                "dataset-location",
                &dataset.name,
                format!("{home} is not in {bucket}, the stack's bucket, and the functions may write only there"),
                format!("set its location to a folder in s3://{bucket}/"),
            ));
        }
        let Source::Inbox(inbox) = &dataset.source else { continue };
        let place = inbox.location.to_string();
        if let Some(prefix) = inboxes.filter(|prefix| !place.starts_with(prefix)) {
            lines.push(Line::fault(
                "inbox-location",
                &dataset.name,
                format!("{place} does not begin with {prefix}: its drops start no refresh, but wait for the schedule"),
                "move the inbox under InboxPrefix, or deploy with another InboxPrefix",
            ));
        }
    }
    if lines.is_empty() {
        lines.push(Line::ok("dataset-location", bucket, "all datasets are in the stack's bucket"));
    }
    lines
}
