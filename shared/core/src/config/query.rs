//! Checks the queries in datasets.toml before anything runs them. The functions that run them may write to S3 and to the
//! catalog, so a query must only read.
//!
//! In Athena's grammar, a statement that begins with SELECT or WITH is always a query. So the check relies on the first
//! word, and must find the same first word as Athena, also after comments. The queries aren't parsed completely,
//! because no parser here knows all of Athena's types and functions.

use sqlparser::{
    dialect::Dialect,
    keywords::Keyword,
    tokenizer::{Token, Tokenizer, Whitespace, Word},
};

/// Athena's SQL dialect, for splitting a query into tokens. Unlike the parser's own dialects, it has no nested
/// comments, no MySQL hints, and no backslash escapes.
#[derive(Debug)]
struct Athena;

impl Dialect for Athena {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || matches!(ch, '_' | '@' | ':' | '$')
    }
}

/// Words that let a query write in other SQL dialects. A column with one of these names must be quoted.
const WRITING_WORDS: [Keyword; 5] = [Keyword::DELETE, Keyword::INSERT, Keyword::INTO, Keyword::MERGE, Keyword::UPDATE];

/// The first words of the statements that only read.
const READING_WORDS: [&str; 7] = ["SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "EXPLAIN"];

/// Checks that a `sql` check or a canary is one query that only reads and that contains `{table}`. Returns it without
/// trailing semicolons.
pub fn check(text: &str) -> Result<String, String> {
    if !text.contains("{table}") {
        return Err("expected a query that contains {table}, the placeholder for the table's name".into());
    }
    let query = without_semicolons(text);
    let tokens = tokens(&query.replace("{table}", "\"database\".\"table\""))?;
    one_statement(&tokens)?;
    only_reads(&tokens)?;
    match tokens.iter().find(|token| **token != Token::LParen) {
        Some(Token::Word(word)) if matches!(word.keyword, Keyword::SELECT | Keyword::WITH) => Ok(query.into()),
        _ => Err("expected one statement that begins with SELECT or WITH".into()),
    }
}

/// Checks that `text` is one query that `UNLOAD (…)` can enclose. Returns it without trailing semicolons. The query isn't
/// parsed completely, because it may use types and functions that only Athena knows.
pub fn unload(text: &str) -> Result<String, String> {
    let query = without_semicolons(text);
    let tokens = tokens(query)?;
    match tokens.first() {
        Some(Token::LParen) => {}
        Some(Token::Word(word)) if word.keyword == Keyword::UNLOAD => {
            return Err("expected only the query: Turntable adds UNLOAD, TO and WITH itself".into());
        }
        Some(Token::Word(Word { keyword, .. }))
            if [Keyword::SELECT, Keyword::WITH, Keyword::VALUES, Keyword::TABLE].contains(keyword) => {}
        first => {
            let found = match first {
                Some(Token::Word(word)) => word.value.to_uppercase(),
                _ => "this text".into(),
            };
            return Err(format!(
                "expected a query that begins with SELECT, WITH, VALUES or TABLE: UNLOAD doesn't accept {found}"
            ));
        }
    }
    one_statement(&tokens)?;
    Ok(query.into())
}

/// Checks that `text` is one statement that only reads: a query, or a statement that shows metadata. Returns it without
/// trailing semicolons.
pub fn reads_only(text: &str) -> Result<String, String> {
    let statement = without_semicolons(text);
    let tokens = tokens(statement)?;
    one_statement(&tokens)?;
    let mut words = tokens.iter().filter(|token| **token != Token::LParen).map(|token| match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
        _ => String::new(),
    });
    let first = words.next().unwrap_or_default();
    // EXPLAIN ANALYZE runs the statement.
    let runs = first == "EXPLAIN" && words.next().as_deref() == Some("ANALYZE");
    let deciding = if runs { words.next().unwrap_or_default() } else { first };
    if !READING_WORDS.contains(&deciding.as_str()) || runs && !["SELECT", "WITH"].contains(&deciding.as_str()) {
        let found = if deciding.is_empty() { "this text".into() } else { deciding };
        return Err(format!("expected a statement that only reads, found {found}"));
    }
    only_reads(&tokens)?;
    Ok(statement.into())
}

fn without_semicolons(text: &str) -> &str {
    text.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace())
}

/// Splits a query into its tokens, without comments and whitespace.
fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let all = Tokenizer::new(&Athena, query).tokenize();
    let all = all.map_err(|error| format!("expected a query, but it can't be read: {error}"))?;
    let mut tokens = Vec::with_capacity(all.len());
    for token in all {
        match token {
            // Athena ends a comment at a carriage return too, so it would run the rest of the comment.
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. })
                if comment.trim_end_matches(['\r', '\n']).contains('\r') =>
            {
                return Err("a comment contains a carriage return: end its line with a line feed".into());
            }
            Token::Whitespace(_) => {}
            token => tokens.push(token),
        }
    }
    Ok(tokens)
}

/// Checks that the tokens form one statement with balanced parentheses, so that it stays inside the parentheses that
/// enclose it.
fn one_statement(tokens: &[Token]) -> Result<(), String> {
    let mut depth = 0_usize;
    for token in tokens {
        match token {
            Token::SemiColon => return Err("expected one statement, found a semicolon in the middle: remove it".into()),
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.checked_sub(1).ok_or("a parenthesis is closed that was never opened: remove it")?;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err(format!("{depth} opening parentheses are not closed: close them"));
    }
    Ok(())
}

/// Checks that no token can make the statement write.
fn only_reads(tokens: &[Token]) -> Result<(), String> {
    for (place, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        if word.quote_style.is_none() && WRITING_WORDS.contains(&word.keyword) {
            let word = &word.value;
            return Err(format!(
                "expected a query that only reads, found {}: remove it, or write \"{word}\" in quotes if it is a name",
                word.to_uppercase()
            ));
        }
        // A table function can pass a statement on to a federated data source.
        if word.keyword == Keyword::TABLE && tokens.get(place + 1) == Some(&Token::LParen) {
            return Err("expected a query that only reads tables, found a table function: remove TABLE(…)".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statements_that_read_pass() {
        for statement in [
            "SELECT 1",
            "  (select * from dmp.users) ;",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "SHOW TABLES IN dmp",
            "DESCRIBE dmp.users",
            "-- DROP\nEXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT 'drop table'",
            "VALUES 1, 2",
        ] {
            assert!(reads_only(statement).is_ok(), "{statement}");
        }
        for (statement, found) in [
            ("DROP TABLE dmp.users", "DROP"),
            ("/* SELECT */ drop table x", "DROP"),
            ("CREATE TABLE x AS SELECT 1", "CREATE"),
            ("EXPLAIN ANALYZE INSERT INTO x SELECT 1", "INSERT"),
            ("MSCK REPAIR TABLE x", "MSCK"),
            ("UNLOAD (SELECT 1) TO 's3://lake/x'", "UNLOAD"),
            ("\"SELECT\" 1", "this text"),
            ("", "this text"),
        ] {
            let expected = format!("expected a statement that only reads, found {found}");
            assert_eq!(reads_only(statement), Err(expected), "{statement}");
        }
        for statement in
            ["SELECT 1; DROP TABLE x", "WITH a AS (SELECT 1) INSERT INTO x SELECT * FROM a", "SELECT 1 INTO x"]
        {
            assert!(reads_only(statement).is_err(), "{statement}");
        }
    }

    #[test]
    fn queries_that_read_are_accepted() {
        for query in [
            "SELECT true FROM {table}",
            "(SELECT count(*) = 3 FROM {table})",
            "WITH a AS (SELECT \"$path\" AS p FROM {table}) SELECT count(DISTINCT p) > 1 FROM a;",
            "-- INSERT\n/* DROP TABLE x; */ SELECT count(*) = 0 FROM {table} WHERE name = 'delete; into' OR \"update\" IS NULL",
            "SELECT count(*) FILTER (WHERE a > 1) = 0 FROM {table}",
            "SELECT bool_and(any_match(a, x -> x IS NOT NULL)) FROM {table}",
            "SELECT max(ts) > current_timestamp - INTERVAL '1' DAY FROM {table}",
            "SELECT TRY_CAST(max(a) AS bigint) > 1 FROM {table} CROSS JOIN UNNEST(b) WITH ORDINALITY AS u (x, n)",
            "SELECT approx_percentile(a, 0.5) > 1, m['k'], ARRAY[1, 2][1] FROM {table} TABLESAMPLE BERNOULLI (10)",
            "SELECT count(CAST(json_parse(tags) AS array(varchar))) > 0 FROM {table} FOR VERSION AS OF 3",
            "SELECT bool_and(CAST(a AS map(varchar, row(x decimal(10,2)))) IS NOT NULL) FROM {table} WHERE b BETWEEN SYMMETRIC 2 AND 1",
            "/* see https://example.com/*y */ SELECT true FROM {table} -- done\r\n",
            "SELECT max(d) AT TIME ZONE 'Asia/Tokyo' > date '2020-01-01' FROM {table}",
        ] {
            assert_eq!(check(query).as_deref(), Ok(query.trim_end().trim_end_matches(';')));
        }
    }

    #[test]
    fn statements_that_are_no_question_are_refused() {
        for (query, expected) in [
            ("DROP TABLE {table}", "expected one statement that begins with SELECT"),
            ("WITH a AS (SELECT 1) INSERT INTO {table} SELECT * FROM a", "found INSERT"),
            ("SELECT * INTO x FROM {table}", "found INTO"),
            ("UNLOAD (SELECT * FROM {table}) TO 's3://other/'", "expected one statement that begins with SELECT"),
            ("CREATE VIEW v AS SELECT * FROM {table}", "expected one statement that begins with SELECT"),
            (
                "USING EXTERNAL FUNCTION f(x varchar) RETURNS varchar LAMBDA 'l' SELECT f(a) FROM {table}",
                "expected one statement that begins with SELECT",
            ),
            ("EXPLAIN ANALYZE SELECT 1 FROM {table}", "expected one statement that begins with SELECT or WITH"),
            ("SHOW COLUMNS FROM {table}", "expected one statement that begins with SELECT or WITH"),
            ("SELECT 1 FROM {table}; SELECT 2", "found a semicolon in the middle"),
            ("SELECT * FROM TABLE(pg.system.query(query => 'DELETE FROM x')), {table}", "found a table function"),
            ("SELECT 1 FROM {table}) TO 's3://other/' WITH (format = 'JSON') --", "was never opened"),
            ("SELECT (1 FROM {table}", "1 opening parentheses are not closed"),
            ("SELECT 'open FROM {table}", "can't be read"),
            ("MSCK REPAIR TABLE {table}", "expected one statement"),
            ("/*! SELECT 1 AS */ DROP /*!, 1 AS */ VIEW /*! FROM */ dmp.v /*!, {table} */", "expected one statement"),
            ("-- x\rDROP TABLE dmp.other\nSELECT true FROM {table}", "a carriage return"),
            ("-- x\rUNLOAD (SELECT 1) TO 's3://x/' /*\nSELECT true FROM {table} /* */", "a carriage return"),
            ("/* /* */ DROP TABLE dmp.other -- */ \nSELECT true FROM {table}", "expected one statement"),
            ("SELECT E'\\') TO 's3://x/', 'FROM {table}'", "was never opened"),
            ("SELECT 1", "contains {table}"),
        ] {
            let error = check(query).expect_err(query);
            assert!(error.contains(expected), "{query}: {error}");
        }
    }

    #[test]
    fn query_for_unload_stays_within_its_parentheses() {
        for good in [
            "SELECT CAST(a AS array(bigint)), CAST(m AS map(varchar, row(x bigint))) FROM t FOR VERSION AS OF 3",
            "SELECT * FROM TABLE(pg.system.query(query => 'SELECT 1')) WHERE \"update\" > delete",
            "-- day\n/* x */ SELECT 1 AS a",
            "(SELECT 1)",
            "VALUES (1, 'a)')",
            "TABLE t",
        ] {
            assert_eq!(unload(&format!(" {good} ;\n")).as_deref(), Ok(good));
        }
        for (bad, expected) in [
            ("SELECT 1) TO 's3://other/' WITH (format = 'JSON') --", "was never opened"),
            ("UNLOAD (SELECT 1) TO 's3://x'", "Turntable adds UNLOAD"),
            ("MSCK REPAIR TABLE t", "UNLOAD doesn't accept MSCK"),
            ("", "UNLOAD doesn't accept this text"),
        ] {
            let error = unload(bad).expect_err(bad);
            assert!(error.contains(expected), "{bad}: {error}");
        }
    }
}
