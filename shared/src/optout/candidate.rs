//! Prepares the next generation: determines the key's types, reads the records to merge in addition to the drops, and
//! makes the manifest.

use jiff::Timestamp;

use super::{file, options::RefreshOptions};
use crate::{environment::Environment, publish::published};
use turntable_core::{
    config::{Dataset, Inbox, OnUnrepresentable},
    consent::key::{Key, Type},
    decision::Live,
    error::{Error, Result},
    layout::{Generation, Location},
    manifest::{self, Contents, Identity, Manifest, Merge, TypedBy},
    optout::consumed,
    table::TableVersion,
};
use turntable_sources::{
    Context,
    inbox::{self, Limits, Listing, ParsedDrop, Read, Reader, Rejects},
};

/// Returns the key's columns and their types: the declared types or, if there are none, the types in the live table.
/// Fails if there is no live table either.
pub fn key(dataset: &Dataset, inbox: &Inbox, table: Option<&TableVersion>) -> Result<Key> {
    if let Some(types) = &inbox.types {
        return Ok(types.clone());
    }
    let path = format!("datasets.{}.source.inbox", dataset.name);
    let Some(table) = table else {
        return Err(Error::config(format!(
            "{path}: the key's type is unknown: declare columns = {{ {} = \"bigint\" }}, or create the table {} first",
            inbox.key.join(" = \"bigint\", "),
            dataset.table
        )));
    };
    let columns = &table.columns;
    let typed = |name: &String| {
        let column = columns.iter().find(|column| column.name == *name);
        let fault = |found: &str| Error::config(format!("{path}: {} {found} {name:?}", dataset.table));
        let column = column.ok_or_else(|| fault("has no column"))?;
        let kind = Type::of(&column.glue_type)
            .ok_or_else(|| fault("has a type other than bigint, int or string in column"))?;
        Ok((name.clone(), kind))
    };
    Ok(Key { columns: inbox.key.iter().map(typed).collect::<Result<_>>()? })
}

/// Returns whether drops can be merged into live's buckets: live is a merge, and its keys have the same columns, types
/// and normalization as the drops' keys.
pub fn has_mergeable_buckets(live: &Manifest, inbox: &Inbox, key: &Key) -> bool {
    let same_normalization = |merge: &Merge| merge.normalize == inbox.normalize.steps();
    live.merge.as_ref().is_some_and(same_normalization) && live.columns == file::columns(key)
}

/// Reads the records to merge in addition to the drops: all rows at `live`, which is set only if live's buckets can't
/// be merged; all rows in the generations `elsewhere`; and, if `ask.reconcile` is set, all rows in the `reconcile`
/// source.
pub async fn more(
    env: &Environment,
    dataset: &Dataset,
    inbox: &Inbox,
    ask: &RefreshOptions,
    reader: &Reader,
    live: Option<Location>,
    elsewhere: &[Location],
) -> Result<ParsedDrop> {
    let mut all = ParsedDrop { records: reader.spill_buffer(), rejects: Rejects::default(), opts_in: false };
    let mut tables = Vec::new();
    for location in elsewhere {
        tables.push((location.clone(), published::generation(env, inbox, location).await?.1));
    }
    if let Some(location) = live.filter(|live| !elsewhere.contains(live)) {
        let files = inbox::list(&*env.objects, &location).await?;
        tables.push((location, files));
    }
    for (location, files) in tables {
        let (records, reads) = inbox::read(&env.objects, reader, files, &Limits::none()).await?;
        if let Some(read) = reads.iter().find(|read| read.rejects.count > 0) {
            let count = read.rejects.count;
            return Err(Error::input(format!(
                "{}: {count} records are not valid opt-outs, and the merge would lose them: correct them, or give the \
                 dataset another table",
                location.key(&read.drop.key)
            )));
        }
        all.records.extend(records);
    }
    if ask.reconcile {
        let path = format!("datasets.{}.source.inbox.reconcile", dataset.name);
        let source = inbox
            .reconcile
            .as_ref()
            .ok_or_else(|| Error::config(format!("{path} is not set: set it to the table to reconcile with")))?;
        let context = Context {
            objects: env.objects.clone(),
            secrets: ask.secrets.clone(),
            iam: ask.iam.clone(),
            now: reader.now,
            table: dataset.table.clone(),
            on_unrepresentable: OnUnrepresentable::Error,
            copies: None,
        };
        for batches in turntable_sources::open(source, &context).await?.rows.streams {
            let said = inbox::records(&path, batches, reader).await?;
            all.records.extend(said.records);
            all.rejects.count += said.rejects.count;
        }
    }
    Ok(all)
}

/// The contents of the next generation's manifest, except its files.
pub struct CandidateManifest<'a> {
    pub dataset: &'a Dataset,
    pub inbox: &'a Inbox,
    pub generation: Generation,
    pub as_of: Timestamp,
    pub key: &'a Key,
    pub base: Option<&'a Manifest>,
    pub live: &'a Live,
    /// The generations that the inbox has published but that the base lacks. This generation includes them.
    pub elsewhere: &'a [Location],
}

impl CandidateManifest<'_> {
    /// Returns the manifest for `files`. `listed` are the drops in the inbox, as far as they were listed, and `reads` are
    /// the ones that this refresh has read.
    pub fn complete(
        &self,
        files: Vec<manifest::File>,
        buckets: u32,
        listed: &Listing,
        reads: &[Read],
        now: Timestamp,
    ) -> Manifest {
        let read = reads.iter().map(|read| read.drop.clone());
        let reaches = |drop: &manifest::InboxObject| listed.reaches(&self.inbox.location, drop);
        let consumed = consumed::consumed(self.base, self.generation, (&listed.drops, reaches), read);
        let identity = Identity {
            dataset: self.dataset.name.clone(),
            generation: self.generation,
            location: self.dataset.paths.generation(&self.generation),
            base: self.live.location(&self.dataset.paths),
            as_of: self.as_of,
            spec: self.dataset.spec.clone(),
            inputs: Default::default(),
        };
        let contents = Contents {
            typed_by: TypedBy::Declared,
            columns: file::columns(self.key),
            partitions: Vec::new(),
            files,
            nulled: Default::default(),
            missing: Default::default(),
            ignored: Default::default(),
        };
        let mut includes =
            self.base.and_then(|base| base.merge.as_ref()).map_or(Vec::new(), |merge| merge.includes.clone());
        let foreign = |location: &&Location| self.dataset.paths.parse_generation(location).is_none();
        includes.extend(self.elsewhere.iter().filter(foreign).cloned());
        includes.sort_unstable();
        includes.dedup();
        let normalize = self.inbox.normalize.steps().to_vec();
        let merge = Some(Merge { buckets, consumed, includes, normalize });
        Manifest { merge, ..Manifest::new(identity, contents, now) }
    }
}
