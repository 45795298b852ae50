//! Fuzzes the parser for `datasets.toml`: no input may cause a panic, every dataset must be found by its name, and
//! every error must begin with the file's name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turntable_core::config::Config;

fuzz_target!(|text: &str| {
    match Config::parse("FILE", text) {
        Ok(config) => config.datasets().for_each(|dataset| {
            config.dataset(&dataset.name).expect("a listed dataset is found by its name");
        }),
        Err(error) => assert!(error.message().starts_with("FILE"), "{}", error.message()),
    }
});
