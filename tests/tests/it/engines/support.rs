//! What the tests about engines share.

use serde_json::{Value, json};
use sweep::{Limits, Sweep};
use tests::rig::Rig;
use turntable::{answer::Swept, environment::Environment, error::Result, record::EngineRun};

pub const ATHENA: &str = "athena = { query = \"SELECT id FROM t;\", workgroup = \"etl\" }";
pub const GLUE: &str = "glue_job = { name = \"build-users\", arguments = { \"--day\" = \"1\" }, timeout = \"2h\" }";

/// Creates a rig whose dataset an engine builds.
pub fn rig(source: &str, more: &str) -> Rig {
    let rig = Rig::with("");
    rig.configure_source(source, more);
    rig
}

/// Returns the event about the end of the `at`-th run: the one in events/export-athena.json or events/export-glue.json,
/// but about this run.
pub fn event_of(rig: &Rig, at: usize) -> Value {
    match &rig.engine.runs()[at].run {
        EngineRun::Athena { id } => athena_event(id),
        EngineRun::GlueJob { job, id } => {
            let mut event: Value = serde_json::from_str(include_str!("../../../../events/export-glue.json")).unwrap();
            event["detail"]["jobName"] = json!(job);
            event["detail"]["jobRunId"] = json!(id);
            event
        }
    }
}

pub fn athena_event(id: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/export-athena.json")).unwrap();
    event["detail"]["queryExecutionId"] = json!(id);
    event
}

pub async fn sweep(rig: &Rig, env: Environment) -> Result<Swept> {
    let sweep = Sweep { env, queue: rig.queue.clone(), limits: Limits::default() };
    sweep::handle(sweep, json!({})).await
}

pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
