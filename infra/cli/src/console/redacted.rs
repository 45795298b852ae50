//! Hides passwords in a configuration. A file for a laptop may have them in URLs.

const HIDDEN: &str = "•••";

/// Returns the text, but hides the passwords in its URLs, and the values of keys whose names contain `password`.
pub fn redacted(text: &str) -> String {
    text.split_inclusive('\n').map(|line| keys(&urls(line))).collect()
}

/// Hides what is between `://USER:` and `@` in each URL.
fn urls(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        out += before;
        out += "://";
        // A password may contain anything but these. The last @ ends it, as in `a@b@host`.
        let end = after.find(['/', '"', '\'', ' ', '\n', '?', '#']).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@').and_then(|(login, host)| Some((login.split_once(':')?.0, host))) {
            Some((user, host)) => out += &format!("{user}:{HIDDEN}@{host}"),
            None => out += authority,
        }
        rest = tail;
    }
    out + rest
}

/// Hides the value after `…password… =`, in TOML and in the query of a URL.
fn keys(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let Some(at) = lower.find("password") else { return line.to_owned() };
    let (head, tail) = line.split_at(at);
    let Some((name, value)) = tail.split_once('=') else { return line.to_owned() };
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "_- \"'".contains(c)) {
        return line.to_owned();
    }
    let (space, value) = value.split_at(value.len() - value.trim_start().len());
    let mut quote = value.chars();
    let (open, inner) = match quote.next() {
        Some(open @ ('"' | '\'')) => (open.to_string(), quote.as_str()),
        _ => (String::new(), value),
    };
    let ends: &[char] = if open.is_empty() { &['&', '"', '\'', ' ', ',', '}', '\n'] } else { &['"', '\'', '\n'] };
    let end = inner.find(ends).unwrap_or(inner.len());
    let (_, after) = inner.split_at(end);
    format!("{head}{name}={space}{open}{HIDDEN}{}", keys(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_left() {
        for (text, expected) in [
            ("url = \"postgres://me:hunter2@db:5432/app\"\n", "url = \"postgres://me:•••@db:5432/app\"\n"),
            ("url = \"mysql://me:hun@ter2@db/app\"", "url = \"mysql://me:•••@db/app\""),
            (
                "url = \"postgres://db/app?user=me&password=hunter2&x=1\"",
                "url = \"postgres://db/app?user=me&password=•••&x=1\"",
            ),
            ("url = \"postgres://db/app?sslpassword=hunter2\"", "url = \"postgres://db/app?sslpassword=•••\""),
            ("password = \"hunter2\"\n", "password = \"•••\"\n"),
            ("x = { password = 'hunter2', y = 1 }", "x = { password = '•••', y = 1 }"),
        ] {
            assert_eq!(redacted(text), expected);
        }
        let other = "# a password is in the secret\nlocation = \"s3://lake/a/\"\nurl = \"postgres://me@db/app\"\n";
        assert_eq!(redacted(other), other);
    }
}
