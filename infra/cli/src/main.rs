//! The program `turntable`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};
use cli::{
    command::{Cli, Command},
    done::{Done, code},
    trouble::NoAnswer,
};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(command) = Cli::parse().command.or_else(without_a_command) else {
        let help = Cli::command().render_help().to_string();
        return Done { err: help, code: code::USAGE, ..Done::default() }.print();
    };
    let ends_by_signal = ends_by_signal(&command);
    // On a signal, the command is dropped, which ends all its child processes.
    tokio::select! {
        result = Box::pin(command.run()) => result.unwrap_or_else(|error| failed(&error)).print(),
        result = interrupted() => match result {
            Ok(()) if ends_by_signal => code::DONE.into(),
            Ok(()) => code::INTERRUPTED.into(),
            Err(error) => failed(&error.into()).print(),
        },
    }
}

/// Returns the command to run if none is given, as with `cargo run` in a clone. Elsewhere, the help is printed.
fn without_a_command() -> Option<Command> {
    #[cfg(feature = "emulator")]
    if cli::workspace::target().is_ok() {
        return Some(Command::Demo(cli::target::Output { output: cli::target::Format::Table }));
    }
    None
}

/// Returns whether a signal is the normal way to end the command.
fn ends_by_signal(command: &Command) -> bool {
    #[cfg(feature = "emulator")]
    if matches!(command, Command::Up { .. }) {
        return true;
    }
    matches!(command, Command::Console { .. })
}

fn failed(error: &anyhow::Error) -> Done {
    let code = if error.is::<NoAnswer>() { code::NO_ANSWER } else { code::NEEDS_A_PERSON };
    Done { err: format!("error: {}\n", text(error)), code, ..Done::default() }
}

/// Returns the error and its causes on one line. AWS's SDK reports some causes twice in a row, so the second one is left
/// out.
fn text(error: &anyhow::Error) -> String {
    let mut texts: Vec<String> = error.chain().map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

/// Waits for SIGINT, SIGTERM or SIGHUP.
async fn interrupted() -> io::Result<()> {
    let (mut interrupt, mut terminate, mut hangup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    // Start a new line, so that the shell's prompt isn't printed after the output.
    let _ = writeln!(io::stderr());
    Ok(())
}
