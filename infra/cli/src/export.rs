//! `export`: builds the next generation of datasets now.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    done::Done,
    table::thousands,
    target::{Format, Function, Target},
};

/// Exports one dataset and waits for it, or queues several. `None` means all datasets.
pub async fn export(target: &Target, datasets: Option<&[String]>, format: Format) -> Result<Done> {
    let request = match datasets {
        None => json!({}),
        Some([one]) => json!({ "dataset": one }),
        Some(several) => json!({ "dataset": several }),
    };
    let answer = target.connect().await?.invoke(Function::Export, &request).await?;
    let failed = answer["outcome"] == "failed";
    let text = match format {
        Format::Json => format!("{answer}\n"),
        Format::Table => shown(&answer, &target.options()),
    };
    Ok(Done::with(text).needing_attention(failed))
}

/// Describes what an export has done, or what was queued.
pub fn shown(answer: &Value, options: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    if let Some(queued) = answer["queued"].as_array() {
        let names: Vec<String> = queued.iter().map(text).collect();
        return format!("queued: {}\nfollow them with `turntable status{options}`\n", names.join(", "));
    }
    let dataset = text(&answer["dataset"]);
    if answer["rows"].is_null() {
        // An engine builds the generation.
        let reason = answer["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        let generation = answer["generation"].as_str().map(|name| format!(" {name}")).unwrap_or_default();
        return format!("{dataset}:{generation} {}{reason}\n", text(&answer["outcome"]));
    }
    let line = |one: &Value| {
        let count = |name: &str| thousands(one[name].as_u64().unwrap_or_default());
        let (dataset, generation, location) = (text(&one["dataset"]), text(&one["generation"]), text(&one["location"]));
        format!("{dataset}: exported {generation} of {} rows to {location}\n", count("rows"))
    };
    let lines: String = match answer["group"]["members"].as_array() {
        Some(members) => members.iter().map(line).collect(),
        None => line(answer),
    };
    format!("{lines}its audit and flip follow: see `turntable status {dataset}{options}`\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_answer_is_shown() {
        let exported = json!({ "dataset": "users", "generation": "blue-1", "location": "s3://lake/b/", "rows": 12_345, "bytes": 1 });
        let expected = "users: exported blue-1 of 12,345 rows to s3://lake/b/\nits audit and flip follow: see `turntable status users --aws`\n";
        assert_eq!(shown(&exported, " --aws"), expected);
        let expected = "queued: users, orders\nfollow them with `turntable status`\n";
        assert_eq!(shown(&json!({ "queued": ["users", "orders"] }), ""), expected);
        let started = json!({ "dataset": "sums", "generation": "blue-1", "outcome": "started", "run": "q" });
        assert_eq!(shown(&started, ""), "sums: blue-1 started\n");
        let failed = json!({ "dataset": "sums", "outcome": "failed", "reason": "no memory" });
        assert_eq!(shown(&failed, ""), "sums: failed: no memory\n");
        let members = json!([
            { "dataset": "users", "generation": "blue-1", "location": "s3://lake/b/", "rows": 1 }, { "dataset": "orders", "generation": "blue-2", "location": "s3://lake/c/", "rows": 2 },
        ]);
        let group = json!({ "dataset": "users", "generation": "blue-1", "rows": 1, "group": { "name": "shop", "members": members } });
        let expected = "users: exported blue-1 of 1 rows to s3://lake/b/\norders: exported blue-2 of 2 rows to s3://lake/c/\n\
                        its audit and flip follow: see `turntable status users`\n";
        assert_eq!(shown(&group, ""), expected);
    }
}
