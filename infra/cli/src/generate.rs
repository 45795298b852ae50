//! `generate`: prints completion scripts and the manual.

use anyhow::Result;
use clap::{Command, Subcommand};
use clap_complete::Shell;

use crate::done::Done;

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Generate {
    /// Print a completion script: source <(turntable generate completion bash)
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page: turntable generate man | man -l -
    Man,
}

impl Generate {
    /// Prints the script or manual for `command`, the whole command line.
    pub fn run(self, mut command: Command) -> Result<Done> {
        let mut text = Vec::new();
        match self {
            Generate::Completion { shell } => {
                clap_complete::generate(shell, &mut command, "turntable", &mut text);
            }
            Generate::Man => clap_mangen::Man::new(command).render(&mut text)?,
        }
        Ok(Done::with(String::from_utf8(text)?))
    }
}
