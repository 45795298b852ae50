//! A drop of Parquet: whatever comes, no panic but those of the parquet crate's readers, which a drop's reader catches.
//!
//! An input is a key and the file.

#![no_main]

use std::{
    panic::{self, AssertUnwindSafe},
    process,
    sync::Once,
};

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use turntable::{
    merge::key::{Key, Type},
    source::inbox::{Reader, parquet},
};

fuzz_target!(|input: &[u8]| {
    static HOOK: Once = Once::new();
    HOOK.call_once(only_ours_ends);
    let (head, file) = input.split_at(input.len().min(1));
    let kind = match head.first().map_or(0, |byte| byte % 3) {
        0 => Type::Bigint,
        1 => Type::Int,
        _ => Type::String,
    };
    let key = Key { columns: vec![("id".into(), kind)] };
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let reader = Reader { key, now, spill: Default::default() };
    let at = "s3://b/a.parquet".parse().expect("a key");
    let read = || parquet::file(&at, file.to_vec().into(), &reader).map(drop).map_err(|error| error.report());
    let _ = panic::catch_unwind(AssertUnwindSafe(read));
});

/// libFuzzer's own hook ends the process at every panic.
fn only_ours_ends() {
    let every = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let known = ["/parquet-", "/arrow-", "/bytes-", "/rustc/", "/library/"];
        let file = panic.location().map_or("", |location| location.file());
        if !known.iter().any(|known| file.contains(known)) {
            every(panic);
            process::abort();
        }
    }));
}
