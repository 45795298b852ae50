//! Fuzzes the parsers of locations, keys, generations and the objects in a table's folder. Any text causes no panic. A
//! parsed value is formatted as the same text, because a second spelling would be a second path.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turntable::{
    name::{Generation, Home, Key, Location, Ours, parse_audit_table, part, part_number},
    source::files::object::{is_hidden, told_by_name},
};

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
    told_by_name(text);
    is_hidden(text);
    let Ok(key) = text.parse::<Key>() else { return };
    // `s3a://` is the only other accepted spelling.
    assert_eq!(key.to_string().parse::<Key>().expect("formatted text is valid"), key);
    if let Some((home, generation)) = Home::parse_manifest(&key) {
        assert_eq!(home.manifest(&generation), key);
    }
    let home = Home::new(&"s3://b/s".parse().expect("a valid location"), "t");
    let back = match home.parse(&key) {
        None | Some(Ours::Data(_)) => return,
        Some(Ours::Manifest(generation)) => home.manifest(&generation),
        Some(Ours::Flip(flip)) => home.flip(flip),
        Some(Ours::Sweeping(generation)) => home.sweeping(&generation),
        Some(Ours::Hold) => home.hold(),
        Some(Ours::Return(flip)) => home.returning(flip),
        Some(Ours::Views) => home.views(),
        Some(Ours::Pending(generation)) => home.pending(&generation),
        Some(Ours::Failed(generation)) => home.failed(&generation),
    };
    assert_eq!(back, key);
});
