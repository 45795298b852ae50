//! datasets.toml: whatever comes, no panic, and every fault begins with the file's name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turntable::config::Config;

fuzz_target!(|text: &str| {
    match Config::parse("FILE", text) {
        Ok(config) => config.datasets().for_each(|dataset| {
            config.dataset(&dataset.name).expect("it is there");
        }),
        Err(error) => assert!(error.message().starts_with("FILE"), "{}", error.message()),
    }
});
