//! The HTTP server. Every request passes the guard first, and every answer has the same headers.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{
    actions::{self, Wanted},
    assets, configuration, dataset,
    guard::Guard,
    overview,
    stack::{Connected, Source},
};
use crate::{lambda::FunctionError, target::Target, trouble::NoAnswer};

/// The largest body of a request, in bytes. A reason is shorter.
const MAX_BODY: usize = 16 * 1024;

/// How often the page requests its data again, in seconds. In AWS, each request invokes a function, which costs money.
const REFRESH_LOCAL: u64 = 5;
const REFRESH_AWS: u64 = 30;

/// The server's state.
pub struct Server {
    guard: Guard,
    source: Source,
}

type Shared = State<Arc<Server>>;

impl Server {
    /// Connects to the stack. Fails if the stack can't be reached, so that the command reports this before anybody
    /// opens the page.
    pub async fn connect(target: Target, guard: Guard) -> Result<Server> {
        let server = Server::new(target, guard);
        server.source.connected().await?;
        Ok(server)
    }

    /// Returns a server that connects to the stack on the first request.
    pub fn new(target: Target, guard: Guard) -> Server {
        Server { guard, source: Source::new(target) }
    }

    /// Answers requests until the future is dropped.
    pub async fn serve(self, listener: TcpListener) -> Result<()> {
        Ok(axum::serve(listener, router(Arc::new(self))).await?)
    }

    /// Calls `ask` with the connected stack. After an error, unless a function returned it, the next request connects
    /// again.
    async fn ask<T>(&self, ask: impl AsyncFnOnce(Arc<Connected>) -> Result<T>) -> Result<T> {
        let answer = match self.source.connected().await {
            Ok(connected) => ask(connected).await,
            Err(error) => Err(error),
        };
        if answer.as_ref().is_err_and(|error| !error.is::<FunctionError>()) {
            self.source.reconnect().await;
        }
        answer
    }
}

fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/{asset}", get(page))
        .route("/api/about", get(about))
        .route("/api/overview", get(show_overview))
        .route("/api/datasets/{name}", get(show_dataset))
        .route("/api/configuration", get(show_configuration))
        .route("/api/effects", post(show_effect))
        .route("/api/actions", post(act))
        .fallback(async || failed(StatusCode::NOT_FOUND, "there is nothing at this address"))
        .layer(from_fn_with_state(server.clone(), guarded))
        .with_state(server)
}

async fn guarded(State(server): Shared, request: Request, next: Next) -> Response {
    let checked = server.guard.check(request.method(), request.uri(), request.headers());
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => failed(refusal.status(), refusal.message()),
    };
    for (name, value) in assets::HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn page(uri: Uri) -> Response {
    match assets::at(uri.path()) {
        Some(asset) => ([(header::CONTENT_TYPE, asset.kind)], asset.text).into_response(),
        None => failed(StatusCode::NOT_FOUND, "there is nothing at this address"),
    }
}

async fn about(State(server): Shared, headers: HeaderMap) -> Response {
    let target = &server.source.target;
    let who = server.ask(async |connected: Arc<Connected>| Ok(connected.stack.described().await)).await;
    answered(
        &headers,
        who.map(|who| {
            json!({
                "who": who,
                "stack": target.stack,
                "is_aws": target.aws,
                "options": target.options(),
                "allows_actions": server.guard.allows_actions,
                "refresh_seconds": if target.aws { REFRESH_AWS } else { REFRESH_LOCAL },
                "version": env!("CARGO_PKG_VERSION"),
            })
        }),
    )
}

async fn show_overview(State(server): Shared, headers: HeaderMap) -> Response {
    answered(&headers, server.ask(async |connected: Arc<Connected>| overview::overview(&connected).await).await)
}

async fn show_dataset(State(server): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    answered(&headers, server.ask(async |connected: Arc<Connected>| dataset::dataset(&connected, &name).await).await)
}

async fn show_configuration(State(server): Shared, headers: HeaderMap) -> Response {
    let found = server.ask(async |connected: Arc<Connected>| configuration::configuration(&connected).await).await;
    answered(&headers, found.and_then(|found| Ok(serde_json::to_value(found)?)))
}

async fn show_effect(State(server): Shared, headers: HeaderMap, body: Body) -> Response {
    let wanted = match wanted(body).await {
        Ok(wanted) => wanted,
        Err(refused) => return refused,
    };
    let options = server.source.target.options();
    let effect =
        server.ask(async |connected: Arc<Connected>| actions::effect(&connected, &wanted, &options).await).await;
    answered(&headers, effect.and_then(|effect| Ok(serde_json::to_value(effect)?)))
}

async fn act(State(server): Shared, headers: HeaderMap, body: Body) -> Response {
    let wanted = match wanted(body).await {
        Ok(wanted) => wanted,
        Err(refused) => return refused,
    };
    let options = server.source.target.options();
    // The action goes on if the browser leaves, so that it is never half known.
    let acting = tokio::spawn(async move {
        server.ask(async |connected: Arc<Connected>| actions::carry_out(&connected, &wanted, &options).await).await
    });
    let done = acting.await.map_err(anyhow::Error::from).and_then(|done| done);
    answered(&headers, done.map(|text| json!({ "done": text })))
}

async fn wanted(body: Body) -> Result<Wanted, Response> {
    let bytes = to_bytes(body, MAX_BODY).await;
    let bytes = bytes.map_err(|_| failed(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| failed(StatusCode::BAD_REQUEST, &format!("the request is not as expected: {error}")))
}

/// Answers with JSON, or with status 304 if the browser already has the same answer apart from ages.
fn answered(headers: &HeaderMap, found: Result<Value>) -> Response {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let status = if error.is::<NoAnswer>() {
                StatusCode::SERVICE_UNAVAILABLE
            } else if error.is::<FunctionError>() {
                StatusCode::CONFLICT
            } else {
                StatusCode::BAD_GATEWAY
            };
            return failed(status, &format!("{error:#}"));
        }
    };
    let tag = tag(&found);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    ([(header::ETAG, tag), (header::CONTENT_TYPE, "application/json".into())], found.to_string()).into_response()
}

fn failed(status: StatusCode, message: &str) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, json!({ "error": message }).to_string()).into_response()
}

/// Returns the answer's ETag, which doesn't depend on ages and on the time of the answer.
fn tag(answer: &Value) -> String {
    fn timeless(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(name, _)| *name != "age_seconds");
                Value::Object(kept.map(|(name, value)| (name.clone(), timeless(value))).collect())
            }
            Value::Array(items) => items.iter().map(timeless).collect(),
            other => other.clone(),
        }
    }
    let mut answer = timeless(answer);
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("at");
    }
    let mut hasher = DefaultHasher::new();
    answer.to_string().hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_changes_with_the_state_but_not_with_time() {
        let one = json!({ "at": 1, "datasets": [{ "live": "a", "age_seconds": 5, "flipped": { "at": 1 } }] });
        let later = json!({ "at": 2, "datasets": [{ "live": "a", "age_seconds": 6, "flipped": { "at": 1 } }] });
        let flipped = json!({ "at": 2, "datasets": [{ "live": "a", "age_seconds": 6, "flipped": { "at": 2 } }] });
        assert_eq!(tag(&one), tag(&later));
        assert_ne!(tag(&one), tag(&flipped));
    }

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let first = answered(&HeaderMap::new(), Ok(json!({ "at": 1, "x": 1 })));
        let tag = first.headers()[header::ETAG].clone();
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
        assert_eq!(answered(&headers, Ok(json!({ "at": 2, "x": 1 }))).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answered(&headers, Ok(json!({ "at": 2, "x": 2 }))).status(), StatusCode::OK);
    }

    #[test]
    fn failures_have_their_status() {
        let status = |error| answered(&HeaderMap::new(), Err(error)).status();
        assert_eq!(status(anyhow::anyhow!(NoAnswer("no stack".into()))), StatusCode::SERVICE_UNAVAILABLE);
        let refused = FunctionError { error_type: "Input".into(), error_message: "no".into() };
        assert_eq!(status(anyhow::anyhow!(refused)), StatusCode::CONFLICT);
        assert_eq!(status(anyhow::anyhow!("odd")), StatusCode::BAD_GATEWAY);
    }
}
