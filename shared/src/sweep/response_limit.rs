//! Shortens an answer that is longer than Lambda's limit.

use super::answer::Swept;

/// The maximum size of an answer in bytes, below Lambda's limit of 6 MB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>). A longer answer would fail the
/// invocation and each retry. The answer for ten thousand datasets with three generations each would exceed the limit.
const MAX_ANSWER_BYTES: usize = 5_000_000;

/// Removes items until the answer fits: kept items first, then the others. A note says how many were left out.
pub fn fit(mut swept: Swept) -> Swept {
    let mut left_out = 0;
    while serde_json::to_vec(&swept).is_ok_and(|text| text.len() > MAX_ANSWER_BYTES) {
        let Swept { deleted, kept, archived, skipped, notes, .. } = &mut swept;
        left_out += match kept.is_empty() {
            false => halve(kept),
            true => halve(deleted) + halve(archived) + halve(skipped) + halve(notes),
        };
    }
    if left_out > 0 {
        swept.notes.push(format!(
            "{left_out} items are left out, because Lambda limits the answer's size: invoke sweep for one dataset to \
             see its items"
        ));
    }
    swept
}

/// Removes the second half of the items, or the only item. Returns the number of removed items.
fn halve<T>(items: &mut Vec<T>) -> usize {
    items.drain(items.len() / 2..).count()
}

#[cfg(test)]
mod tests {
    use crate::sweep::answer::Item;

    use super::*;

    fn items(count: usize) -> Vec<Item> {
        let item = |at| Item {
            dataset: format!("d{at:05}"),
            location: format!("s3://lake/schemas/d{at:05}/green-01JDA7YQ3V8M5T2R0N6K4H9XCE/"),
            reason: "one of the generations that a rollback may go back to".into(),
            objects: 1,
            bytes: 123_456,
            until: None,
        };
        (0..count).map(item).collect()
    }

    fn length(swept: &Swept) -> usize {
        serde_json::to_vec(swept).unwrap().len()
    }

    #[test]
    fn long_answer_is_cut_to_lambdas_limit() {
        let swept = Swept { deleted: items(1000), kept: items(40_000), ..Swept::default() };
        assert!(length(&swept) > 6_291_556);
        let swept = fit(swept);
        assert_eq!((swept.deleted.len(), swept.kept.len()), (1000, 20_000));
        assert!(length(&swept) < 6_000_000 && swept.notes[0].starts_with("20000 items"), "{:?}", swept.notes);

        let swept = fit(Swept { deleted: items(40_000), kept: items(10), ..Swept::default() });
        assert_eq!((swept.deleted.len(), swept.kept.len()), (20_000, 0));
    }

    #[test]
    fn answer_within_limit_is_unchanged() {
        let swept = fit(Swept { kept: items(1500), ..Swept::default() });
        assert_eq!((swept.kept.len(), swept.notes.len()), (1500, 0));
    }
}
