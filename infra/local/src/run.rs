//! The whole run: source → schedule → `export` → manifest → S3 event → `flip`, day after day, while a reader queries.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use client::{
    datasets::Datasets,
    laptop::{self, BUCKET},
};
use turntable::layout::Location;

use crate::{
    day::{self, Day},
    deployment::Deployment,
    emulator::Emulator,
    engines, operator, optouts,
    outcome::Rejected,
    progress::say,
    reader::{Reader, Tally},
    refresh,
    report::Report,
    sample,
    stack::Stack,
    tools::Tools,
};

/// How many days of the sample to run. The first day creates the table; each of the others flips it (blue → green →
/// blue).
const DAYS: u32 = 3;

/// The folder beside a datasets file whose files are put into the bucket before anything runs.
const BUCKET_FOLDER: &str = "bucket";

/// A running emulator with a deployed stack, whose datasets have their sources in place.
pub struct Started {
    pub emulator: Emulator,
    pub stack: Stack,
    pub datasets: Datasets,
}

/// Starts an emulator and deploys a stack with this name: for the user's datasets file or, if `file` is `None`, for the
/// sample. Puts the sources in place, but exports nothing.
pub async fn start(file: Option<&Path>, name: &str) -> Result<Started> {
    let access_key = random_access_key()?;
    let mut deployment =
        Deployment { bucket: BUCKET.into(), stack: name.into(), ..Deployment::in_account(&access_key) };
    let datasets = Datasets::read(file.unwrap_or(Path::new(sample::DATASETS)), &deployment.bucket)?;
    deployment.parameters = engines::parameters(&datasets.config);
    let mut tools = Tools::prepare().await?;
    tools.access_key = Some(access_key);
    engines::prepare(&tools, &datasets.config).await?;
    let emulator = Emulator::start(&tools).await?;
    let stack = emulator.deploy(&deployment).await?;
    stack.put("datasets.toml", datasets.text.as_bytes()).await?;
    // Turntable creates tables, but never databases.
    for database in datasets.config.databases() {
        stack.create_database(database).await?;
    }
    match file.and_then(Path::parent) {
        None => {
            let beside = Path::new(sample::DATASETS).parent().unwrap_or(Path::new(""));
            engines::create(&stack, &datasets.config, beside).await?;
            put_sample(&stack, 0).await?;
        }
        Some(beside) => {
            engines::create(&stack, &datasets.config, beside).await?;
            put_folder(&stack, &beside.join(BUCKET_FOLDER)).await?;
        }
    }
    Ok(Started { emulator, stack, datasets })
}

/// Returns a random access key of twelve digits, which selects an account in the emulator. No other program on this
/// machine knows it.
fn random_access_key() -> Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).context("no random numbers")?;
    Ok(format!("{:012}", u64::from_le_bytes(bytes) % 1_000_000_000_000))
}

/// Puts all files below a folder into the bucket, with their paths in the folder as keys. Does nothing if the folder
/// doesn't exist.
async fn put_folder(stack: &Stack, folder: &Path) -> Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        if !at.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&at).with_context(|| format!("cannot read {}", at.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(folder)?.to_string_lossy().into_owned();
            say(format_args!("{} → s3://{}/{key}", path.display(), stack.bucket));
            stack.put(&key, fs::read(&path)?).await?;
        }
    }
    Ok(())
}

async fn put_sample(stack: &Stack, day: u32) -> Result<()> {
    say(format_args!("day {} of the sample → s3://{}/{}/", day + 1, stack.bucket, sample::SOURCE));
    put(stack, sample::objects(day)).await
}

async fn put(stack: &Stack, objects: Vec<(String, String)>) -> Result<()> {
    for (name, csv) in objects {
        stack.put(&format!("{}/{name}", sample::SOURCE), csv).await?;
    }
    Ok(())
}

/// Runs all days of the sample, or one day of the user's datasets file. The run has failed if the report has faults.
pub async fn run(file: Option<PathBuf>) -> Result<Report> {
    let Started { mut emulator, stack, datasets } = start(file.as_deref(), laptop::STACK).await?;
    let reader = Reader::start(&stack);
    let mut report = Report::default();
    let days = if file.is_none() { DAYS } else { 1 };
    for day in 0..days {
        if day > 0 {
            put_sample(&stack, day).await?;
        }
        Day::new(&stack, &datasets, file.is_some()).await?.pass(&reader, &mut report).await?;
        emulator.check()?;
        if !report.faults.is_empty() {
            break;
        }
    }
    if file.is_none() && report.faults.is_empty() {
        bad_day(&stack, &datasets, &mut report).await?;
        let (refreshed, builds) = refresh::put_and_follow(&stack, &datasets, &reader).await?;
        report.refreshed = Some(refreshed);
        report.builds.extend(builds);
        let inbox = datasets.config.dataset(sample::OPTOUTS)?;
        let (opted_out, build) = optouts::person_opts_out(&stack, inbox, &reader).await?;
        report.builds.push(build);
        report.opted_out.push(opted_out);
        emulator.check()?;
    }
    if file.is_some() {
        for dataset in datasets.config.datasets().filter(|dataset| dataset.is_inbox()) {
            report.builds.extend(optouts::drops_of_the_user(&stack, dataset, &reader).await?);
        }
    }
    report.reader = reader.finish().await?;
    judge(&stack, &datasets, &mut report).await?;
    Ok(report)
}

/// Runs a bad day: a candidate is rejected, and an operator rolls back and flips forward again.
async fn bad_day(stack: &Stack, datasets: &Datasets, report: &mut Report) -> Result<()> {
    let users = datasets.config.dataset(sample::DATASET)?;
    say("the application's next files are truncated");
    put(stack, sample::truncated(DAYS)).await?;
    report.rejected.push(operator::bad_export(stack, users).await?);
    let back = operator::rollback(stack, users).await?;
    let forth = operator::flip(stack, users, back.from).await?;
    report.moves.extend([back, forth]);
    Ok(())
}

/// Judges the reader's results. A query whose row count differs from the manifest's counts as failed. Failed and mixed
/// queries make the run fail, and so does a query that saw a rejected candidate.
async fn judge(stack: &Stack, datasets: &Datasets, report: &mut Report) -> Result<()> {
    let mut tally = std::mem::take(&mut report.reader);
    for dataset in datasets.config.datasets() {
        let seen: BTreeMap<_, _> = tally.seen.iter().filter(|((table, _), _)| *table == dataset.table).collect();
        let mut short = Vec::new();
        for ((_, folder), counts) in seen {
            let location: Option<Location> = folder.parse().ok();
            let Some(generation) = location.and_then(|location| dataset.paths.parse_generation(&location)) else {
                continue;
            };
            let rows = day::manifest(stack, dataset, &generation).await?.rows;
            short.extend(counts.iter().filter(|(counted, _)| **counted != rows).map(|(counted, queries)| {
                (
                    *queries,
                    format!("{}: {queries} queries saw {counted} of the {rows} rows of {generation}", dataset.name),
                )
            }));
        }
        for (queries, complaint) in short {
            tally.ok -= queries;
            tally.failed += queries;
            tally.complain(complaint);
        }
    }
    for Rejected { dataset, candidate, .. } in &report.rejected {
        let location = datasets.config.dataset(dataset)?.paths.generation(candidate).to_string();
        if tally.seen.keys().any(|(_, folder)| *folder == location) {
            report.faults.push(format!("the reader saw {candidate}, which was rejected"));
        }
    }
    let Tally { failed, mixed, .. } = tally;
    if failed > 0 || mixed > 0 {
        report.faults.push(format!("the reader had {failed} failed and {mixed} mixed queries"));
    }
    report.reader = tally;
    Ok(())
}
