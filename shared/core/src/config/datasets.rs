//! A checked `datasets.toml`: all datasets by name.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    broken::{self, BrokenEntry},
    check::{self, Checked},
    dataset::{Dataset, OptoutTable, Protected},
    group::Group,
    position::{Position, Positions},
    read::{At, Fault},
    source::{Files, Source},
};
use crate::{
    error::{Error, Result},
    layout::{Location, TableName, TablePaths},
    optout::view,
};

/// A checked `datasets.toml`.
#[derive(Debug, Clone)]
pub struct Config {
    datasets: BTreeMap<String, Dataset>,
    broken: BTreeMap<String, BrokenEntry>,
}

impl Config {
    /// Parses and checks `text`, the content of the file called `file`. The error has one line for each fault:
    /// `file:line:column: key.path: message`.
    pub fn parse(file: &str, text: &str) -> Result<Config> {
        Config::parse_expanded(file, text, text)
    }

    /// Like [`Config::parse`], for a `text` in which each `${NAME}` has been replaced. Faults are reported at the
    /// position of their key in `written`, the text before the replacement; only a TOML syntax error is reported at its
    /// position in `text`.
    pub fn parse_expanded(file: &str, text: &str, written: &str) -> Result<Config> {
        let Checked { datasets, faults, .. } = check::check(text);
        if faults.is_empty() {
            return Ok(Config { datasets, broken: BTreeMap::new() });
        }
        let keys = Positions::of(written);
        let lines: Vec<String> = faults.iter().map(|fault| located(file, text, &keys, fault)).collect();
        Err(Error::config(lines.join("\n")))
    }

    /// Like [`Config::parse`], but leaves out the entries that have errors, and keeps them for [`Config::broken`].
    /// Fails if an error concerns the whole file, or if no entry is valid.
    pub fn parse_valid(file: &str, text: &str) -> Result<Config> {
        let Checked { mut datasets, outlines, faults } = check::check(text);
        if faults.is_empty() {
            return Ok(Config { datasets, broken: BTreeMap::new() });
        }
        let keys = Positions::of(text);
        let mut by_entry: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut all = Vec::new();
        let mut is_whole = false;
        for fault in &faults {
            let line = located(file, text, &keys, fault);
            all.push(line.clone());
            match &fault.at {
                At::Key(path) => match broken::entry_of(path, &outlines) {
                    Some(entry) => by_entry.entry(entry.to_owned()).or_default().push(line),
                    None => is_whole = true,
                },
                At::Byte(_) => is_whole = true,
            }
        }
        let broken = broken::separate(&mut datasets, &outlines, by_entry);
        if is_whole || datasets.is_empty() {
            return Err(Error::config(all.join("\n")));
        }
        Ok(Config { datasets, broken })
    }

    /// Returns the entries that have errors.
    pub fn broken(&self) -> impl Iterator<Item = &BrokenEntry> {
        self.broken.values()
    }

    /// Returns all datasets that could be read, even if their entries have errors. Use this to decide what is no longer
    /// configured.
    pub fn known(&self) -> impl Iterator<Item = &Dataset> {
        self.datasets.values().chain(self.broken.values().filter_map(|entry| entry.dataset.as_ref()))
    }

    /// Fails if any entry has errors.
    pub fn ensure_valid(&self) -> Result<()> {
        let faults: Vec<&str> = self.broken().flat_map(|entry| &entry.faults).map(String::as_str).collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::config(faults.join("\n"))) }
    }

    pub fn datasets(&self) -> impl Iterator<Item = &Dataset> {
        self.datasets.values()
    }

    pub fn dataset(&self, name: &str) -> Result<&Dataset> {
        self.datasets.get(name).ok_or_else(|| {
            if let Some(entry) = self.broken.get(name) {
                return faulty(entry);
            }
            let known: Vec<&str> = self.datasets.keys().map(String::as_str).collect();
            Error::input(format!("no dataset {name:?} is configured, expected one of {}", known.join(", ")))
        })
    }

    /// Returns the group that a dataset belongs to, if any.
    pub fn group_of<'a>(&'a self, dataset: &'a Dataset) -> Option<Group<'a>> {
        let name = dataset.group.as_ref()?;
        let members = self.datasets.values().filter(|other| other.group.as_ref() == Some(name)).collect();
        Some(Group { name, members })
    }

    /// Returns one dataset for each separate refresh: every dataset without a group, and the first member of each
    /// group.
    pub fn leads(&self) -> impl Iterator<Item = &Dataset> {
        let mut groups = HashSet::new();
        let is_first =
            move |dataset: &&Dataset| dataset.group.as_ref().is_none_or(|group| groups.insert(group.clone()));
        self.datasets.values().filter(is_first)
    }

    /// Returns the datasets, or first members of groups, that are refreshed after a flip of `input`.
    pub fn dependants(&self, input: &str) -> impl Iterator<Item = &Dataset> {
        self.leads().filter(move |dataset| {
            let inputs = dataset.refresh.iter().flat_map(|refresh| &refresh.after).flat_map(|after| &after.inputs);
            inputs.into_iter().any(|found| found.dataset == input)
        })
    }

    /// Returns the datasets that are refreshed when an object is put into their source, each with the files that it
    /// reads.
    pub fn refreshed_on_put(&self) -> impl Iterator<Item = (&Dataset, &Files)> {
        self.datasets().filter_map(|dataset| Some((dataset, dataset.files_on_put()?)))
    }

    /// Returns the dataset itself, or the first member of its group.
    pub fn lead<'a>(&'a self, dataset: &'a Dataset) -> &'a Dataset {
        self.group_of(dataset).and_then(|group| group.members.first().copied()).unwrap_or(dataset)
    }

    /// Returns the dataset that publishes to this Glue table, if any.
    pub fn dataset_of(&self, table: &TableName) -> Option<&Dataset> {
        self.datasets.values().find(|dataset| dataset.table == *table)
    }

    /// Returns the protected table whose view has this name, if any.
    pub fn protected_by_view(&self, view: &TableName) -> Option<&Protected> {
        let mut all = self.datasets.values().filter_map(|dataset| dataset.protected.as_ref());
        all.find(|protected| view::protected_name(&protected.table) == *view)
    }

    /// Returns the opt-out table whose `OPTOUTS_active` view has this name, if any.
    pub fn optouts_by_view(&self, view: &TableName) -> Option<OptoutTable> {
        self.datasets.values().filter_map(Dataset::optouts).find(|optouts| view::active_name(&optouts.table) == *view)
    }

    /// Returns the Glue databases that the datasets publish to, including datasets that have errors.
    pub fn databases(&self) -> BTreeSet<&str> {
        let broken = self.broken.values().filter_map(|entry| entry.database.as_deref());
        self.datasets.values().map(|dataset| dataset.table.database.as_str()).chain(broken).collect()
    }

    /// Returns the dataset whose inbox contains `location`, if any.
    pub fn inbox_around(&self, location: &Location) -> Option<&Dataset> {
        let is_around =
            |dataset: &&Dataset| matches!(&dataset.source, Source::Inbox(inbox) if inbox.location.contains(location));
        self.known().find(is_around)
    }

    /// Returns the dataset that publishes to `paths`, or an error if there is none.
    pub fn dataset_at(&self, paths: &TablePaths) -> Result<&Dataset> {
        let is_broken = |entry: &&BrokenEntry| entry.dataset.as_ref().is_some_and(|dataset| dataset.paths == *paths);
        self.datasets.values().find(|dataset| dataset.paths == *paths).ok_or_else(|| {
            if let Some(entry) = self.broken.values().find(is_broken) {
                return faulty(entry);
            }
            Error::input(format!(
                "no dataset in datasets.toml publishes to {}: check the dataset's location and table",
                paths.location()
            ))
        })
    }
}

/// Returns a fault as a line with its position: `file:line:column: key.path: message`.
fn located(file: &str, text: &str, keys: &Positions, fault: &Fault) -> String {
    let position = match &fault.at {
        At::Key(path) => keys.find(path),
        At::Byte(byte) => Position::of(text, *byte),
    };
    format!("{file}:{position}: {}", fault.message)
}

/// Returns the error for a request about a dataset whose entry has errors.
fn faulty(entry: &BrokenEntry) -> Error {
    Error::config(format!(
        "dataset {:?} is skipped, because its entry has errors; its live table stays as it is until they are corrected:\n{}",
        entry.name,
        entry.faults.join("\n")
    ))
}
