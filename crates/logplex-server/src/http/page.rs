//! The web page at `/`: a few files in the binary, written to be read, with no step that builds them.
//!
//! The page is a client of the API like any other; nothing here knows a key or a channel. Its policy allows requests
//! to this server alone, and no script and no style but these files: a line that is hostile finds nothing to run.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::App;

/// `'self'` is this server for websockets, too. Trusted types make the browser refuse whatever would read text as
/// markup, in our own scripts as well.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A path, its type and its content.
type File = (&'static str, &'static str, &'static str);

macro_rules! script {
    ($name:literal) => {
        (concat!("/page/", $name), SCRIPT, include_str!(concat!("../page/", $name)))
    };
}

const FILES: &[File] = &[
    ("/", HTML, include_str!("../page/index.html")),
    ("/page/style.css", CSS, include_str!("../page/style.css")),
    script!("main.js"),
    script!("api.js"),
    script!("chart.js"),
    script!("details.js"),
    script!("drains.js"),
    script!("filter.js"),
    script!("lines.js"),
    script!("list.js"),
    script!("stream.js"),
    script!("text.js"),
];

pub(super) fn router() -> Router<Arc<App>> {
    FILES.iter().fold(Router::new(), |router, (path, content_type, content)| {
        let tag = tag(content);
        router.route(path, get(async move |headers| serve(headers, content_type, content, &tag)))
    })
}

/// The file, unless the browser has it: it asks each time, so that an update of the server is one of the page.
fn serve(headers: HeaderMap, content_type: &'static str, content: &'static str, tag: &str) -> Response {
    let known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let always = [
        (CACHE_CONTROL.as_str(), "no-cache"),
        (ETAG.as_str(), tag),
        ("content-security-policy", POLICY),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, always).into_response();
    }
    (always, [(CONTENT_TYPE, content_type)], content).into_response()
}

fn tag(content: &str) -> String {
    let digest = Sha256::digest(content);
    let mut tag = String::from("\"");
    for byte in &digest[..8] {
        // Writing to a string cannot fail.
        write!(tag, "{byte:02x}").ok();
    }
    tag + "\""
}
