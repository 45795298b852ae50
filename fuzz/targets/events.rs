//! Fuzzes the event parsers of all four functions: no input may cause a panic, and the manifest key of a parsed `flip`
//! event must parse to the same table and generation.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use turntable_events::{Export, Flip, Optout, Sweep, message};

fuzz_target!(|text: &str| {
    let Ok(event) = message(text) else { return };
    parse_all(&event);
    // A queue message wraps an event that may also arrive directly.
    if let Ok(Export::Queue(messages)) = Export::parse(&event) {
        for message in messages {
            let _ = Optout::parse_message(&message.body);
            let _ = turntable_events::message(&message.body).map(|event| parse_all(&event));
        }
    }
});

fn parse_all(event: &Value) {
    let _ = Export::parse(event).map_err(|error| error.report());
    let _ = Optout::parse(event).map_err(|error| error.report());
    let _ = Sweep::parse(event).map_err(|error| error.report());
    if let Ok(Flip::Manifest(paths, generation)) = Flip::parse(event) {
        let key = paths.manifest(&generation);
        assert_eq!(turntable_core::layout::TablePaths::parse_manifest(&key), Some((paths, generation)));
    }
}
