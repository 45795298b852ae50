//! Defines the command line, and runs its commands.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{
    ask::ask,
    athena::Results,
    change::{Action, change},
    check::Check,
    console,
    diff::{Keys, diff},
    doctor::doctor,
    done::Done,
    export::export,
    history::history,
    new_dataset::New,
    old_table::{OldTable, Step, old_table},
    optout::{Optout, optout},
    query::{Query, query},
    status::status,
    style::Style,
    sweep::{Sweep, sweep},
    target::{Format, Function, Output, Target},
    watch::watch,
};

/// Keeps Athena tables fresh without downtime.
///
/// The commands use the local stack that `turntable up` runs. With --aws, they use a stack in AWS.
#[derive(Debug, Parser)]
#[command(name = "turntable", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The examples and the exit codes below the help. `$first` and `$up` are lines about commands that need the emulator.
macro_rules! after_help {
    ($first:literal, $up:literal) => {
        concat!(
            "Examples:\n",
            $first,
            "  turntable new postgres://… --all > datasets.toml  write a datasets.toml for a database\n",
            "  turntable check datasets.toml                     find its errors\n",
            $up,
            "  turntable export users                            build and publish a table now\n",
            "  turntable status --aws                            show what needs attention\n",
            "  turntable console --aws                           show all this in a browser\n",
            "  turntable rollback users --reason 'wrong prices'  go back to the previous generation\n",
            "\n",
            "Exit codes:\n",
            "  0  done\n",
            "  1  something needs attention: a request failed, or a check or a status found something\n",
            "  2  the command line is wrong, or there is no terminal to confirm a change: pass --yes\n",
            "  3  no stack could be reached: no stack, no credentials or no network"
        )
    };
}

#[cfg(feature = "emulator")]
const AFTER_HELP: &str = after_help!(
    "  turntable demo                                    run the whole chain on this machine\n",
    "  turntable up datasets.toml                        keep a local stack running\n"
);
#[cfg(not(feature = "emulator"))]
const AFTER_HELP: &str = after_help!("", "");

const REASON: &str = "Why; other people see it, and the flip record keeps it";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole chain on this machine with an emulated AWS: three days, a bad export, a rollback, an opt-out
    #[cfg(feature = "emulator")]
    Demo(Output),
    /// Keep a local stack running until Ctrl-C, with nothing exported yet
    #[cfg(feature = "emulator")]
    Up {
        /// The datasets.toml. Without it, the sample's. ${NAME} comes from the environment; ${BUCKET} is the stack's bucket
        file: Option<std::path::PathBuf>,
        /// The stack's name; choose different names to run several at once
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
    /// Write a datasets.toml that publishes tables in a database
    New(New),
    /// Check a deployed stack and its account; changes nothing
    Doctor(Asked),
    /// Show the state of all datasets, or of one, and what needs attention
    Status {
        /// The dataset
        dataset: Option<String>,
        /// Refresh the output every few seconds until Ctrl-C
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
    /// Show a dataset's generations, newest first
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
        /// The older generation; without FROM and TO, the live generation is compared with the previously live one
        #[arg(requires = "to")]
        from: Option<String>,
        /// The newer generation
        to: Option<String>,
        /// Count the keys that came and went, too. Athena reads these columns of both generations
        #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
        keys: Vec<String>,
        /// Show up to this many of the keys that came and of those that went. They may be personal
        #[arg(long, value_name = "NUMBER", requires = "keys", default_value_t = 0, hide_default_value = true)]
        show_keys: u32,
        /// The workgroup in AWS that compares the keys
        #[arg(long, default_value = "primary", value_name = "NAME")]
        workgroup: String,
        /// The folder in S3 for Athena's results, if the workgroup names none
        #[arg(long, value_name = "LOCATION", requires = "keys")]
        results: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Build the next generation of datasets now; for one dataset, waits until it is built
    Export {
        /// The datasets
        #[arg(value_name = "DATASET", required_unless_present = "all")]
        datasets: Vec<String>,
        /// Export all datasets, except inboxes and datasets that have their own `refresh`
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
    /// Go back to the previously live generation, or to another one
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
    /// Read an inbox now, and make what it says live; asks before it brings people back
    Optout {
        /// The inbox's dataset
        dataset: String,
        /// Compare with the whole `reconcile` source too
        #[arg(long)]
        reconcile: bool,
        /// Let this refresh bring back up to this many people, instead of the inbox's max_returning
        #[arg(long, value_name = "PEOPLE")]
        max_returning: Option<u64>,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        asked: Asked,
    },
    /// Keep or drop a table whose dataset is no longer in datasets.toml
    Retire {
        /// The dataset that published the table, or DATABASE.TABLE
        dataset: String,
        /// What to do with the table
        #[arg(long)]
        table: OldTable,
        #[command(flatten)]
        decision: Decision,
    },
    /// Stop publishing a table under its old name, and publish the one that datasets.toml names now
    Rename {
        /// The dataset
        dataset: String,
        /// The old table
        #[arg(long, value_name = "DATABASE.TABLE")]
        from: String,
        /// What to do with the old table
        #[arg(long)]
        table: OldTable,
        #[command(flatten)]
        decision: Decision,
    },
    /// Leave the location that datasets.toml had before
    Move {
        /// The dataset
        dataset: String,
        /// The old location, such as s3://BUCKET/PREFIX
        #[arg(long, value_name = "LOCATION")]
        from: String,
        #[command(flatten)]
        decision: Decision,
    },
    /// Delete what readers can no longer reach, or show what would be deleted
    Sweep {
        /// The dataset; by default, all datasets
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
        /// Also run statements that change data
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
    /// Don't ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

/// The options of a command that decides what happens to a table or a folder that datasets.toml no longer names.
#[derive(Debug, Args)]
pub struct Decision {
    #[arg(long, help = REASON)]
    reason: String,
    #[command(flatten)]
    yes: Yes,
    #[command(flatten)]
    asked: Asked,
}

impl Decision {
    async fn carry_out(&self, dataset: &str, step: &Step) -> Result<Done> {
        let Decision { reason, yes, asked } = self;
        Box::pin(old_table(&asked.target, dataset, step, (reason, yes.yes), asked.format())).await
    }
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

    /// Runs a command that sends requests to a stack.
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
            Command::Diff { dataset, from, to, keys, show_keys, workgroup, results, asked } => {
                let pair = from.as_deref().zip(to.as_deref());
                let results = results.map_or_else(|| asked.target.results(&workgroup), Results::In);
                let keys = (!keys.is_empty()).then_some(Keys { columns: &keys, show: show_keys, results: &results });
                Box::pin(diff(&asked.target, &dataset, pair, keys, asked.format())).await
            }
            Command::Export { datasets, all, asked } => {
                export(&asked.target, (!all).then_some(&datasets), asked.format()).await
            }
            Command::Sweep { dataset, dry_run, yes, asked } => {
                let wanted = Sweep { dataset: dataset.as_deref(), dry_run, yes: yes.yes };
                sweep(&asked.target, &wanted, asked.format()).await
            }
            Command::Optout { dataset, reconcile, max_returning, yes, asked } => {
                let wanted = Optout { dataset: &dataset, reconcile, max_returning, yes: yes.yes };
                optout(&asked.target, &wanted, asked.format()).await
            }
            Command::Retire { dataset, table, decision } => decision.carry_out(&dataset, &Step::Retire { table }).await,
            Command::Rename { dataset, from, table, decision } => {
                decision.carry_out(&dataset, &Step::Rename { from, table }).await
            }
            Command::Move { dataset, from, decision } => decision.carry_out(&dataset, &Step::Move { from }).await,
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
    let report = report.map_err(|error| asked.target.explained(error))?;
    let text = match asked.format() {
        Format::Json => format!("{}\n", serde_json::to_string(&report)?),
        Format::Table => report.shown(),
    };
    Ok(Done::with(text).needing_attention(report.has_faults()))
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
        assert!(parse("turntable retire users --table drop").is_err(), "so does the end of a table");
        assert!(parse("turntable retire users --table burn --reason r").is_err());
        assert!(parse("turntable move users --from s3://lake/a --reason r -y").is_ok());
        assert!(parse("turntable rename users --reason r --table keep").is_err(), "a rename needs the old table");
        assert!(parse("turntable diff users a b --show-keys 5").is_err(), "whose keys?");
        assert!(parse("turntable diff users --keys id,day --show-keys 5").is_ok());
        assert!(parse("turntable optout optouts --reconcile --max-returning 7 --yes").is_ok());
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
