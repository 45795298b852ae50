//! Maintains all views that depend on one opt-out table.

use tracing::{error, info};
use turntable_core::{
    config::{Dataset, OptoutTable},
    error::{Error, Result},
    optout::view,
};

use crate::{
    environment::Environment,
    publish::{
        view_check::unchanged,
        views::{ViewChange, keep_active, keep_protected},
    },
};

/// The result of comparing one opt-out table's views with their definitions.
#[derive(Debug, Default)]
pub struct Kept {
    /// The views that were missing or different and have been written.
    pub written: Vec<ViewChange>,
    /// Why a view could not be written. The other views are not affected.
    pub faults: Vec<String>,
}

/// Updates the view that lists the people who are opted out, and each protected table's view, where they differ from
/// their definitions. `is_current` says whether the opt-out table has just taken in everything in its inbox.
pub async fn keep(env: &Environment, dataset: &Dataset, is_current: bool) -> Kept {
    let mut kept = Kept::default();
    let Some(optouts) = dataset.optouts() else { return kept };
    // If this fails, each view is compared by itself, which reports the fault.
    let right = unchanged(env, &optouts, &dataset.protects).await.unwrap_or_default();
    if !right.contains(&view::active_name(&optouts.table)) {
        kept.add(dataset, keep_active(env, &optouts, None).await);
    }
    for protected in dataset.protects.iter().filter(|of| !right.contains(&view::protected_name(&of.table))) {
        kept.add(dataset, keep_protected(env, protected, None, is_current.then_some(&optouts.table)).await);
    }
    kept
}

/// Makes each view expect at most `files` files in an opt-out table, before a flip to a generation that has fewer files
/// than the live one. Otherwise, queries would fail from the flip until the views are updated.
///
/// A view that can't be written is only reported: queries on it fail until it can be written, but opt-outs don't wait.
pub async fn expect_fewer_files(env: &Environment, dataset: &Dataset, optouts: &OptoutTable, files: u64) {
    let (mut kept, at_most) = (Kept::default(), Some((&optouts.table, files)));
    kept.add(dataset, keep_active(env, optouts, at_most).await);
    for protected in &dataset.protects {
        kept.add(dataset, keep_protected(env, protected, at_most, None).await);
    }
}

impl Kept {
    fn add(&mut self, dataset: &Dataset, kept: Result<Option<ViewChange>, Error>) {
        match kept {
            Ok(None) => {}
            Ok(Some(change)) => {
                info!(dataset = dataset.name, view = %change.view, replaced = change.replaced, "view written");
                self.written.push(change);
            }
            Err(fault) => {
                error!(
                    dataset = dataset.name,
                    kind = fault.kind().as_str(),
                    error = fault.report(),
                    "view not written"
                );
                self.faults.push(format!("views: {}", fault.message()));
            }
        }
    }
}
