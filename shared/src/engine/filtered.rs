//! What an engine runs to build a filtered table: the query of the protected table's view.
//!
//! The query is taken from the view's definition and not read from the catalog. So a view that somebody else has changed
//! can't bring people back, even between the start of a run and the moment at which Athena reads the view. The run isn't
//! started unless the stored view matches its definition. Turntable doesn't write a view that would leave out fewer
//! people, so a filtered table isn't built from one either.

use std::{borrow::Cow, time::Duration};

use turntable_core::{
    config::{Athena, Dataset, Source},
    error::{Error, Result},
    optout::view::{View, protected_name},
    schema::Column,
};

use crate::{environment::Environment, publish::views};

/// How often the view is compared, and the pause in between. Right after a flip of the table or of an opt-out table, its
/// view is written again.
const MAX_COMPARISONS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(300);

/// Returns the dataset as it is built: a filtered table with its view's query, any other dataset as it is. Fails with
/// `Unavailable` if the view doesn't match its definition.
pub async fn resolved<'a>(env: &Environment, dataset: &'a Dataset) -> Result<Cow<'a, Dataset>> {
    let (Some(view), Source::Athena(athena)) = (view(env, dataset).await?, &dataset.source) else {
        return Ok(Cow::Borrowed(dataset));
    };
    let source = Source::Athena(Athena { query: view.query, ..athena.clone() });
    Ok(Cow::Owned(Dataset { source, ..dataset.clone() }))
}

/// Returns the columns of a filtered table, from which everybody may have opted out. Returns `None` for any other
/// dataset.
pub async fn columns(env: &Environment, dataset: &Dataset) -> Result<Option<Vec<Column>>> {
    Ok(view(env, dataset).await?.map(|view| view.columns))
}

async fn view(env: &Environment, dataset: &Dataset) -> Result<Option<View>> {
    let Some(of) = &dataset.filters else { return Ok(None) };
    for compared in 0..MAX_COMPARISONS {
        if compared > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(view) = views::matching_protected(env, of).await? {
            return Ok(Some(view));
        }
    }
    Err(Error::unavailable(format!(
        "{}: the view {} is missing or isn't what it should be, so nothing was built from it and live stays as it is: the \
         next scheduled refresh of the opt-outs restores the view, and the export is tried again",
        dataset.name,
        protected_name(&of.table)
    )))
}
