//! Converts text from the database's encoding to UTF-8.
//!
//! If the server converted it during the COPY, a value without a UTF-8 form would abort the COPY without naming its
//! column. So the server sends text as it is stored. When a character is first seen, the server converts it on a
//! separate connection.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    thread::{self, Thread},
};

use tokio_postgres::error::SqlState;

use super::{copy::Conversion, failure, link::Link, server::Server};
use turntable_core::error::{Error, Result};

/// Stands in for a character without a UTF-8 form. No valid UTF-8 contains this byte, so the value is reported.
const INVALID: u8 = 0xff;

/// Returns the conversion for text in this database encoding. `link` is a connection that has no transaction.
pub fn conversion(server: Arc<Server>, link: Link, encoding: String) -> Conversion {
    let mut known: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
    Box::new(move |column| {
        let mut unknown: BTreeSet<Vec<u8>> = BTreeSet::new();
        column.each_text(&mut |text| {
            unknown.extend(
                characters(&encoding, text).filter(|c| !c.is_ascii() && !known.contains_key(*c)).map(Vec::from),
            );
        });
        if !unknown.is_empty() {
            // The connection has its own thread, so waiting here can't keep the answer from arriving.
            let unknown: Vec<Vec<u8>> = unknown.into_iter().collect();
            block_on(convert(&link, &encoding, &unknown, &mut known))
                .map_err(|error| failure::error_of(&server, error))?;
        }
        let mut convert = |text: &[u8], out: &mut Vec<u8>| {
            for c in characters(&encoding, text) {
                match known.get(c) {
                    Some(Some(converted)) => out.extend_from_slice(converted),
                    Some(None) => out.push(INVALID),
                    None => out.extend_from_slice(c),
                }
            }
        };
        column.replace_texts(&mut convert).map_err(Error::corrupt)
    })
}

/// Runs a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Adds the characters to `known`, each with its UTF-8 form, or `None` if the server has none. One character without a
/// form makes the server reject all of them, so the batch is then split in half.
async fn convert(
    link: &Link,
    encoding: &str,
    characters: &[Vec<u8>],
    known: &mut HashMap<Vec<u8>, Option<Vec<u8>>>,
) -> Result<(), tokio_postgres::Error> {
    let sql = format!(
        "SELECT pg_catalog.convert(c, '{encoding}', 'UTF8') FROM pg_catalog.unnest($1::pg_catalog.bytea[]) WITH ORDINALITY \
         AS u(c, at) ORDER BY at"
    );
    let statement = link.client.prepare(&sql).await?;
    let mut groups = vec![characters];
    while let Some(group) = groups.pop() {
        match link.client.query(&statement, &[&group]).await {
            Ok(rows) => {
                for (c, row) in group.iter().zip(rows) {
                    known.insert(c.clone(), Some(row.try_get(0)?));
                }
            }
            Err(error) if is_without_form(&error) => match group {
                [one] => drop(known.insert(one.clone(), None)),
                _ => groups.extend(<[_; 2]>::from(group.split_at(group.len() / 2))),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_without_form(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| [SqlState::UNTRANSLATABLE_CHARACTER, SqlState::CHARACTER_NOT_IN_REPERTOIRE].contains(code))
}

/// Splits text into its characters. The last character may be incomplete.
fn characters<'a>(encoding: &'a str, mut text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    std::iter::from_fn(move || {
        let length = length(encoding, *text.first()?).min(text.len());
        let (c, rest) = text.split_at(length);
        text = rest;
        Some(c)
    })
}

/// Returns the number of bytes of the character that begins with this byte (`src/common/wchar.c`).
fn length(encoding: &str, first: u8) -> usize {
    match (encoding, first) {
        (_, ..0x80) => 1,
        ("EUC_JP" | "EUC_JIS_2004" | "EUC_KR" | "EUC_TW", 0x8f) => 3,
        ("EUC_TW", 0x8e) => 4,
        ("EUC_JP" | "EUC_JIS_2004" | "EUC_KR" | "EUC_TW" | "EUC_CN", _) => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_into_characters() {
        let of = |encoding, text: &[u8]| characters(encoding, text).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(of("EUC_JP", b"a\xc5\xcf\x8e\xb1\x8f\xb0\xa1b"), [1, 2, 2, 3, 1]);
        assert_eq!(of("EUC_TW", b"\x8e\xa2\xa1\xa1\xc4\xe3"), [4, 2]);
        assert_eq!(of("LATIN1", b"caf\xe9"), [1, 1, 1, 1]);
        assert_eq!(of("EUC_JP", b"a\x8f\xb0"), [1, 2]);
        assert_eq!(of("EUC_JP", b""), [0; 0]);
    }
}
