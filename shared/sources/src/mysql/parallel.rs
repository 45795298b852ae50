//! Reads a table over several connections. Each takes the next range of the table when it has read one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::{decode::Decoder, describe, parts, rows, server::Server, session::Session, shared_snapshot};
use crate::{
    background,
    context::{Context, Opened},
    unrepresentable::Part,
};
use turntable_core::{config::Mysql, error::Result, manifest::TypedBy};
use turntable_parquet::Rows;

/// Starts reading the query's rows, each connection from its own snapshot.
pub async fn open(options: &Mysql, context: &Context) -> Result<Opened> {
    let server = Arc::new(Server::from_options(options, context).await?);
    let mut first = Session::connect(&server).await?;
    let split = parts::check(first.conn()?, &server, options).await?;
    let described = describe::describe(first.conn()?, &server, &options.query, &options.allow_warnings).await?;
    let queries: VecDeque<String> = parts::queries(first.conn()?, &server, options, &split).await?.into();
    let (count, how) = (options.parallel, options.snapshot);
    let sessions = shared_snapshot::sessions(&server, first, count, how, &split.table).await?;
    let as_of = sessions.iter().map(|session| session.as_of).min().unwrap_or(context.now);
    let schema = Arc::new(described.schema());
    let unrepresentable = context.unrepresentable(&schema);
    let queries = Arc::new(Mutex::new(queries));
    let (of, mut streams) = (sessions.len(), Vec::new());
    for mut session in sessions {
        let part = Part { number: streams.len() + 1, of };
        let mut decoder = Decoder::new(schema.clone(), described.formats(), unrepresentable.clone(), part);
        let (server, queries, allowed) = (server.clone(), queries.clone(), options.allow_warnings.clone());
        streams.push(background::batches("reading rows from MySQL", async move |sender| {
            let next = || queries.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(query) = next() {
                let part = describe::describe(session.conn()?, &server, &query, &allowed).await?;
                rows::read(&server, &mut session, part.statement, &mut decoder, &allowed, &sender).await?;
            }
            rows::finish(decoder, &sender).await?;
            session.end().await;
            Ok(())
        }));
    }
    let rows = Rows { schema, copies: Vec::new(), streams };
    let is_unverified = server.unverified().is_some();
    Ok(Opened { rows, as_of, typed_by: TypedBy::Source, unrepresentable, is_unverified, objects: Vec::new() })
}
