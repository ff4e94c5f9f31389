//! One reading of the request that is judged, or a refusal. Whatever two servers might read differently is
//! no request to us: the proxy, Keygate and the upstream must mean the same path, the same parameter, the
//! same method. Knows nothing of rules beyond the names that they read.

use std::{borrow::Cow, net::IpAddr};

use super::{
    decision::Reason,
    fetch::FetchHeaders,
    few::{Few, Values},
    identity::folds_into,
    parameters::{Parameters, hex_pair},
    site::Host,
};

/// What an adapter found out about the request that its proxy asks about. Raw; nothing has been judged.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    pub method: &'a str,
    /// Path and query exactly as the client sent them.
    pub target: &'a [u8],
    pub host: &'a str,
    /// The address of the client, as far as a trusted proxy vouches for it.
    pub client: Option<IpAddr>,
    pub headers: &'a ClientHeaders<'a>,
    /// The body, when the proxy passed it on whole.
    pub body: Option<&'a [u8]>,
}

/// The client's own headers that matter to a check, each value as it came.
#[derive(Clone, Debug, Default)]
pub struct ClientHeaders<'a> {
    pub authorization: Values<'a>,
    pub cookies: Values<'a>,
    pub content_types: Values<'a>,
    /// The client's `Content-Length: 0`, where the dialect passes the client's own.
    pub known_empty: bool,
    /// `X-HTTP-Method-Override` and its kin.
    pub method_override: bool,
    pub fetch: FetchHeaders<'a>,
}

impl<'a> ClientHeaders<'a> {
    /// Takes one header. Its name counts in every spelling that an upstream could fold into it where that is dangerous.
    pub fn take(&mut self, name: &str, value: &'a [u8]) {
        match name {
            "authorization" => self.authorization.push(value),
            "cookie" => self.cookies.push(value),
            "content-type" => self.content_types.push(value),
            name if name.len() < 23 && is_like_an_override(name) => {
                let overriding = ["x-http-method-override", "x-http-method", "x-method-override"];
                self.method_override |= overriding.iter().any(|own| folds_into(name, own));
            }
            name => self.fetch.take(name, value),
        }
    }

    fn body_kind(&self, body_is_seen: bool) -> BodyKind {
        if self.known_empty {
            return BodyKind::Other;
        }
        // Of several content types the most dangerous reading counts. A body without one is a form to some servers.
        let untyped = if body_is_seen { BodyKind::Form } else { BodyKind::Other };
        self.content_types.iter().map(|value| BodyKind::of(value)).max().unwrap_or(untyped)
    }
}

/// How an upstream might read the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum BodyKind {
    /// Not as parameters.
    Other,
    Form,
    Json,
    /// As parameters, in a way that we do not read.
    Opaque,
}

impl BodyKind {
    /// The type is cut where the laxest server cuts it: PHP ends it at `;`, `,` or a blank (`sapi_read_post_data`).
    fn of(content_type: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content_type).to_ascii_lowercase();
        let media = text.trim_start().split([';', ',', ' ', '\t']).next().unwrap_or_default();
        // Several types in one line: which of them counts is anybody's guess.
        let several = text.contains(',');
        match media {
            "application/x-www-form-urlencoded" if !several => Self::Form,
            media if media.contains("json") && !several => Self::Json,
            media if several || media.contains("form") || media.starts_with("multipart/") => Self::Opaque,
            _ => Self::Other,
        }
    }
}

/// A request with one reading.
#[derive(Debug)]
pub struct CheckRequest<'a> {
    pub method: &'a str,
    pub host: Host,
    pub client: Option<IpAddr>,
    /// The segments of the path, decoded once. `/a/` is `a` and an empty one; `/` is one empty one.
    pub segments: Segments<'a>,
    pub query: Parameters<'a>,
    pub headers: &'a ClientHeaders<'a>,
    body_kind: BodyKind,
    body: Option<&'a [u8]>,
}

/// The segments of a path, decoded.
pub type Segments<'a> = Few<Cow<'a, str>, 4>;

/// What every path begins with that Keygate serves on protected hosts.
pub(super) const OWN_SEGMENT: &str = ".keygate";
/// More of a body is not read for a decision.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Longer targets are refused; no proxy passes them by default.
const MAX_TARGET_BYTES: usize = 64 * 1024;

impl<'a> CheckRequest<'a> {
    /// # Errors
    /// `ambiguous_path` for a path with more than one reading, `missing_description` for a method or host that is none.
    pub fn parse(described: Described<'a>) -> Result<Self, Reason> {
        let Described { method, target, host, client, headers, body } = described;
        if method.is_empty() || !method.bytes().all(is_token_byte) {
            return Err(Reason::MissingDescription);
        }
        let host = Host::parse(host).map_err(|_| Reason::MissingDescription)?;
        let in_order = |byte: &u8| *byte > b' ' && *byte != 0x7f && *byte != b'#';
        if target.len() > MAX_TARGET_BYTES || !target.iter().all(in_order) {
            return Err(Reason::AmbiguousPath);
        }
        let (path, query) = match target.iter().position(|byte| *byte == b'?') {
            Some(mark) => (&target[..mark], &target[mark + 1..]),
            None => (target, &[][..]),
        };
        let segments = read_path(path).ok_or(Reason::AmbiguousPath)?;
        let body_kind = headers.body_kind(body.is_some());
        // What is larger counts as not passed on: it would have to be read for every check.
        let body = body.filter(|body| body.len() <= MAX_BODY_BYTES);
        Ok(Self { method, host, client, segments, query: Parameters::parse(query), headers, body_kind, body })
    }

    /// GET, HEAD and OPTIONS; every other method writes.
    #[must_use]
    pub fn reads(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS")
    }

    /// Somebody is on his way to see a page.
    #[must_use]
    pub fn is_navigation(&self) -> bool {
        self.method == "GET" && self.headers.fetch.may_navigate()
    }

    /// Whether it is for what Keygate itself serves on protected hosts.
    #[must_use]
    pub fn is_for_keygate(&self) -> bool {
        self.segments[0] == OWN_SEGMENT
    }

    /// The decoded path, for people.
    #[must_use]
    pub fn display_path(&self) -> String {
        self.segments.iter().fold(String::new(), |path, segment| path + "/" + segment)
    }

    /// Whether the upstream may take the method from elsewhere than the request line.
    #[must_use]
    pub fn method_is_overridden(&self) -> bool {
        let names_method = |parameters: &Parameters<'_>| !matches!(parameters.get("_method"), Ok(None));
        self.headers.method_override || names_method(&self.query) || self.body_parameters().is_some_and(|body| names_method(&body))
    }

    /// Whether a parameter of one of these names may reach the upstream through the body with another value than
    /// the query's.
    #[must_use]
    pub fn body_may_disagree(&self, names: &[String]) -> bool {
        let from_body = match (self.body_kind, self.body) {
            (BodyKind::Other, _) => return false,
            (BodyKind::Form, Some(body)) => Parameters::parse(body),
            (BodyKind::Json, Some(body)) => match Parameters::from_json(body) {
                Some(parameters) => parameters,
                None => return true,
            },
            (BodyKind::Form | BodyKind::Json, None) | (BodyKind::Opaque, _) => return true,
        };
        names.iter().any(|name| match (self.query.get(name), from_body.get(name)) {
            (Ok(_), Ok(None)) => false,
            (Ok(query), Ok(body)) => query != body,
            _ => true,
        })
    }

    /// The parameters of a form or JSON body that was passed on whole.
    #[must_use]
    pub fn body_parameters(&self) -> Option<Parameters<'_>> {
        match (self.body_kind, self.body?) {
            (BodyKind::Form, body) => Some(Parameters::parse(body)),
            (BodyKind::Json, body) => Parameters::from_json(body),
            _ => None,
        }
    }
}

/// Tells nearly all other headers at once.
fn is_like_an_override(name: &str) -> bool {
    let mut letters = name.chars();
    matches!((letters.next(), letters.nth(1)), (Some('x' | 'X'), Some('h' | 'H' | 'm' | 'M')))
}

/// RFC 9110 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reads a path: `None` when it has more than one reading. The caller has refused controls, blanks and `#`.
pub(super) fn read_path(path: &[u8]) -> Option<Segments<'_>> {
    let rest = path.strip_prefix(b"/")?;
    let mut segments = Segments::default();
    let mut raw_segments = rest.split(|byte| *byte == b'/').peekable();
    while let Some(raw) = raw_segments.next() {
        let segment = decode_segment(raw)?;
        let is_last = raw_segments.peek().is_none();
        if (segment.is_empty() && !is_last) || segment == "." || segment == ".." {
            return None;
        }
        segments.push(segment);
    }
    Some(segments)
}

fn decode_segment(raw: &[u8]) -> Option<Cow<'_, str>> {
    if raw.iter().any(|byte| matches!(byte, b';' | b'\\')) {
        return None;
    }
    let text = if raw.contains(&b'%') {
        let mut decoded = Vec::with_capacity(raw.len());
        let mut at = 0;
        while at < raw.len() {
            if raw[at] == b'%' {
                let byte = hex_pair(raw.get(at + 1..at + 3)?)?;
                if matches!(byte, b'/' | b'\\') {
                    return None;
                }
                decoded.push(byte);
                at += 3;
            } else {
                decoded.push(raw[at]);
                at += 1;
            }
        }
        // An escape that is left after decoding is one that a second decoder would decode.
        if decoded.windows(3).any(|window| window[0] == b'%' && hex_pair(&window[1..]).is_some()) {
            return None;
        }
        Cow::Owned(String::from_utf8(decoded).ok()?)
    } else {
        Cow::Borrowed(std::str::from_utf8(raw).ok()?)
    };
    (!text.chars().any(char::is_control)).then_some(text)
}

/// Takes an `http` or `https` URL apart without changing a character of it. A URL without a path has the path `/`.
#[must_use]
pub fn split_url(url: &str) -> Option<(&str, &str)> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let head = url.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &url[scheme.len()..])
    })?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    match target.as_bytes().first() {
        None => Some((host, "/")),
        Some(b'/') => Some((host, target)),
        // `http://host?query` has an empty path, which no proxy would send on like that.
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> Option<Vec<String>> {
        read_path(target.as_bytes()).map(|segments| segments.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(path("/").unwrap(), [""]);
        assert_eq!(path("/%61dmin/x%20y/").unwrap(), ["admin", "x y", ""]);
        assert_eq!(path("/%C3%A4/a%25b").unwrap(), ["ä", "a%b"]);
        assert_eq!(path("/a%3fb").unwrap(), ["a?b"]);
    }

    #[test]
    fn a_path_with_two_readings_is_none() {
        for bad in [
            "",
            "a",
            "//",
            "/a//b",
            "//a",
            "/.",
            "/..",
            "/a/../b",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/%252e",
            "/%25%32%65",
            "/a%2525",
            "/a;b",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "/a%",
            "/a%4",
            "/a%zz",
            "/%ff",
            "/%c3",
        ] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }

    fn may_disagree(content_type: &str, body: Option<&str>) -> bool {
        let mut headers = ClientHeaders::default();
        headers.take("content-type", content_type.as_bytes());
        let described = Described {
            method: "POST",
            target: b"/?idSite=1",
            host: "h",
            client: None,
            headers: &headers,
            body: body.map(str::as_bytes),
        };
        CheckRequest::parse(described).unwrap().body_may_disagree(&["idSite".to_owned()])
    }

    #[test]
    fn a_body_that_could_say_otherwise_is_suspect() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        assert!(may_disagree(form, None));
        assert!(!may_disagree(form, Some("a=b&idSite=1")));
        assert!(may_disagree(form, Some("idSite=2")));
        assert!(may_disagree(form, Some("idSite[]=1")));
        assert!(!may_disagree("application/json", Some(r#"{"idSite": 1, "x": [2]}"#)));
        for body in [r#"{"idSite": 2}"#, r#"{"idSite": 1, "idSite": 2}"#, r#"{"idSite": [1]}"#, "[", ""] {
            assert!(may_disagree("application/vnd.api+json", Some(body)), "{body}");
        }
        for odd in ["multipart/form-data; boundary=x", "multipart/mixed", "application/x-www-form-urlencoded2"] {
            assert!(may_disagree(odd, Some("")), "{odd}");
        }
        for cut in [
            "application/x-www-form-urlencoded x",
            "application/x-www-form-urlencoded\tcharset=utf-8",
            "text/x-json",
            "application/jsonrequest",
        ] {
            assert!(may_disagree(cut, None), "{cut}");
        }
        let large = "a=1&".repeat(20_000);
        assert!(may_disagree(form, Some(&large)), "too large to be read");
        assert!(may_disagree(form, Some(&"a&".repeat(2_000))), "too many to be read");
        assert!(may_disagree("text/plain, application/json", Some("")));
        assert!(!may_disagree("application/octet-stream", None));
    }

    #[test]
    fn a_url_is_cut_and_not_changed() {
        assert_eq!(split_url("http://h:80/a/../b?c#d"), Some(("h:80", "/a/../b?c#d")));
        assert_eq!(split_url("HTTPS://H"), Some(("H", "/")));
        for bad in ["", "h/a", "ftp://h/", "http:/h", "http://h?x", "/a"] {
            assert_eq!(split_url(bad), None, "{bad}");
        }
    }
}
