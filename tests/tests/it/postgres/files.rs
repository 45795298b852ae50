//! Writes a query's rows to Parquet files on disk, and reads them with another program, DuckDB.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use serde_json::Value;
use tests::memory;
use turntable::{config::Parquet, parquet, port::Objects, sources::Opened};

/// A file that is removed when it is dropped.
pub struct OnDisk(pub PathBuf);

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes the rows to one file on disk, through the writer that exports use.
pub async fn write(opened: Opened, name: &str) -> OnDisk {
    let memory = memory::Objects::default();
    let objects: Arc<dyn Objects> = Arc::new(memory.clone());
    let location = format!("s3://lake/{name}").parse().unwrap();
    let files = parquet::write(&objects, &location, opened.rows, Parquet::default()).await.unwrap();
    assert_eq!(files.len(), 1);
    let body = memory.body(&format!("s3://lake/{name}/{}", files[0].key)).unwrap();
    let path = std::env::temp_dir().join(format!("turntable-{}-{name}.parquet", std::process::id()));
    std::fs::write(&path, body).unwrap();
    OnDisk(path)
}

/// Runs a query in DuckDB, and returns its rows.
pub async fn duckdb(sql: String) -> Vec<Vec<Value>> {
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    let python = local::venv::ensure(&target).await.unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/postgres/ask.py");
    let ask = move || {
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}\n{sql}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}
