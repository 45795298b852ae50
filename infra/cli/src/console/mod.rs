//! `console`: a web page for operators, served on this machine only.
//!
//! | module | purpose |
//! |---|---|
//! | [`server`] | answers the browser's requests, and ends with the command |
//! | [`guard`] | refuses every request that the console's own page has not sent |
//! | [`assets`] | the page itself |
//! | [`stack`] | asks the stack's functions, and reads the records in its bucket |
//! | [`records`] | reads manifests, verdicts and flip records |
//! | [`overview`], [`dataset`], [`configuration`] | the data of the views |
//! | `attacks` | tests the server against foreign pages |
//! | [`redacted`] | hides passwords in the configuration |
//! | [`actions`] | what a person may do, what it would change, and doing it |
//!
//! The browser gets names, counts, times and messages, but never a row's values and no credentials: only this process
//! signs requests.

pub mod actions;
pub mod assets;
#[cfg(test)]
mod attacks;
pub mod configuration;
pub mod dataset;
pub mod guard;
pub mod overview;
pub mod records;
pub mod redacted;
pub mod server;
pub mod stack;

use std::{
    fs::File,
    io::{Read, Write, stdout},
};

use anyhow::{Context, Result};
use clap::Args;
use tokio::net::TcpListener;

use self::{guard::Guard, server::Server};
use crate::{done::Done, target::Target};

/// The options of the command `console`.
#[derive(Debug, Args)]
pub struct Options {
    /// The port on 127.0.0.1; otherwise a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Let the page roll back, flip, hold, release, export, and let people return; otherwise it is read-only
    #[arg(long)]
    pub allow_actions: bool,
}

/// Serves the page until the future is dropped. Fails if no stack can be reached.
pub async fn console(target: &Target, options: &Options) -> Result<Done> {
    let port = options.port;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| match port {
        0 => "cannot listen on 127.0.0.1".to_owned(),
        _ => format!("cannot listen on 127.0.0.1:{port}: choose another --port, or none for a free one"),
    })?;
    let guard = Guard::new(listener.local_addr()?.port(), token()?, options.allow_actions);
    let text = greeting(&guard, options.allow_actions);
    let server = Server::connect(target.clone(), guard).await?;
    let mut out = stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
    server.serve(listener).await?;
    Ok(Done::default())
}

/// Returns what the command prints: the page's address, which nobody else may see.
fn greeting(guard: &Guard, allow_actions: bool) -> String {
    let may = match allow_actions {
        true => "The page may change what is live. Each change is printed here.",
        false => "The page only shows. To act from it, pass --allow-actions.",
    };
    format!(
        "\n  {}\n\nOpen this address in a browser on this machine. It contains a secret: don't share it.\n{may}\nCtrl-C ends the \
         console.\n",
        guard.url()
    )
}

/// Returns 256 random bits in hex.
fn token() -> Result<String> {
    let mut bytes = [0_u8; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("cannot read random bytes from /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, other) = (token().unwrap(), token().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }

    #[test]
    fn the_secret_is_in_the_fragment_which_browsers_do_not_send() {
        let guard = Guard::new(4000, "secret".into(), false);
        let text = greeting(&guard, false);
        assert!(text.contains("\n  http://127.0.0.1:4000/#token=secret\n"), "{text}");
        assert!(text.contains("--allow-actions") && !greeting(&guard, true).contains("--allow-actions"));
    }
}
