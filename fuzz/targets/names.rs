//! Fuzzes the parsers of locations, keys, generations and the objects in a table's folder: no input may cause a panic,
//! and formatting a parsed value and parsing it again must not change it. A generation or the name of a data file must
//! format as the text that was parsed, because a second spelling would be a second path.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turntable_core::layout::{
    Generation, Key, Location, ObjectKind, TablePaths, is_hidden, parse_audit_table, part, part_number,
};
use turntable_sources::files::object::format_by_name;

fuzz_target!(|text: &str| {
    if let Ok(location) = text.parse::<Location>() {
        assert_eq!(location.to_string().parse::<Location>().expect("formatted text is valid"), location);
        assert!(location.prefix.is_empty() || location.prefix.ends_with('/'));
        assert!(location.overlaps(&location));
    }
    if let Ok(generation) = text.parse::<Generation>() {
        assert_eq!(generation.to_string(), text);
    }
    if let Some(number) = part_number(text) {
        assert_eq!(part(number), text);
    }
    parse_audit_table(text);
    format_by_name(text);
    is_hidden(text);
    let Ok(key) = text.parse::<Key>() else { return };
    // The text may differ from the input, because `s3a://` is accepted too.
    assert_eq!(key.to_string().parse::<Key>().expect("formatted text is valid"), key);
    if let Some((paths, generation)) = TablePaths::parse_manifest(&key) {
        assert_eq!(paths.manifest(&generation), key);
    }
    let paths = TablePaths::new(&"s3://b/s".parse().expect("a valid location"), "t");
    let back = match paths.parse(&key) {
        None | Some(ObjectKind::Data(_)) => return,
        Some(ObjectKind::Manifest(generation)) => paths.manifest(&generation),
        Some(ObjectKind::Flip(flip)) => paths.flip(flip),
        Some(ObjectKind::Sweeping(generation)) => paths.sweeping(&generation),
        Some(ObjectKind::Hold) => paths.hold(),
        Some(ObjectKind::RevertIntent(flip)) => paths.revert_intent(flip),
        Some(ObjectKind::Views) => paths.views(),
        Some(ObjectKind::Table) => paths.table(),
        Some(ObjectKind::ExportFailure) => paths.export_failure(),
        Some(ObjectKind::Refresh) => paths.refresh(),
        Some(ObjectKind::Returning) => paths.returning(),
        Some(ObjectKind::Verdict(generation)) => paths.verdict(&generation),
        Some(ObjectKind::Pending(generation)) => paths.pending(&generation),
        Some(ObjectKind::Failed(generation)) => paths.failed(&generation),
    };
    assert_eq!(back, key);
});
