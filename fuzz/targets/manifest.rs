//! A manifest: whatever comes, no panic; and what was read is what is written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turntable::{manifest::Manifest, name::Key};

const GENERATION: &str = "green-01JD675EJRSSKNZWWST95906C6";

fuzz_target!(|input: &[u8]| {
    let generation = GENERATION.parse().expect("a generation");
    let at: Key = format!("s3://b/t/_manifests/{GENERATION}.json").parse().expect("a key");
    let Ok(manifest) = Manifest::from_json(&at, &generation, input) else { return };
    assert_eq!(Manifest::from_json(&at, &generation, &manifest.to_json()).expect("our own"), manifest);
    for partition in &manifest.partitions {
        partition.parameters();
        partition.has(&partition.first());
        partition.count();
    }
});
