//! How a command ends: what it prints, and the exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// The exit codes.
pub mod code {
    pub const DONE: u8 = 0;
    /// Something needs attention: the request failed or was refused, a check found errors, or a dataset needs attention.
    pub const NEEDS_A_PERSON: u8 = 1;
    /// The command line is wrong, or the command must ask for confirmation but standard input is not a terminal.
    pub const USAGE: u8 = 2;
    /// No stack could be reached: there is no stack, there are no credentials, or the network is down.
    pub const NO_ANSWER: u8 = 3;
    /// 128 + SIGINT, the code that shells report for Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
    /// 128 + SIGPIPE, the code of other programs when nobody reads their output.
    pub const BROKEN_PIPE: u8 = 141;
}

/// What a command prints, and its exit code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    pub code: u8,
}

impl Done {
    pub fn with(out: impl Into<String>) -> Done {
        Done { out: out.into(), ..Done::default() }
    }

    /// Sets the exit code: 1 if something needs attention, otherwise 0.
    pub fn needing_attention(mut self, needed: bool) -> Done {
        self.code = if needed { code::NEEDS_A_PERSON } else { code::DONE };
        self
    }

    /// Prints everything and returns the exit code.
    pub fn print(&self) -> ExitCode {
        self.write().map_or_else(ExitCode::from, |()| self.code.into())
    }

    /// Prints everything. Returns the exit code if that fails.
    pub fn write(&self) -> Result<(), u8> {
        match write(&mut io::stdout(), &self.out).and_then(|()| write(&mut io::stderr(), &self.err)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(code::BROKEN_PIPE),
            Err(error) => {
                // If standard error fails too, there is nowhere left to report it.
                let _ = writeln!(io::stderr(), "error: cannot print the result: {error}");
                Err(code::NEEDS_A_PERSON)
            }
        }
    }
}

fn write(to: &mut impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}
