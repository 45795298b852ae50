use super::*;

fn table(name: &str) -> TableName {
    TableName { database: "dmp".into(), table: name.into() }
}

fn optouts(name: &str, key: &str, files: u64) -> OptoutState {
    OptoutState {
        inbox: format!("s3://lake/inbox/{name}").parse().unwrap(),
        table: table(name),
        key: columns(key),
        normalize: Normalization::default(),
        files,
    }
}

fn column(name: &str, glue_type: &str) -> Column {
    Column { name: name.into(), glue_type: glue_type.into() }
}

/// Parses columns such as `id int, name string`.
fn columns(text: &str) -> Vec<Column> {
    text.split(", ").map(|one| one.split_once(' ').unwrap()).map(|(name, kind)| column(name, kind)).collect()
}

/// Builds the view of `users` with these columns, protected by `optouts` with a key of this type.
fn users(key: &str, files: u64, columns: &[Column]) -> Result<View, Vec<String>> {
    let optouts = optouts("optouts", &format!("user_id {key}"), files);
    protected(&table("users"), columns, &[Protection { optouts: &optouts, columns: &["id".to_owned()] }])
}

#[test]
fn views_have_the_expected_sql() {
    let view = active(&optouts("optouts", "user_id bigint", 0));
    assert_eq!(
        (view.name.to_string().as_str(), view.query.as_str()),
        (
            "dmp.optouts_active",
            "SELECT \"user_id\", \"state\", \"occurred_at\" FROM \"dmp\".\"optouts\" WHERE \"state\" <> 'opted_in'"
        )
    );
    assert_eq!(view.columns, columns("user_id bigint, state string, occurred_at timestamp"));
    let view = users("bigint", 0, &[column("id", "int"), column("a\"b", "string")]).unwrap();
    assert_eq!(
        (view.name.to_string().as_str(), view.query.as_str()),
        (
            "dmp.users_protected",
            "SELECT t.\"id\", t.\"a\"\"b\" FROM \"dmp\".\"users\" t WHERE NOT EXISTS (SELECT 1 FROM \
             \"dmp\".\"optouts\" o WHERE o.\"user_id\" = t.\"id\" AND o.\"state\" <> 'opted_in')"
        )
    );
}

#[test]
fn view_fails_if_the_opt_out_table_has_fewer_files_than_published() {
    let guard = "(SELECT CASE WHEN count(DISTINCT \"$path\") >= 16 THEN true ELSE CAST('dmp.optouts has lost \
                 opt-outs: it has ' || CAST(count(DISTINCT \"$path\") AS varchar) || ' of 16 files' AS boolean) END \
                 FROM \"dmp\".\"optouts\")";
    let view = users("bigint", 16, &[column("id", "bigint")]).unwrap();
    assert!(view.query.contains(&format!("WHERE {guard} AND NOT EXISTS")), "{}", view.query);
    let view = active(&optouts("optouts", "user_id bigint", 16));
    let checked = format!(
        " UNION ALL SELECT CAST(NULL AS bigint), CAST(NULL AS varchar), CAST(NULL AS timestamp) FROM (SELECT {guard} AS \
         complete) WHERE NOT complete"
    );
    assert!(view.query.ends_with(&checked), "{}", view.query);
}

#[test]
fn keys_are_compared_as_numbers_unless_both_are_text() {
    let of = |key, column_type| {
        let view = users(key, 0, &[column("id", column_type)]).unwrap();
        let (_, rest) = view.query.split_once(" o WHERE ").unwrap();
        rest.split_once(" AND o.\"state\"").unwrap().0.to_owned()
    };
    let number = "CAST(o.\"user_id\" AS decimal(38,6))";
    let text = "TRY_CAST(trim(o.\"user_id\") AS decimal(38,6))";
    for (key, column, expected) in [
        ("bigint", "smallint", "o.\"user_id\" = t.\"id\"".to_owned()),
        ("int", "double", format!("{number} = TRY_CAST(t.\"id\" AS decimal(38,6))")),
        ("bigint", "decimal(12,2)", format!("{number} = TRY_CAST(t.\"id\" AS decimal(38,6))")),
        ("bigint", "string", format!("{number} = TRY_CAST(trim(t.\"id\") AS decimal(38,6))")),
        ("bigint", "char(9)", format!("{number} = TRY_CAST(trim(rtrim(CAST(t.\"id\" AS varchar))) AS decimal(38,6))")),
        ("string", "bigint", format!("{text} = TRY_CAST(t.\"id\" AS decimal(38,6))")),
        ("string", "float", format!("{text} = TRY_CAST(t.\"id\" AS decimal(38,6))")),
        ("string", "varchar(36)", "o.\"user_id\" = t.\"id\"".to_owned()),
        ("string", "char(36)", "o.\"user_id\" = rtrim(CAST(t.\"id\" AS varchar))".to_owned()),
    ] {
        assert_eq!(of(key, column), expected, "{key} and {column}");
        assert!(can_match(key, column));
    }
}

#[test]
fn both_sides_are_normalized() {
    let normalize = Normalization::new([Normalize::Uuid, Normalize::Lower, Normalize::Nfkc, Normalize::Trim]);
    let optouts = OptoutState { normalize, ..optouts("optouts", "user_id string", 0) };
    let protections = [Protection { optouts: &optouts, columns: &["id".to_owned()] }];
    let query = protected(&table("users"), &columns("id string"), &protections).unwrap().query;
    let sql = |column: &str| {
        format!(
            "replace(replace(replace(replace(lower(trim(lower(trim(normalize({column}, NFKC))))), 'urn:uuid:', ''), \
             '-', ''), '{{', ''), '}}', '')"
        )
    };
    let expected = format!(" o WHERE {} = {} AND o.", sql("o.\"user_id\""), sql("t.\"id\""));
    assert!(query.contains(&expected), "{query}");
}

#[test]
fn key_columns_that_are_missing_or_never_match_are_refused() {
    assert_eq!(
        users("bigint", 0, &[column("user", "bigint")]).unwrap_err(),
        ["dmp.users has no column \"id\", which holds the key of dmp.optouts"]
    );
    for never in ["boolean", "date", "timestamp", "binary", "array<int>"] {
        assert!(!can_match("string", never));
        assert_eq!(
            users("string", 0, &[column("id", never)]).unwrap_err(),
            [format!(
                "dmp.users has column \"id\" of type {never}, which can't match the key \"user_id\" (string) of \
                 dmp.optouts"
            )]
        );
    }
}

#[test]
fn every_inbox_that_protects_a_table_is_in_its_view() {
    let (one, two) = (optouts("optouts", "user_id bigint", 2), optouts("withdrawn", "region string, no int", 2));
    let (id, both) = (["id".to_owned()], ["region".to_owned(), "id".to_owned()]);
    let protections = [Protection { optouts: &one, columns: &id }, Protection { optouts: &two, columns: &both }];
    let query = protected(&table("users"), &columns("id bigint, region string"), &protections).unwrap().query;
    assert!(query.contains("FROM \"dmp\".\"optouts\" o WHERE o.\"user_id\" = t.\"id\" AND"), "{query}");
    assert!(
        query.contains("FROM \"dmp\".\"withdrawn\" o WHERE o.\"region\" = t.\"region\" AND o.\"no\" = t.\"id\" AND"),
        "{query}"
    );
    assert_eq!((query.matches("$path").count(), query.matches("NOT EXISTS").count()), (4, 2));
}

#[test]
fn view_that_would_return_people_again_is_recognised() {
    let of = |all: &[&OptoutState]| {
        let id = ["id".to_owned()];
        let protections: Vec<Protection> = all.iter().map(|optouts| Protection { optouts, columns: &id }).collect();
        protected(&table("users"), &columns("id bigint"), &protections).unwrap()
    };
    let (one, two) = (optouts("optouts", "user_id bigint", 1), optouts("withdrawn", "user_id bigint", 1));
    let renamed = OptoutState { table: table("opt_outs"), ..one.clone() };
    let moved = OptoutState { inbox: "s3://lake/elsewhere".parse().unwrap(), ..one.clone() };
    let stored = of(&[&one, &two]);
    assert!(of(&[&two, &one]).lacks(&stored).is_empty());
    assert!(of(&[&renamed, &two]).lacks(&stored).is_empty());
    assert!(of(&[&moved, &two]).lacks(&stored).is_empty());
    let lacks = of(&[&one]);
    let lacks: Vec<String> = lacks.lacks(&stored).iter().map(|inbox| inbox.location.to_string()).collect();
    assert_eq!(lacks, ["s3://lake/inbox/withdrawn/"]);
}

#[test]
fn bridging_view_works_before_and_after_a_flip() {
    let optouts = optouts("optouts", "user_id bigint", 0);
    let protections = [Protection { optouts: &optouts, columns: &["id".to_owned()] }];
    let of = |before: &str, after: &str| bridging(&table("users"), &columns(before), &columns(after), &protections);
    assert_eq!(of("id int, a string", "id int, a string").unwrap(), None);
    assert_eq!(of("id int", "id int, a string").unwrap(), None, "the old view works on a table with more columns");
    let view = of("id int, gone date, n int, d double", "id bigint, n string, d double").unwrap().unwrap();
    assert_eq!(view.columns, columns("id bigint, n string, d double"));
    assert!(
        view.query
            .starts_with("SELECT CAST(t.\"id\" AS bigint) AS \"id\", CAST(t.\"n\" AS varchar) AS \"n\", t.\"d\" FROM"),
        "{}",
        view.query
    );
    assert!(view.query.contains("o.\"user_id\" = t.\"id\""), "{}", view.query);
    let mixed = of("id int", "id string").unwrap().unwrap().query;
    assert!(mixed.contains("TRY_CAST(trim(CAST(t.\"id\" AS varchar)) AS decimal(38,6))"), "{mixed}");
    assert!(of("id int, a int", "a int").is_err(), "the key column is gone");
}
