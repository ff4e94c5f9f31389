//! The stylesheet and the script of the pages, at paths that change with them, so that browsers may keep them for good.

use std::sync::LazyLock;

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sha2::{Digest as _, Sha256};

/// What the pages need that stand alone. It can stand in a page itself.
pub(super) const STYLE: &str = include_str!("style.css");
/// With what those need that people work with.
const WHOLE_STYLE: &str = concat!(include_str!("style.css"), include_str!("inside.css"));
/// What else the pages with pictures need.
const PICTURES: &str = include_str!("pictures.css");
const SCRIPT: &str = include_str!("app.js");

/// Where the stylesheet is served.
pub(super) fn path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| format!("/style-{}.css", version(WHOLE_STYLE)));
    &PATH
}

/// Where the stylesheet of the pictures is.
pub(super) fn pictures_path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| format!("/pictures-{}.css", version(PICTURES)));
    &PATH
}

/// Where the script is.
pub(super) fn script_path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| format!("/app-{}.js", version(SCRIPT)));
    &PATH
}

fn version(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..9])
}

/// As a Content-Security-Policy names it where it stands in the page itself.
pub(super) fn hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(STYLE))));
    &HASH
}

pub(super) async fn serve() -> HttpResponse {
    kept("text/css; charset=utf-8", WHOLE_STYLE)
}

pub(super) async fn serve_pictures() -> HttpResponse {
    kept("text/css; charset=utf-8", PICTURES)
}

pub(super) async fn serve_script() -> HttpResponse {
    kept("text/javascript; charset=utf-8", SCRIPT)
}

fn kept(content_type: &'static str, body: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(body)
}
