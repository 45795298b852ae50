//! Defines the command line, and runs its commands.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{
    ask::ask,
    change::{Action, change},
    check::Check,
    console,
    diff::diff,
    doctor::doctor,
    done::Done,
    export::export,
    history::history,
    new_dataset::New,
    query::{Query, query},
    status::status,
    style::Style,
    sweep::{Sweep, sweep},
    target::{Format, Function, Output, Target},
    trouble::explained,
    watch::watch,
};

/// Keeps Athena tables fresh without downtime.
///
/// The commands use the local stack that `turntable up` runs. With --aws, they use a stack in AWS.
#[derive(Debug, Parser)]
#[command(name = "turntable", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  turntable demo                                    run the whole chain on this machine
  turntable new postgres://… --all > datasets.toml  write a datasets.toml for a database
  turntable check datasets.toml                     find its errors
  turntable up datasets.toml                        keep a local stack running
  turntable export users                            build and publish a table now
  turntable status --aws                            show what needs a person
  turntable console --aws                           show all this in a browser
  turntable rollback users --reason 'wrong prices'  go back to the generation before

Exit codes:
  0  done
  1  something needs a person: a request failed, or a check or a status found something
  2  the command line is wrong, or nobody can be asked: pass --yes
  3  no stack could be asked: no stack, no credentials, no network";

const REASON: &str = "Why, for the flip record and for other people";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole chain on this machine, on an emulated AWS: three days, a bad export, a rollback, an opt-out
    #[cfg(feature = "emulator")]
    Demo(Output),
    /// Keep a local stack running until Ctrl-C, with nothing exported yet
    #[cfg(feature = "emulator")]
    Up {
        /// The datasets.toml. Without it, the sample's. ${NAME} comes from the environment; ${BUCKET} is the stack's bucket
        file: Option<std::path::PathBuf>,
        /// The stack's name, so that several can run at once
        #[arg(long, value_name = "NAME", env = "TURNTABLE_STACK", default_value = crate::laptop::STACK)]
        stack: String,
        #[command(flatten)]
        output: Output,
    },
    /// Run a datasets.toml once through the whole chain on this machine
    #[cfg(feature = "emulator")]
    Run {
        /// The datasets.toml. ${NAME} comes from the environment; ${BUCKET} is the stack's bucket. The folder `bucket` next
        /// to the file is uploaded first
        file: std::path::PathBuf,
        /// Print the functions' log lines about what failed
        #[arg(long)]
        logs: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Report all errors in a datasets.toml and show the tables that it makes; starts and changes nothing
    Check(Check),
    /// Write a datasets.toml that publishes tables of a database
    New(New),
    /// Check a deployed stack and its account; changes nothing
    Doctor(Asked),
    /// Show the state of all datasets, or of one, and what needs a person
    Status {
        /// The dataset
        dataset: Option<String>,
        /// Ask again every few seconds, until Ctrl-C
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "5",
              value_parser = clap::value_parser!(u64).range(1..))]
        watch: Option<u64>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Serve a web page that shows all this, on this machine only, until Ctrl-C
    Console {
        #[command(flatten)]
        options: console::Options,
        #[command(flatten)]
        target: Target,
    },
    /// Show the generations of a dataset, newest first
    History {
        /// The dataset
        dataset: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Compare two generations of a dataset: rows, bytes, columns, nulls, smallest and largest values
    Diff {
        /// The dataset
        dataset: String,
        /// The generation before; without both, what is live is compared with what was live before
        #[arg(requires = "to")]
        from: Option<String>,
        /// The generation after
        to: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Build the next generation of datasets now; waits if there is only one
    Export {
        /// The datasets
        #[arg(value_name = "DATASET", required_unless_present = "all")]
        datasets: Vec<String>,
        /// Export all datasets
        #[arg(long, conflicts_with = "datasets")]
        all: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Make a generation live
    Flip {
        /// The dataset
        dataset: String,
        /// The generation, such as green-01JD675EJRSSKNZWWST95906C6
        generation: String,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        asked: Asked,
    },
    /// Go back to the generation that was live before, or to another one
    Rollback {
        /// The dataset
        dataset: String,
        /// The generation to go to
        generation: Option<String>,
        #[arg(long, help = REASON)]
        reason: Option<String>,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        asked: Asked,
    },
    /// Keep a dataset from flipping until it is released
    Hold {
        /// The dataset
        dataset: String,
        #[arg(long, help = REASON)]
        reason: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Let a held dataset flip again
    Release {
        /// The dataset
        dataset: String,
        #[arg(long, help = REASON)]
        reason: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Delete what no reader can reach any more, or show what would be deleted
    Sweep {
        /// The dataset; otherwise all
        dataset: Option<String>,
        /// Delete nothing; show what would be deleted
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        asked: Asked,
    },
    /// Run a statement in Athena
    Query {
        /// One statement, such as "SELECT count(*) FROM dmp.users"
        sql: String,
        /// Run a statement that changes data, too
        #[arg(long)]
        write: bool,
        /// The workgroup in AWS
        #[arg(long, default_value = "primary", value_name = "NAME")]
        workgroup: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Send any request to a function, and print its answer as JSON
    Ask {
        /// The function
        function: Function,
        /// The request, such as '{"dataset": "users", "action": "status"}'
        request: String,
        #[command(flatten)]
        target: Target,
    },
    /// Print a completion script for a shell, or the manual
    #[command(subcommand)]
    Generate(crate::generate::Generate),
}

/// The stack, and how to print its answer.
#[derive(Debug, Args)]
pub struct Asked {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    target: Target,
}

impl Asked {
    fn format(&self) -> Format {
        self.output.output
    }
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Yes {
    /// Don't ask before the change
    #[arg(short, long)]
    yes: bool,
}

impl Command {
    /// Runs the command. The futures are boxed because some are large.
    pub async fn run(self) -> Result<Done> {
        match self {
            #[cfg(feature = "emulator")]
            Command::Demo(Output { output }) => Box::pin(crate::emulated::demo(output)).await,
            #[cfg(feature = "emulator")]
            Command::Up { file, stack, output } => Box::pin(crate::emulated::up(file, &stack, output.output)).await,
            #[cfg(feature = "emulator")]
            Command::Run { file, logs, output } => Box::pin(crate::emulated::run(file, logs, output.output)).await,
            Command::Check(check) => Box::pin(check.run()).await,
            Command::New(new) => Box::pin(new.run()).await,
            Command::Generate(what) => what.run(Cli::command()),
            asking => Box::pin(asking.ask()).await,
        }
    }

    /// Runs a command that asks a stack.
    async fn ask(self) -> Result<Done> {
        match self {
            Command::Doctor(asked) => diagnosed(&asked).await,
            Command::Status { dataset, watch: Some(seconds), asked } => {
                watch(Duration::from_secs(seconds), async || {
                    status(&asked.target, dataset.as_deref(), asked.format(), Style::of_stdout()).await
                })
                .await
            }
            Command::Status { dataset, watch: None, asked } => {
                status(&asked.target, dataset.as_deref(), asked.format(), Style::of_stdout()).await
            }
            Command::Console { options, target } => Box::pin(console::console(&target, &options)).await,
            Command::History { dataset, asked } => history(&asked.target, &dataset, asked.format()).await,
            Command::Diff { dataset, from, to, asked } => {
                let pair = from.as_deref().zip(to.as_deref());
                Box::pin(diff(&asked.target, &dataset, pair, asked.format())).await
            }
            Command::Export { datasets, all, asked } => {
                export(&asked.target, (!all).then_some(&datasets), asked.format()).await
            }
            Command::Sweep { dataset, dry_run, yes, asked } => {
                let wanted = Sweep { dataset: dataset.as_deref(), dry_run, yes: yes.yes };
                sweep(&asked.target, &wanted, asked.format()).await
            }
            Command::Query { sql, write, workgroup, asked } => {
                let wanted = Query { sql: &sql, write, workgroup: &workgroup };
                Box::pin(query(&asked.target, &wanted, asked.format())).await
            }
            Command::Ask { function, request, target } => ask(&target, function, &request).await,
            changing => Box::pin(changing.change()).await,
        }
    }

    /// Runs a command that changes what is live, or whether it may change.
    async fn change(self) -> Result<Done> {
        let (dataset, action, yes, asked) = match self {
            Command::Flip { dataset, generation, yes, asked } => (dataset, Action::Flip { generation }, yes.yes, asked),
            Command::Rollback { dataset, generation, reason, yes, asked } => {
                (dataset, Action::Rollback { generation, reason }, yes.yes, asked)
            }
            Command::Hold { dataset, reason, asked } => (dataset, Action::Hold { reason }, true, asked),
            Command::Release { dataset, reason, asked } => (dataset, Action::Release { reason }, true, asked),
            _ => return Ok(Done::default()),
        };
        change(&asked.target, &dataset, &action, yes, asked.format()).await
    }
}

async fn diagnosed(asked: &Asked) -> Result<Done> {
    let place = asked.target.place().await?;
    // Boxed, because the future is large.
    let report = Box::pin(doctor(&asked.target.stack, &place)).await;
    let report = report.map_err(|error| explained(error, &asked.target.stack))?;
    let text = match asked.format() {
        Format::Json => format!("{}\n", serde_json::to_string(&report)?),
        Format::Table => report.shown(),
    };
    Ok(Done::with(text).needing_a_person(report.has_faults()))
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;
    use crate::generate::Generate;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_aws_need_aws() {
        let parse = |words: &str| Cli::try_parse_from(words.split(' '));
        assert!(parse("turntable status --profile p").is_err());
        assert!(parse("turntable status users --aws --profile p --region r --stack s -o json").is_ok());
        assert!(parse("turntable export").is_err() && parse("turntable export --all").is_ok());
        assert!(parse("turntable hold users").is_err(), "a hold needs a reason");
    }

    #[test]
    fn completions_and_the_manual_name_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = Generate::Completion { shell }.run(Cli::command()).unwrap().out;
            assert!(text.contains("rollback") && text.contains("status"), "{shell}");
        }
        let manual = Generate::Man.run(Cli::command()).unwrap().out;
        assert!(manual.contains(".TH") && manual.contains("turntable\\-rollback"), "{manual}");
    }
}
