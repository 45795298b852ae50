//! In-memory S3 with faults: chosen writes fail, and a callback from the test runs before chosen
//! listings or writes.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use turntable::port::Objects;

use crate::{
    memory,
    wire::{Call, Fate, Op, Wire, Wired},
};

type Act = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

#[derive(Default)]
pub struct Disturbed {
    refuse: Option<String>,
    before_list: Option<(String, Act)>,
    before_put: Option<(String, Act)>,
}

impl Disturbed {
    /// Makes every `put_new` with a key that contains `part` fail.
    pub fn refuse(mut self, part: &str) -> Self {
        self.refuse = Some(part.into());
        self
    }

    /// Runs `act` before each listing of a location that contains `part`.
    pub fn before_list(mut self, part: &str, act: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        self.before_list = Some((part.into(), Box::new(act)));
        self
    }

    /// Runs `act` before each `put_new` with a key that contains `part`.
    pub fn before_put(mut self, part: &str, act: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        self.before_put = Some((part.into(), Box::new(act)));
        self
    }

    /// Returns `objects` as a port that has these faults.
    pub fn on(self, objects: &memory::Objects) -> Arc<dyn Objects> {
        let port: Arc<dyn Objects> = Arc::new(objects.clone());
        Arc::new(Wired { wire: Arc::new(self), port })
    }
}

#[async_trait]
impl Wire for Disturbed {
    async fn fate(&self, call: Call) -> Fate {
        let of = |part: &str| call.on.contains(part);
        let act = match call.op {
            Op::List => &self.before_list,
            Op::PutNew => &self.before_put,
            _ => &None,
        };
        if let Some((_, act)) = act.as_ref().filter(|(part, _)| of(part)) {
            act().await;
        }
        match call.op {
            Op::PutNew if self.refuse.as_deref().is_some_and(of) => Fate::Fails,
            _ => Fate::Arrives,
        }
    }
}
