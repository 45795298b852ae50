//! Divides a table's rows into ranges, which several connections read.

/// Returns one SQL condition per range: below the first bound, between each bound and the next, and from the last bound
/// up. If `nullable`, the first range includes nulls. Without bounds, there is one range, which needs no condition.
pub fn ranges(key: &str, bounds: &[String], nullable: bool) -> Vec<Option<String>> {
    let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else { return vec![None] };
    let lowest = if nullable { format!("({key} < {first} OR {key} IS NULL)") } else { format!("{key} < {first}") };
    let mut ranges = vec![Some(lowest)];
    ranges.extend(bounds.windows(2).map(|pair| Some(format!("{key} >= {} AND {key} < {}", pair[0], pair[1]))));
    ranges.push(Some(format!("{key} >= {last}")));
    ranges
}

/// Returns the table name in a query of the form `SELECT a, b FROM table`, and `None` for any other query. `quote` is the
/// character that encloses names. Splitting other queries into ranges could change their result (aggregates, DISTINCT,
/// LIMIT, joins), or they can't be followed by WHERE.
pub fn plain_table(query: &str, quote: char) -> Option<&str> {
    let words: Vec<&str> = query.split_whitespace().collect();
    let [select, list @ .., from, table] = &words[..] else { return None };
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.') || c == quote;
    let names = list.concat();
    // Two words in one item mean an alias or DISTINCT.
    let items = list.join(" ").split(',').all(|item| item.split_whitespace().count() == 1);
    (select.eq_ignore_ascii_case("select")
        && from.eq_ignore_ascii_case("from")
        && items
        && (names == "*" || names.chars().all(|c| plain(c) || c == ','))
        && table.chars().all(plain))
    .then_some(*table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_value_once() {
        let bounds = |list: &[&str]| list.iter().map(|bound| (*bound).to_owned()).collect::<Vec<_>>();
        assert_eq!(ranges("k", &[], true), [None]);
        let of = |list: &[&str]| ranges("k", &bounds(list), true).into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(of(&["5"]), ["(k < 5 OR k IS NULL)", "k >= 5"]);
        assert_eq!(of(&["5", "7"]), ["(k < 5 OR k IS NULL)", "k >= 5 AND k < 7", "k >= 7"]);
    }

    #[test]
    fn only_plain_selects_are_split_by_blocks() {
        for query in ["SELECT * FROM users", "select a,\n b from public.users", "SELECT \"A\" FROM \"Users\""] {
            assert!(plain_table(query, '"').is_some(), "{query}");
        }
        for query in [
            "SELECT count(*) FROM users",
            "SELECT DISTINCT a FROM users",
            "SELECT a FROM users LIMIT 1",
            "SELECT a FROM users, orders",
            "SELECT a FROM users u",
            "SELECT a FROM users WHERE b",
            "SELECT a FROM (users)",
            "SELECT 'x' FROM users",
            "SELECT FROM users",
            "FROM users",
            "TABLE users",
            "",
        ] {
            assert!(plain_table(query, '"').is_none(), "{query}");
        }
    }
}
