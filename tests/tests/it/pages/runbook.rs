//! Each condition that `status` reports, and each alarm, names a section in the runbook.

use std::collections::BTreeSet;

use tests::page::Page;
use turntable::status::{Condition, Topic};

#[test]
fn every_condition_has_its_section_and_its_own_id() {
    let anchors = Page::read("docs/operate.md").anchors();
    let mut slugs = BTreeSet::new();
    for topic in Topic::ALL {
        let condition = Condition::new(*topic, "users", "a message");
        assert_eq!(condition.id, format!("{}:users", topic.slug()));
        assert!(condition.is(*topic));
        let (page, anchor) = condition.runbook.split_once('#').expect("a page and a section");
        assert!(page == "docs/operate.md" && anchors.iter().any(|known| known == anchor), "{topic:?}: {anchor}");
        assert!(slugs.insert(topic.slug()), "{topic:?} has the id of another topic");
    }
}
