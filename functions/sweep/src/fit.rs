//! What an invocation can say.

use turntable::answer::Swept;

/// Bytes. Lambda takes 6 MB (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>); one answer that is
/// longer would be a failure, tried again for nothing. Ten thousand datasets of three generations each exceed it.
const LONGEST: usize = 5_000_000;

/// Leaves out what is too much, what is kept first; a note says how many. Asked about one dataset, sweep says all.
pub fn fit(mut swept: Swept) -> Swept {
    let mut left_out = 0;
    while serde_json::to_vec(&swept).is_ok_and(|text| text.len() > LONGEST) {
        let Swept { deleted, kept, archived, skipped, notes, .. } = &mut swept;
        left_out += match kept.is_empty() {
            false => halve(kept),
            true => halve(deleted) + halve(archived) + halve(skipped) + halve(notes),
        };
    }
    if left_out > 0 {
        swept.notes.push(format!("{left_out} items are left out, because Lambda's answers are short: name a dataset"));
    }
    swept
}

/// How many have gone: of a single one, this.
fn halve<T>(items: &mut Vec<T>) -> usize {
    items.drain(items.len() / 2..).count()
}

#[cfg(test)]
mod tests {
    use turntable::answer::Item;

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
    fn an_answer_is_no_longer_than_lambda_takes() {
        let swept = Swept { deleted: items(1000), kept: items(40_000), ..Swept::default() };
        assert!(length(&swept) > 6_291_556);
        let swept = fit(swept);
        assert_eq!((swept.deleted.len(), swept.kept.len()), (1000, 20_000));
        assert!(length(&swept) < 6_000_000 && swept.notes[0].starts_with("20000 items"), "{:?}", swept.notes);

        let swept = fit(Swept { deleted: items(40_000), kept: items(10), ..Swept::default() });
        assert_eq!((swept.deleted.len(), swept.kept.len()), (20_000, 0));
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let swept = fit(Swept { kept: items(1500), ..Swept::default() });
        assert_eq!((swept.kept.len(), swept.notes.len()), (1500, 0));
    }
}
