//! Fuzzes Parquet drops: no input may cause a panic in Turntable's own code. Panics in dependencies, such as the
//! parquet crate, are allowed, because the drop reader catches them.
//!
//! An input holds a byte for the type of the key, and the file.

#![no_main]

use std::{
    panic::{self, AssertUnwindSafe},
    process,
    sync::Once,
};

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use turntable_core::consent::key::{Key, Type};
use turntable_sources::inbox::{Reader, parquet};

fuzz_target!(|input: &[u8]| {
    static HOOK: Once = Once::new();
    HOOK.call_once(abort_only_on_own_panics);
    let (head, file) = input.split_at(input.len().min(1));
    let kind = match head.first().map_or(0, |byte| byte % 3) {
        0 => Type::Bigint,
        1 => Type::Int,
        _ => Type::String,
    };
    let key = Key { columns: vec![("id".into(), kind)] };
    let now = Timestamp::from_second(1_800_000_000).expect("a valid time");
    let reader = Reader { key, states: Default::default(), normalize: Default::default(), now, spill: Default::default() };
    let at = "s3://b/a.parquet".parse().expect("a valid key");
    let read = || parquet::file(&at, file.to_vec().into(), &reader).map(drop).map_err(|error| error.report());
    let _ = panic::catch_unwind(AssertUnwindSafe(read));
});

/// Replaces libFuzzer's hook, which aborts the process at every panic, with one that ignores panics in dependencies.
fn abort_only_on_own_panics() {
    let abort_always = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let known = ["/parquet-", "/arrow-", "/bytes-", "/rustc/", "/library/"];
        let file = panic.location().map_or("", |location| location.file());
        if !known.iter().any(|known| file.contains(known)) {
            abort_always(panic);
            process::abort();
        }
    }));
}
