//! Checks `on_put`, and decides which puts refresh a dataset.

use super::{
    dataset::Dataset,
    read::Keys,
    source::{Files, Source},
};
use crate::layout::{Key, Location, TablePaths, is_hidden};

/// Checks that puts can refresh the dataset: the source must read files, and exports must not write any of these files.
pub fn check(keys: &Keys, source: Option<&Source>, location: Option<&Location>, table: &str) {
    match source {
        Some(Source::Files(files)) => {
            let paths = location.map(|location| TablePaths::new(location, table));
            if let Some(own) = paths.filter(|paths| files.folder().overlaps(paths.location())) {
                keys.fault(
                    "refresh",
                    format!(
                        "on_put would let each export start the next one, because {} overlaps the table's own folder {}: \
                         move the source's files",
                        files.location(),
                        own.location()
                    ),
                );
            }
        }
        Some(Source::Inbox(_)) | None => {}
        Some(_) => keys.fault(
            "refresh",
            "on_put needs a files source, because no event reports changed rows in a database or a query's result: set \
             a schedule such as \"rate(5 minutes)\", or { after = [\"DATASET\", …] }",
        ),
    }
}

impl Files {
    /// Returns the location as a folder. The location may also be the key of a single object.
    fn folder(&self) -> Location {
        let slash = if self.key.is_empty() || self.key.ends_with('/') { "" } else { "/" };
        Location { bucket: self.bucket.clone(), prefix: format!("{}{slash}", self.key) }
    }

    /// Returns whether the source reads this object if it exists. Doesn't check the object's format.
    pub fn reads(&self, key: &Key) -> bool {
        if key.bucket != self.bucket {
            return false;
        }
        let inside = key.key.strip_prefix(&self.folder().prefix);
        let is_object = key.key == self.key && !self.key.ends_with('/');
        is_object || inside.is_some_and(|name| !is_hidden(name))
    }
}

impl Dataset {
    /// Returns the source's files if the dataset is refreshed when an object is put among them. Otherwise returns
    /// `None`.
    pub fn files_on_put(&self) -> Option<&Files> {
        self.refresh.as_ref()?.on_put?;
        match &self.source {
            Source::Files(files) => Some(files),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{
        Config,
        test_support::{DEFAULTS, faults},
    };

    #[test]
    fn a_put_of_what_the_source_reads_refreshes_the_dataset() {
        let entry = |name: &str, location: &str, refresh: &str| {
            format!("[datasets.{name}]\nsource.files = {{ location = \"{location}\" }}\n{refresh}")
        };
        let on = "refresh = { on_put = true, settle = \"30s\" }\n";
        let text = [
            DEFAULTS,
            &entry("folder", "s3://exports/prices/", on),
            &entry("either", "s3://exports/prices", on),
            &entry("nightly", "s3://exports/prices/", "refresh = \"rate(1 day)\"\n"),
            &entry("everything", "s3://other/", "refresh = [\"rate(1 day)\", { on_put = true }]\n"),
        ];
        let config = Config::parse("f", &text.concat()).unwrap();
        let refreshed = |key: &str| -> Vec<&str> {
            let key = key.parse().unwrap();
            let all = config.refreshed_on_put().filter(|(_, files)| files.reads(&key));
            all.map(|(dataset, _)| dataset.name.as_str()).collect()
        };
        for (key, expected) in [
            ("s3://exports/prices/a.csv", &["either", "folder"][..]),
            ("s3://exports/prices/2026/dt=1/a.csv", &["either", "folder"]),
            ("s3://exports/prices", &["either"]),
            ("s3://exports/prices/_tmp/a.csv", &[]),
            ("s3://exports/prices/.a.csv", &[]),
            ("s3://exports/prices/", &[]),
            ("s3://exports/prices2/a.csv", &[]),
            ("s3://lake/prices/a.csv", &[]),
            ("s3://other/a.csv", &["everything"]),
        ] {
            assert_eq!(refreshed(key), expected, "{key}");
        }
        let refresh = config.dataset("folder").unwrap().refresh.clone().unwrap();
        assert_eq!(refresh.settle().as_secs(), 30);
        assert_eq!(config.dataset("everything").unwrap().refresh.clone().unwrap().settle().as_secs(), 0);
    }

    #[test]
    fn faults_say_which_source_and_settings_on_put_needs() {
        let files = "source = { files = { location = \"s3://exports/in/\" } }\n";
        let own = "source = { files = { location = \"s3://lake/schemas/a/\" } }\n";
        let rows = "source = { postgres = { secret = \"s\", query = \"SELECT 1\" } }\n";
        for (source, refresh, fault) in [
            (
                rows,
                "{ on_put = true }",
                "refresh: on_put needs a files source, because no event reports changed rows in a database or a query's result: set a schedule such as \"rate(5 minutes)\", or { after = [\"DATASET\", …] }",
            ),
            (
                own,
                "{ on_put = true }",
                "refresh: on_put would let each export start the next one, because s3://lake/schemas/a/ overlaps the table's own folder s3://lake/schemas/a/: move the source's files",
            ),
            (
                files,
                "{ on_put = true, settle = \"1h\" }",
                "refresh.settle: is longer than 15m, the longest that is supported: lower it",
            ),
            (files, "{ on_put = false }", "refresh.on_put: false has no effect: remove it"),
            (files, "[{ on_put = true }, { on_put = true }]", "refresh: has on_put twice: remove one of the two"),
            (
                files,
                "[{ on_put = true }, { after = [\"a\"], settle = \"1s\" }]",
                "refresh.after: these datasets wait for each other, so none is ever due: a after a\nrefresh.settle: has no effect without on_put = true: set that too, or remove it",
            ),
        ] {
            let found = faults(&format!("{DEFAULTS}[datasets.a]\n{source}refresh = {refresh}\n"));
            let mut found: Vec<_> = found.lines().map(|line| line.replace("datasets.toml: datasets.a.", "")).collect();
            found.sort();
            assert_eq!(found.join("\n"), fault, "{refresh}");
        }
        assert_eq!(
            faults(&format!("{DEFAULTS}refresh = {{ on_put = true }}\n[datasets.a]\n{files}")),
            "datasets.toml: defaults.refresh: on_put applies to the files of one dataset: set it in that dataset"
        );
    }
}
