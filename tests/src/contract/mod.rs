//! The behaviour of AWS that Turntable relies on, as one suite of clauses about S3, the Glue Data Catalog, Athena and
//! EventBridge. The suite runs against the in-memory implementations, two emulators, and AWS itself.
//!
//! A clause states what AWS documents. Where an emulator breaks a clause, a [`Difference`] names the clause, the
//! symptom and the source. A recorded difference that no longer shows is a failure too.

pub mod account;
mod catalog;
mod cloud;
pub mod differences;
mod events;
mod fields;
mod objects;
mod policy;
mod queries;
mod report;
mod subscription;
mod writes;

use std::{sync::Arc, time::Instant};

use cli::aws::SdkConfig;
use futures::future::BoxFuture;
use turntable::{
    aws::{
        glue::{Glue, GlueApi},
        s3::S3,
    },
    layout::{Location, TableName},
    port::Objects,
};

pub use self::{
    cloud::Cloud,
    report::{Outcome, Report},
};
use crate::{catalog as memory_catalog, memory};

/// An implementation under test, and the buckets and databases that the suite uses in it.
pub struct Subject {
    pub objects: Arc<dyn Objects>,
    pub catalog: Arc<dyn GlueApi>,
    /// An empty bucket.
    pub bucket: String,
    /// A bucket that doesn't exist.
    pub no_bucket: String,
    /// An empty Glue database.
    pub database: String,
    /// A Glue database that doesn't exist.
    pub no_database: String,
    pub region: String,
    behind: Behind,
    /// The clients for the clauses about queries and policies. `None` skips these clauses.
    cloud: Option<Cloud>,
}

/// The implementation itself, for what the suite needs beyond the ports.
enum Behind {
    Memory(Arc<memory_catalog::Memory>),
    Glue(aws_sdk_glue::Client),
}

impl Subject {
    pub fn memory() -> Subject {
        let catalog = Arc::new(memory_catalog::Memory::default());
        Subject {
            objects: Arc::new(memory::Objects::default()),
            catalog: catalog.clone(),
            bucket: "lake".into(),
            no_bucket: memory::NO_BUCKET.into(),
            database: "dmp".into(),
            no_database: memory_catalog::NO_DATABASE.into(),
            region: String::new(),
            behind: Behind::Memory(catalog),
            cloud: None,
        }
    }

    /// Returns AWS or an emulator, called through Turntable's own clients.
    pub fn aws(aws: &SdkConfig, bucket: &str, database: &str, cloud: Option<Cloud>) -> Subject {
        Subject {
            objects: Arc::new(S3::new(aws)),
            catalog: Arc::new(Glue::new(aws)),
            bucket: bucket.into(),
            no_bucket: format!("{bucket}-not-there"),
            database: database.into(),
            no_database: format!("{database}_not_there"),
            region: aws.region().map(ToString::to_string).unwrap_or_default(),
            behind: Behind::Glue(aws_sdk_glue::Client::new(aws)),
            cloud,
        }
    }

    /// Returns the folder that a clause has to itself.
    fn folder(&self, name: &str) -> Location {
        Location { bucket: self.bucket.clone(), prefix: format!("{name}/") }
    }

    fn s3(&self) -> &aws_sdk_s3::Client {
        &self.cloud.as_ref().expect("clauses about policies need S3's own client").s3
    }

    fn table(&self, name: &str) -> TableName {
        TableName { database: self.database.clone(), table: name.into() }
    }
}

/// One promise by AWS, as a function that panics when the promise is broken.
pub struct Clause {
    pub name: &'static str,
    holds: fn(Arc<Subject>) -> BoxFuture<'static, ()>,
}

/// Builds a module's list of clauses from the names of their functions.
macro_rules! clauses {
    ($($name:ident)*) => {
        pub(super) const CLAUSES: &[super::Clause] =
            &[$(super::Clause { name: stringify!($name), holds: |subject| Box::pin($name(subject)) }),*];
    };
}
use clauses;

/// Returns all clauses, in the order in which they are checked.
pub fn all() -> impl Iterator<Item = &'static Clause> {
    of_ports().chain(of_clouds())
}

/// Returns the clauses about Turntable's ports.
fn of_ports() -> impl Iterator<Item = &'static Clause> {
    [objects::CLAUSES, writes::CLAUSES, catalog::CLAUSES, fields::CLAUSES].into_iter().flatten()
}

/// Returns the clauses that need a [`Cloud`].
fn of_clouds() -> impl Iterator<Item = &'static Clause> {
    [queries::CLAUSES, policy::CLAUSES, events::CLAUSES].into_iter().flatten()
}

/// A clause that an emulator is known to break.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    pub clause: &'static str,
    /// A part of the clause's panic message. A failure with another message is a fault.
    pub shows: &'static str,
    /// The emulator's behaviour, and where its source or AWS's documentation shows it.
    pub source: &'static str,
}

/// Checks every clause that can run on the subject: those that need a [`Cloud`] run only if it has one. There are no
/// faults if exactly the clauses with a known difference fail, each with the message that its difference expects.
pub async fn judge(subject: Subject, differences: &[Difference]) -> Report {
    let subject = Arc::new(subject);
    let others = differences
        .iter()
        .filter(|difference| all().all(|clause| clause.name != difference.clause))
        .map(|difference| format!("{}: no such clause", difference.clause))
        .collect();
    let mut report = Report { outcomes: Vec::new(), others };
    for clause in of_ports().chain(of_clouds().filter(|_| subject.cloud.is_some())) {
        let started = Instant::now();
        // Each clause runs in its own task, so that a panic ends only that task.
        let broken = tokio::spawn((clause.holds)(subject.clone())).await.err().map(said);
        let known = differences.iter().find(|difference| difference.clause == clause.name);
        report.outcomes.push(Outcome {
            clause: clause.name,
            fault: fault(clause.name, broken, known),
            differs: known.map(|known| known.source),
            took: started.elapsed(),
        });
    }
    report
}

fn fault(name: &str, broken: Option<String>, known: Option<&Difference>) -> Option<String> {
    match (broken, known) {
        (None, None) => None,
        (Some(said), Some(known)) if said.contains(known.shows) => None,
        (Some(said), Some(known)) => {
            Some(format!("{name} differs in another way than listed ({:?}): {said}", known.shows))
        }
        (Some(said), None) => Some(format!("{name} does not hold: {said}")),
        (None, Some(known)) => {
            Some(format!("{name} holds: the difference is gone, take it from the list ({})", known.source))
        }
    }
}

/// Returns a panic's message.
fn said(error: tokio::task::JoinError) -> String {
    let payload = match error.try_into_panic() {
        Ok(payload) => payload,
        Err(error) => return error.to_string(),
    };
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Difference = Difference { clause: "copies", shows: "501", source: "its documentation" };

    #[test]
    fn a_clause_fails_if_it_is_unlisted_differs_otherwise_or_holds_after_all() {
        let told = |broken: Option<&str>, known| fault("copies", broken.map(str::to_owned), known);
        assert_eq!(told(None, None), None);
        assert_eq!(told(Some("status 501"), Some(&KNOWN)), None);
        assert_eq!(told(Some("status 501"), None).unwrap(), "copies does not hold: status 501");
        assert_eq!(
            told(Some("status 400"), Some(&KNOWN)).unwrap(),
            "copies differs in another way than listed (\"501\"): status 400"
        );
        assert_eq!(
            told(None, Some(&KNOWN)).unwrap(),
            "copies holds: the difference is gone, take it from the list (its documentation)"
        );
    }

    #[tokio::test]
    async fn a_difference_that_names_no_clause_is_a_fault() {
        let unknown = Difference { clause: "no_such_clause", ..KNOWN };
        assert_eq!(judge(Subject::memory(), &[unknown]).await.faults(), ["no_such_clause: no such clause"]);
    }
}
