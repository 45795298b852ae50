//! Refuses every request that the console's own page has not sent.
//!
//! Any page in the browser can send requests to 127.0.0.1, and a name that resolves to it makes them look like the
//! console's own (DNS rebinding). So each request must name this server exactly, must not come from another site, and must
//! show the token, which only the printed address has. The page sends the token in a header, which no other site's page
//! can add without a CORS preflight; the console answers none.

use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The server's address, and what a request must show to be answered.
#[derive(Debug, Clone)]
pub struct Guard {
    host: String,
    origin: String,
    token: String,
    pub allows_actions: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Host,
    Origin,
    Site,
    NoToken,
    Token,
    ReadOnly,
    NotJson,
}

impl Refusal {
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::NoToken | Refusal::Token => StatusCode::UNAUTHORIZED,
            Refusal::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Host | Refusal::Origin | Refusal::Site | Refusal::ReadOnly => StatusCode::FORBIDDEN,
        }
    }

    /// Says what is wrong and what to do, without quoting the request.
    pub fn message(self) -> &'static str {
        match self {
            Refusal::Host => "the request names another host: open the address that `turntable console` printed",
            Refusal::Origin => "the request comes from another origin, which may not use this console",
            Refusal::Site => "the request comes from another site: open the address that `turntable console` printed",
            Refusal::NoToken => "the token is missing: open the address that `turntable console` printed",
            Refusal::Token => "the token is wrong: open the address that the running `turntable console` printed",
            Refusal::ReadOnly => "this console is read-only: start it with --allow-actions to act from it",
            Refusal::NotJson => "an action must be sent as application/json",
        }
    }
}

impl Guard {
    pub fn new(port: u16, token: String, allows_actions: bool) -> Guard {
        let host = format!("127.0.0.1:{port}");
        Guard { origin: format!("http://{host}"), host, token, allows_actions }
    }

    /// Returns the page's address with the token. The fragment after `#` is never sent over the network, so no log or
    /// `Referer` has it.
    pub fn url(&self) -> String {
        format!("{}/#token={}", self.origin, self.token)
    }

    /// Checks a request before anything else handles it.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let is_data = uri.path().starts_with("/api/");
        let changes = *method != Method::GET && *method != Method::HEAD;
        self.names_this_server(uri, headers)?;
        self.comes_from_this_page(changes, is_data, headers)?;
        if is_data {
            self.knows_the_token(headers)?;
        }
        if changes {
            if !self.allows_actions {
                return Err(Refusal::ReadOnly);
            }
            if only(headers, header::CONTENT_TYPE) != Some("application/json") {
                return Err(Refusal::NotJson);
            }
        }
        Ok(())
    }

    fn names_this_server(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let is_other = uri.authority().is_some_and(|authority| authority.as_str() != self.host);
        match only(headers, header::HOST) {
            Some(host) if host == self.host && !is_other => Ok(()),
            _ => Err(Refusal::Host),
        }
    }

    /// Checks `Origin` and `Sec-Fetch-Site`. Browsers leave out `Origin` in requests that change nothing and that a page
    /// sends to its own server, and so do programs that are no browsers.
    fn comes_from_this_page(&self, changes: bool, is_data: bool, headers: &HeaderMap) -> Result<(), Refusal> {
        let has_origin = headers.contains_key(header::ORIGIN);
        if (has_origin || changes) && only(headers, header::ORIGIN) != Some(self.origin.as_str()) {
            return Err(Refusal::Origin);
        }
        match only(headers, SEC_FETCH_SITE) {
            None if headers.contains_key(SEC_FETCH_SITE) => Err(Refusal::Site),
            None | Some("same-origin") => Ok(()),
            // The user typed the address, or opened it from a terminal.
            Some("none") if !is_data => Ok(()),
            Some(_) => Err(Refusal::Site),
        }
    }

    fn knows_the_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let shown = only(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let shown = shown.ok_or(Refusal::NoToken)?;
        match bool::from(shown.as_bytes().ct_eq(self.token.as_bytes())) {
            true => Ok(()),
            false => Err(Refusal::Token),
        }
    }
}

/// Returns a header's value if the request has it exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: (&str, &str) = ("host", "127.0.0.1:4000");
    const ORIGIN: (&str, &str) = ("origin", "http://127.0.0.1:4000");
    const TOKEN: (&str, &str) = ("authorization", "Bearer secret");
    const JSON: (&str, &str) = ("content-type", "application/json");

    fn asked(method: Method, uri: &str, headers: &[(&str, &str)], allows_actions: bool) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Guard::new(4000, "secret".into(), allows_actions).check(&method, &uri.parse().unwrap(), &map)
    }

    fn get(uri: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        asked(Method::GET, uri, headers, false)
    }

    #[test]
    fn only_the_exact_host_is_answered() {
        assert_eq!(get("/", &[HOST]), Ok(()));
        for host in
            ["localhost:4000", "evil.example:4000", "127.0.0.1", "127.0.0.1:4001", "127.0.0.1:4000.evil.example"]
        {
            assert_eq!(get("/", &[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(get("/", &[]), Err(Refusal::Host));
        assert_eq!(get("/", &[HOST, HOST]), Err(Refusal::Host), "two hosts");
        assert_eq!(get("http://evil.example/", &[HOST]), Err(Refusal::Host), "another host in the request line");
    }

    #[test]
    fn no_other_origin_and_no_other_site_is_answered() {
        for origin in ["null", "http://evil.example", "http://127.0.0.1:4001", "https://127.0.0.1:4000"] {
            assert_eq!(get("/", &[HOST, ("origin", origin)]), Err(Refusal::Origin), "{origin}");
        }
        assert_eq!(get("/", &[HOST, ORIGIN]), Ok(()));
        for site in ["cross-site", "same-site", "odd"] {
            assert_eq!(get("/", &[HOST, ("sec-fetch-site", site)]), Err(Refusal::Site), "{site}");
        }
        assert_eq!(get("/", &[HOST, ("sec-fetch-site", "none")]), Ok(()), "a typed address");
        let typed = [HOST, TOKEN, ("sec-fetch-site", "none")];
        assert_eq!(get("/api/overview", &typed), Err(Refusal::Site), "data is only for the page");
    }

    #[test]
    fn data_needs_the_token() {
        assert_eq!(get("/api/overview", &[HOST]), Err(Refusal::NoToken));
        for wrong in ["Bearer ", "Bearer secre", "Bearer secrets", "Bearer SECRET"] {
            assert_eq!(get("/api/overview", &[HOST, ("authorization", wrong)]), Err(Refusal::Token), "{wrong}");
        }
        assert_eq!(get("/api/overview", &[HOST, ("authorization", "secret")]), Err(Refusal::NoToken));
        assert_eq!(get("/api/overview", &[HOST, TOKEN, TOKEN]), Err(Refusal::NoToken), "two tokens");
        assert_eq!(get("/api/overview", &[HOST, TOKEN, ("sec-fetch-site", "same-origin")]), Ok(()));
    }

    #[test]
    fn changes_need_permission_the_origin_and_json() {
        let post = |headers: &[(&str, &str)], allowed| asked(Method::POST, "/api/actions", headers, allowed);
        let right = [HOST, ORIGIN, TOKEN, JSON];
        assert_eq!(post(&right, true), Ok(()));
        assert_eq!(post(&right, false), Err(Refusal::ReadOnly));
        assert_eq!(post(&[HOST, TOKEN, JSON], true), Err(Refusal::Origin));
        assert_eq!(post(&[HOST, ORIGIN, JSON], true), Err(Refusal::NoToken));
        assert_eq!(post(&[HOST, ORIGIN, TOKEN, ("content-type", "text/plain")], true), Err(Refusal::NotJson));
        for method in [Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE] {
            assert_eq!(asked(method, "/api/actions", &right, false), Err(Refusal::ReadOnly));
        }
    }
}
