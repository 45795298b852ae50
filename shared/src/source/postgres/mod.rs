//! PostgreSQL: `COPY (query) TO STDOUT (FORMAT binary)`, decoded straight into Arrow.

use super::{Context, Opened};
use crate::{
    config::Postgres,
    error::{Error, Result},
};

pub async fn open(_options: &Postgres, _context: &Context) -> Result<Opened> {
    Err(Error::unavailable("not there yet"))
}
