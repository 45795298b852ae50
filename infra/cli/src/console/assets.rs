//! The page: one HTML file, one style sheet and one script, which are part of the program.

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// The media type.
    pub kind: &'static str,
    pub text: &'static str,
}

/// Returns the file at a path.
pub fn at(path: &str) -> Option<Asset> {
    let (kind, text) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("page/index.html")),
        "/console.css" => ("text/css; charset=utf-8", include_str!("page/console.css")),
        "/console.js" => ("text/javascript; charset=utf-8", include_str!("page/console.js")),
        "/icon.svg" => ("image/svg+xml", include_str!("page/icon.svg")),
        _ => return None,
    };
    Some(Asset { kind, text })
}

/// The headers of every answer. The policy allows the page's own files and nothing else: no inline script or style, no
/// other site, no frame, no form.
pub const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_no_inline_code_and_no_other_site() {
        for path in ["/", "/console.css", "/console.js", "/icon.svg"] {
            let text = at(path).unwrap().text;
            let others: Vec<&str> = text.matches("https://").chain(text.matches("@import")).collect();
            assert!(others.is_empty(), "{path}: {others:?}");
        }
        let page = at("/").unwrap().text;
        assert!(!page.contains(" style=") && !page.contains(" onclick=") && !page.contains("<style"));
        assert!(page.contains("<script type=\"module\" src=\"/console.js\"></script>"));
        let script = at("/console.js").unwrap().text;
        for unsafe_way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!script.contains(unsafe_way), "{unsafe_way} could make code of a name");
        }
        assert!(at("/../Cargo.toml").is_none() && at("/index.html").is_none());
    }
}
