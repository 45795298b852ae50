//! Finds function calls and columns in the expressions that EXPLAIN prints.

/// A function call in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The schema, which the server prints only if the search path doesn't lead to the function.
    pub schema: Option<String>,
    pub name: String,
    /// The window after OVER, if this is a window function: its name, or `(?)` before PostgreSQL 18.
    pub window: Option<String>,
}

/// Returns the calls in an expression. Quoted text is skipped; keywords such as COALESCE are returned like calls.
pub fn calls(expression: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // The call that each open parenthesis belongs to, by its index.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut before_filter = None;
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            rest = after_text(rest);
        } else if c == '"' || c == '_' || c.is_alphabetic() {
            let (path, after) = path(rest);
            rest = after;
            if let Some(inside) = rest.strip_prefix('(') {
                let mut path = path.into_iter().rev();
                let (name, schema) = (path.next().unwrap_or_default(), path.next());
                open.push(Some(calls.len()));
                calls.push(Call { schema, name, window: None });
                rest = inside;
            }
        } else {
            rest = &rest[c.len_utf8()..];
            match c {
                '(' => open.push(before_filter.take()),
                ')' => {
                    let call = open.pop().flatten();
                    if let Some(window) = rest.strip_prefix(" OVER ")
                        && let Some(call) = call.and_then(|call| calls.get_mut(call))
                    {
                        call.window = Some(window_name(window).to_owned());
                    }
                    before_filter = call.filter(|_| rest.starts_with(" FILTER ("));
                }
                _ => {}
            }
        }
    }
    calls
}

/// Returns what the server prints for a window at the start of `rest`: its name, or `(?)`.
fn window_name(rest: &str) -> &str {
    let end = rest.find(|c: char| c == ')' && !rest.starts_with('(') || c == ',' || c == ' ').unwrap_or(rest.len());
    if rest.starts_with('(') { "(?)" } else { &rest[..end] }
}

/// Returns what follows the single-quoted string at the start of `rest`.
fn after_text(rest: &str) -> &str {
    let mut rest = &rest[1..];
    loop {
        let Some(end) = rest.find('\'') else { return "" };
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(more) => rest = more,
            None => return rest,
        }
    }
}

/// Splits a name such as `s.f` or `s."F"` from the start of `rest`. Returns its parts without quotes, and what follows.
fn path(mut rest: &str) -> (Vec<String>, &str) {
    let mut parts = Vec::new();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted),
            None => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        parts.push(part);
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None => return (parts, after),
        }
    }
}

/// Returns the name before its closing quote, and what follows the quote.
fn quoted_part(mut rest: &str) -> (String, &str) {
    let mut part = String::new();
    loop {
        let Some(end) = rest.find('"') else { return (part + rest, "") };
        part += &rest[..end];
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return (part, rest),
        }
    }
}

/// Returns whether the expression compares a column, not a computed value, with the text `marker`, as in
/// `((t.id)::text IS DISTINCT FROM 'marker'::text)`.
pub fn compares_column(expression: &str, marker: &str) -> bool {
    let Some((before, _)) = expression.split_once(&format!(" IS DISTINCT FROM '{marker}'")) else { return false };
    let operand = match before.strip_suffix(")::text") {
        Some(cast) => cast,
        None => before,
    };
    // The operand begins after the last parenthesis that isn't part of a quoted name.
    let mut is_quoted = false;
    let mut start = 0;
    for (at, c) in operand.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '(' | ')' | ' ' if !is_quoted => start = at + 1,
            _ => {}
        }
    }
    let operand = &operand[start..];
    let opens_after_parenthesis = before[..before.len().min(start)].ends_with('(');
    let (parts, after) = path(operand);
    let is_name = |part: &String| !part.is_empty() && !part.starts_with(|c: char| c.is_ascii_digit());
    opens_after_parenthesis && after.is_empty() && parts.iter().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(expression: &str) -> Vec<String> {
        let name = |call: Call| call.schema.map(|schema| schema + ".").unwrap_or_default() + &call.name;
        calls(expression).into_iter().map(name).collect()
    }

    #[test]
    fn calls_are_found_outside_of_texts() {
        assert_eq!(names("(random() < '0.5'::double precision)"), ["random"]);
        assert_eq!(names("'random()'::text"), [""; 0]);
        assert_eq!(names("('it''s f('::text || s.g(t.a, \"left\"('(('::text, 1)))"), ["s.g", "left"]);
        assert_eq!(names("\"S\".\"My \"\"F\"(1)"), ["S.My \"F"]);
        assert_eq!(names("(t.a = ANY ('{1,2}'::integer[]))"), [""; 0]);
        assert_eq!(names("'unterminated f("), [""; 0]);
        assert_eq!(names("(名前(t.\"列(\") + 1)"), ["名前"]);
    }

    #[test]
    fn a_window_function_is_told_from_its_arguments() {
        let windows = |expression: &str| {
            let found = calls(expression).into_iter();
            found.filter_map(|call| call.window.map(|window| (call.name, window))).collect::<Vec<_>>()
        };
        let of = |name: &str, window: &str| (name.to_owned(), window.to_owned());
        assert_eq!(windows("(row_number() OVER (?))"), [of("row_number", "(?)")]);
        assert_eq!(windows("round((x / sum(abs(x)) OVER w1), 2)"), [of("sum", "w1")]);
        assert_eq!(windows("count(*) FILTER (WHERE f(x)) OVER w2"), [of("count", "w2")]);
    }

    #[test]
    fn a_column_is_told_from_a_computed_value() {
        let column = |operand: &str| compares_column(&format!("({operand} IS DISTINCT FROM 'm'::text)"), "m");
        for operand in
            ["(t.id)::text", "t.name", "name", "(\"T 1\".\"a)(\")::text", "(\"a\"\"b\")::text", "(t_1.日)::text"]
        {
            assert!(column(operand), "{operand}");
        }
        for operand in
            ["((t.id + 1))::text", "(f(t.id))::text", "(1)::text", "'1'::text", "((t.a || t.b))", "lower(t.a)"]
        {
            assert!(!column(operand), "{operand}");
        }
        assert!(!compares_column("(t.id = 5)", "m"));
        assert!(compares_column("((t.a > 5) AND ((t.id)::text IS DISTINCT FROM 'm'::text))", "m"));
    }
}
