//! `generate`: prints completion scripts and the manual.

use anyhow::Result;
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

use crate::{command::Cli, done::Done};

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
    pub fn run(self) -> Result<Done> {
        let mut text = Vec::new();
        match self {
            Generate::Completion { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "turntable", &mut text);
            }
            Generate::Man => clap_mangen::Man::new(Cli::command()).render(&mut text)?,
        }
        Ok(Done::with(String::from_utf8(text)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_and_the_manual_name_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = Generate::Completion { shell }.run().unwrap().out;
            assert!(text.contains("rollback") && text.contains("status"), "{shell}");
        }
        let manual = Generate::Man.run().unwrap().out;
        assert!(manual.contains(".TH") && manual.contains("turntable\\-rollback"), "{manual}");
    }
}
