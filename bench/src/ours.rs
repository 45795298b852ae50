//! Runs Turntable as a contender: `export`'s code from the source to the objects, in a separate process.

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use futures::{StreamExt, stream};
use serde_json::json;
use turntable::{
    aws::s3::S3,
    clock::Clock,
    config::Config,
    lambda, parquet,
    port::Objects,
    sources::{self, Context},
};

use crate::disk::Disk;

#[derive(Args)]
pub struct Ours {
    /// The dataset's source, in the syntax of datasets.toml
    #[arg(long)]
    source: String,
    /// The location to write to: `s3://BUCKET/PREFIX/`
    #[arg(long)]
    to: String,
    /// A folder to use instead of S3
    #[arg(long)]
    disk: Option<PathBuf>,
    /// ZSTD's level, if it isn't the default
    #[arg(long)]
    level: Option<i32>,
    /// Reads all rows into memory first, and prints how long writing them took
    #[arg(long)]
    encode_only: bool,
}

impl Ours {
    pub async fn run(self) -> Result<()> {
        let objects: Arc<dyn Objects> = match &self.disk {
            Some(folder) => Arc::new(Disk(folder.clone())),
            None => Arc::new(S3::new(&lambda::aws().await)),
        };
        let level =
            self.level.map(|level| format!("parquet = {{ compression_level = {level} }}\n")).unwrap_or_default();
        let config = format!(
            "[defaults]\ndatabase = \"dmp\"\nlocation = \"{}\"\n{}[datasets.users]\nsource = {{ {} }}\n",
            self.to, level, self.source
        );
        let config = Config::parse("bench", &config)?;
        let dataset = config.dataset("users")?;
        let clock = Clock::system();
        let context = Context {
            objects: objects.clone(),
            secrets: None,
            iam: None,
            now: clock.now(),
            table: dataset.table.clone(),
            on_unrepresentable: dataset.on_unrepresentable,
            copies: Some(turntable::sources::Copies { sizes: dataset.parquet, ..Default::default() }),
        };
        let mut opened = sources::open(&dataset.source, &context).await?;
        if self.encode_only {
            for rows in &mut opened.rows.streams {
                let read: Vec<_> = rows.collect().await;
                *rows = stream::iter(read).boxed();
            }
        }
        let (started, cpu) = (Instant::now(), cpu_s()?);
        let location = self.to.parse()?;
        parquet::write(&objects, &location, opened.rows, dataset.parquet).await?;
        if self.encode_only {
            println!("{}", json!({ "wall_s": started.elapsed().as_secs_f64(), "cpu_s": cpu_s()? - cpu }));
        }
        Ok(())
    }
}

/// Returns this process's CPU time so far, in seconds, with a resolution of 10 ms.
fn cpu_s() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().context("cannot parse /proc/self/stat")?.split_whitespace().skip(11).take(2);
    Ok(fields.map(|ticks| ticks.parse::<f64>()).sum::<Result<f64, _>>()? / 100.0)
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::{mariadb::Mariadb, postgres::Postgres, table};

    /// Runs the whole path on a small table: creates the table, writes it to disk, and reads the files back.
    #[tokio::test(flavor = "multi_thread")]
    async fn written_files_have_all_rows() {
        let server = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
        table::make(&server.url(), "users", 5000).await.unwrap();
        let folder = std::env::temp_dir().join(format!("turntable-bench-{}", std::process::id()));
        let postgres = |connections| {
            let url = server.url();
            format!("postgres = {{ url = \"{url}\", query = \"SELECT * FROM users\", parallel = {connections} }}")
        };
        let ours = |source: String, to: &str, encode_only| Ours {
            source,
            to: format!("s3://{to}/"),
            disk: Some(folder.clone()),
            level: None,
            encode_only,
        };
        ours(postgres(1), "one", false).run().await.unwrap();
        ours(postgres(2), "two", true).run().await.unwrap();
        for (from, to) in [("one", "again"), ("two", "again2")] {
            ours(format!("files = {{ location = \"s3://{from}/\" }}"), to, false).run().await.unwrap();
            assert_eq!(rows(&folder, to).await, 5000);
        }
        let mariadb = tokio::task::spawn_blocking(|| Mariadb::start_with(&["--local-infile=1"])).await.unwrap();
        table::copy_to_mariadb(&server.url(), &mariadb, "users", &folder).await.unwrap();
        let source =
            format!("mysql = {{ url = \"{}?ssl-mode=DISABLED\", query = \"SELECT * FROM users\" }}", mariadb.url());
        ours(source, "three", false).run().await.unwrap();
        assert_eq!(rows(&folder, "three").await, 5000);
        std::fs::remove_dir_all(folder).unwrap();
    }

    async fn rows(folder: &std::path::Path, bucket: &str) -> usize {
        let text = format!(
            "[defaults]\ndatabase = \"d\"\nlocation = \"s3://x\"\n[datasets.users]\n\
             source = {{ files = {{ location = \"s3://{bucket}/\" }} }}\n"
        );
        let config = Config::parse("test", &text).unwrap();
        let dataset = config.dataset("users").unwrap();
        let context = Context {
            objects: Arc::new(Disk(folder.to_owned())),
            secrets: None,
            iam: None,
            now: Clock::system().now(),
            table: dataset.table.clone(),
            on_unrepresentable: dataset.on_unrepresentable,
            copies: None,
        };
        let opened = sources::open(&dataset.source, &context).await.unwrap();
        let mut count = 0;
        for rows in opened.rows.streams {
            count += rows.try_fold(0, |sum, batch| async move { Ok(sum + batch.num_rows()) }).await.unwrap();
        }
        count
    }
}
