//! Fuzzes the manifest parser: no input may cause a panic, and writing a parsed manifest and parsing it again must not
//! change it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turntable_core::{layout::Key, manifest::Manifest};

const GENERATION: &str = "green-01JD675EJRSSKNZWWST95906C6";

fuzz_target!(|input: &[u8]| {
    let generation = GENERATION.parse().expect("a valid generation");
    let at: Key = format!("s3://b/t/_manifests/{GENERATION}.json").parse().expect("a valid key");
    let Ok(manifest) = Manifest::from_json(&at, &generation, input) else { return };
    assert_eq!(
        Manifest::from_json(&at, &generation, &manifest.to_json()).expect("a written manifest is valid"),
        manifest
    );
    for partition in &manifest.partitions {
        partition.parameters();
        partition.has(&partition.first());
        partition.count();
    }
});
