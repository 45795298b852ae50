//! Defines the command line for the operators' commands, and runs them.

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    check::check,
    doctor::doctor,
    graph::{Form, graph},
    laptop,
    new_dataset::{entries, new_dataset},
    place::{Account, Place},
    query::query,
    status,
};

#[derive(Subcommand)]
pub enum Command {
    /// Report all errors in a datasets.toml and show the tables that it makes. Starts and changes nothing.
    Check {
        /// The datasets.toml. Each ${NAME} in it comes from the environment.
        file: PathBuf,
        /// Look up existing tables in the AWS account, with the environment's credentials and region. Without this
        /// flag, they are looked up in the emulator that `up` runs, if it is running.
        #[arg(long)]
        aws: bool,
        /// Only show when each dataset is refreshed, and which datasets are built from which.
        #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
        graph: Option<Form>,
    },
    /// Print a datasets.toml that publishes tables in a database.
    NewDataset {
        /// Leave out `[defaults]`, to append the output to a file that has them.
        #[arg(long)]
        append: bool,
        /// postgres://USER:PASSWORD@HOST:PORT/DATABASE, or mysql://…; never printed.
        url: String,
        /// Table names, or SCHEMA.NAME.
        #[arg(value_name = "TABLE", required = true)]
        tables: Vec<String>,
    },
    /// Check a deployed stack and its account before the first export. Changes nothing. The exit code is 1 on a fault.
    Doctor(Stack),
    /// Run a statement in Athena on the emulator that `up` runs.
    Query {
        /// One statement, such as "SELECT count(*) FROM dmp.users".
        sql: String,
    },
    /// Show the state of all datasets in a stack.
    Status(Stack),
}

/// A deployed stack, and how to print what is found about it.
#[derive(Args)]
pub struct Stack {
    /// The stack's name.
    #[arg(default_value = "turntable")]
    stack: String,
    /// Use AWS, with the environment's credentials and region, instead of the emulator that `up` runs.
    #[arg(long)]
    aws: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

impl Stack {
    fn account(&self) -> Account {
        if self.aws { Account::Aws } else { Account::Emulator }
    }
}

impl Command {
    /// Runs the command: results go to standard output, errors to standard error.
    pub async fn run(self) -> Result<ExitCode> {
        match self {
            Command::Check { file, graph: Some(form), .. } => match graph(&file, form) {
                Ok(graph) => {
                    print!("{graph}");
                    Ok(ExitCode::SUCCESS)
                }
                Err(error) => {
                    eprintln!("{error:#}");
                    Ok(ExitCode::FAILURE)
                }
            },
            Command::Check { file, aws, graph: None } => {
                let account = match aws {
                    true => Some(turntable::lambda::aws().await),
                    false => laptop::endpoints().ok().map(|up| up.config()),
                };
                let checked = match check(&file, account.as_ref()).await {
                    Ok(checked) => checked,
                    // The error has a line for each fault, with its position in the file.
                    Err(error) => {
                        eprintln!("{error:#}");
                        return Ok(ExitCode::FAILURE);
                    }
                };
                print!("{}", checked.tables);
                for fault in &checked.faults {
                    eprintln!("{fault}");
                }
                for remark in &checked.remarks {
                    eprintln!("remark: {remark}");
                }
                if checked.faults.is_empty() {
                    println!("{}; no errors", checked.summary);
                }
                Ok(exit_code(&checked.faults))
            }
            Command::NewDataset { append, url, tables } => {
                let found = match append {
                    true => entries(&url, &tables).await?,
                    false => new_dataset(&url, &tables, &env::current_dir()?).await?,
                };
                print!("{}", found.text);
                for fault in &found.faults {
                    eprintln!("error: {fault}");
                }
                Ok(exit_code(&found.faults))
            }
            Command::Doctor(of) => {
                let place = Place::of(of.account()).await?;
                // Boxed, because the future is large.
                let report = Box::pin(doctor(&of.stack, &place)).await?;
                if of.json {
                    println!("{}", serde_json::to_string(&report)?);
                } else {
                    print!("{}", report.shown());
                }
                Ok(if report.has_faults() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
            }
            Command::Query { sql } => {
                print!("{}", query(&sql).await?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Status(of) => {
                let overview = status::load(&of.stack, of.account()).await?;
                if of.json {
                    println!("{}", serde_json::to_string(&overview)?);
                } else {
                    print!("{}", status::shown(&overview));
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn exit_code(faults: &[String]) -> ExitCode {
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
