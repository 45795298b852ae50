//! Runs the contract suite on AWS (docs/contract.md). Credentials come only from the environment variables
//! `CONTRACT_AWS_…`.

use std::{
    env,
    io::{BufRead, Write},
    path::PathBuf,
    process::ExitCode,
};

use cli::aws::{self, Credentials};
use tests::contract::account::{Account, PREFIX};
use turntable::clock::Clock;

const USAGE: &str = "usage: just contract-aws --name turntable-contract-NAME --region REGION [--yes] [--delete]
  --name    of the bucket that is made, and with _ for - of the Glue database; neither may exist
  --region  where
  --workgroup  Athena's workgroup for the queries; default: primary
  --report  a file for the report, which is also printed
  --yes     do not ask
  --delete  run nothing: delete what an interrupted run of this name has left
in the environment: CONTRACT_AWS_ACCESS_KEY_ID, CONTRACT_AWS_SECRET_ACCESS_KEY and, if there is one,
CONTRACT_AWS_SESSION_TOKEN; nothing else of AWS's is read";

#[derive(Default)]
struct Arguments {
    name: String,
    region: String,
    /// The endpoint of an emulator, for trying out this example without AWS; not in [`USAGE`].
    endpoint: Option<String>,
    /// The emulator's endpoint for Athena; not in [`USAGE`] either.
    athena_endpoint: Option<String>,
    workgroup: Option<String>,
    report: Option<PathBuf>,
    yes: bool,
    delete: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<Vec<String>, String> {
    let Arguments { name, region, endpoint, athena_endpoint, workgroup, report, yes, delete } = arguments()?;
    let secret = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let credentials = secret("CONTRACT_AWS_ACCESS_KEY_ID").zip(secret("CONTRACT_AWS_SECRET_ACCESS_KEY"));
    let (key, secret_key) = credentials.ok_or_else(|| format!("no credentials were given\n{USAGE}"))?;
    let credentials = Credentials::new(key, secret_key, secret("CONTRACT_AWS_SESSION_TOKEN"), None, "contract");
    let athena = aws::config(credentials.clone(), &region, athena_endpoint.as_deref().or(endpoint.as_deref()));
    let account = Account::new(aws::config(credentials, &region, endpoint.as_deref()), &name)?;
    let account = account.with_athena(athena, workgroup.as_deref().unwrap_or("primary"));
    let database = name.replace('-', "_");
    if delete {
        println!(
            "This deletes bucket {name} and Glue database {database} in {region}, with everything in them, and the rule and the queue {name}."
        );
    } else {
        println!(
            "This creates bucket {name} and Glue database {database} in {region}, with about 1,300 objects (90 MB at \
             most), 150 tables, a bucket policy, an EventBridge rule and a queue, runs about 50 queries in \
             Athena, and deletes everything again within minutes.\nAt list prices, S3's 3,000 requests, most of them PUT, cost about 2 US cents, and the queries, at \
             Athena's minimum of 10 MB each, 0.2 cents; Glue's first million objects and requests a month are free."
        );
    }
    if !yes && !confirmed()? {
        return Err("nothing was done".into());
    }
    if delete {
        return Ok(account.delete().await);
    }
    let outcome = account.run(&[]).await;
    let text = format!(
        "# Contract of Turntable {} with AWS in {region}, {}\n\n{outcome}",
        env!("CARGO_PKG_VERSION"),
        Clock::system().now().strftime("%Y-%m-%d"),
    );
    println!("{text}");
    if let Some(file) = report {
        std::fs::write(&file, &text).map_err(|error| format!("{}: can't be written: {error}", file.display()))?;
    }
    Ok(outcome.faults())
}

fn confirmed() -> Result<bool, String> {
    print!("Go on? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdout().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| format!("could not read an answer ({error}): pass --yes to skip the question"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments::default();
    let mut given = env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--name" => parsed.name = value()?,
            "--region" => parsed.region = value()?,
            "--workgroup" => parsed.workgroup = Some(value()?),
            "--report" => parsed.report = Some(value()?.into()),
            "--athena-endpoint" => parsed.athena_endpoint = Some(value()?),
            "--endpoint" => parsed.endpoint = Some(value()?),
            "--yes" => parsed.yes = true,
            "--delete" => parsed.delete = true,
            _ => return Err(format!("unknown argument {argument:?}\n{USAGE}")),
        }
    }
    match (parsed.name.as_str(), parsed.region.as_str()) {
        ("", _) => Err(format!("no name was given: --name {PREFIX}…\n{USAGE}")),
        (_, "") => Err(format!("no region was given\n{USAGE}")),
        _ => Ok(parsed),
    }
}
