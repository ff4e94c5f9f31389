//! What a browser says of how a request came about: Fetch Metadata (`Sec-Fetch-*`), `Origin` and `Accept`. No script of a
//! page can write the first two, so they tell a page of ours from one of others. Where one is doubled, the reading that
//! trusts least counts.

use super::{few::Values, origin::Origin};

/// The headers, each value as it came.
#[derive(Clone, Debug, Default)]
pub struct FetchHeaders<'a> {
    site: Values<'a>,
    mode: Values<'a>,
    dest: Values<'a>,
    origin: Values<'a>,
    accept: Values<'a>,
    websocket: bool,
    ahead: bool,
}

impl<'a> FetchHeaders<'a> {
    /// Takes one header; its name is in lower case.
    pub fn take(&mut self, name: &str, value: &'a [u8]) {
        match name {
            "sec-fetch-site" => self.site.push(value),
            "sec-fetch-mode" => self.mode.push(value),
            "sec-fetch-dest" => self.dest.push(value),
            "origin" => self.origin.push(value),
            "accept" => self.accept.push(value),
            // Every handshake has it, over HTTP/1.1 and HTTP/2, and proxies pass it on where they keep `Upgrade`.
            "sec-websocket-version" => self.websocket = true,
            // `prefetch`, or `prefetch;prerender`; nothing else is defined.
            "sec-purpose" => self.ahead = true,
            _ => {}
        }
    }

    /// Whether the browser asks ahead of its user, who may never come (`Sec-Purpose`).
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.ahead
    }

    /// Whether a page of `own` has sent this, or the user himself; `None` when the browser does not say.
    #[must_use]
    pub fn is_own(&self, own: Option<&Origin>) -> Option<bool> {
        if !self.site.is_empty() {
            return Some(all(&self.site, &[b"same-origin", b"none"]));
        }
        let own = own.map(ToString::to_string).unwrap_or_default();
        (!self.origin.is_empty()).then(|| all(&self.origin, &[own.as_bytes()]))
    }

    /// Whether it opens a WebSocket, which reads and writes whatever its method is.
    #[must_use]
    pub fn opens_websocket(&self) -> bool {
        let asks = |value: &&[u8]| value.split(|byte| *byte == b',').any(|mode| mode.trim_ascii() == b"websocket");
        self.websocket || self.mode.iter().any(asks)
    }

    /// Whether the browser says that somebody is on his way to see a page.
    #[must_use]
    pub fn is_said_to_navigate(&self) -> bool {
        !self.mode.is_empty() && all(&self.mode, &[b"navigate"]) && !self.dest.is_empty() && all(&self.dest, &[b"document"])
    }

    /// The same; of a browser that says nothing, by what it would like to get.
    #[must_use]
    pub fn may_navigate(&self) -> bool {
        let silent = self.site.is_empty() && self.mode.is_empty() && self.dest.is_empty();
        let html = |value: &&[u8]| String::from_utf8_lossy(value).to_ascii_lowercase().contains("text/html");
        if silent { self.accept.iter().any(html) } else { self.is_said_to_navigate() }
    }
}

fn all(values: &[&[u8]], good: &[&[u8]]) -> bool {
    values.iter().all(|value| good.contains(&value.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch<'a>(headers: &[(&str, &'a str)]) -> FetchHeaders<'a> {
        let mut fetch = FetchHeaders::default();
        for (name, value) in headers {
            fetch.take(name, value.as_bytes());
        }
        fetch
    }

    #[test]
    fn of_two_values_the_more_dangerous_counts() {
        let own = Origin::parse("https://shop.example.com").unwrap();
        for (headers, is_own) in [
            (&[][..], None),
            (&[("sec-fetch-site", "same-origin")], Some(true)),
            (&[("sec-fetch-site", "none")], Some(true)),
            (&[("sec-fetch-site", "same-site")], Some(false)),
            (&[("sec-fetch-site", "cross-site")], Some(false)),
            (&[("sec-fetch-site", "")], Some(false)),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], Some(false)),
            (&[("sec-fetch-site", "same-origin,cross-site")], Some(false)),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], Some(true)),
            (&[("origin", "https://shop.example.com")], Some(true)),
            (&[("origin", "https://shop.example.com:8443")], Some(false)),
            (&[("origin", "http://shop.example.com")], Some(false)),
            (&[("origin", "null")], Some(false)),
            (&[("origin", "https://shop.example.com"), ("origin", "https://evil.example")], Some(false)),
        ] {
            assert_eq!(fetch(headers).is_own(Some(&own)), is_own, "{headers:?}");
        }
        assert_eq!(fetch(&[("origin", "https://shop.example.com")]).is_own(None), Some(false));
    }

    #[test]
    fn a_navigation_and_a_websocket_are_told_from_the_rest() {
        let page = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert!(fetch(&page).may_navigate() && fetch(&page).is_said_to_navigate());
        let old = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        assert!(fetch(&old).may_navigate() && !fetch(&old).is_said_to_navigate());
        for other in [
            &[][..],
            &[("accept", "*/*")],
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("accept", "text/html")],
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "document")],
            &[("sec-fetch-mode", "navigate"), ("accept", "text/html")],
        ] {
            assert!(!fetch(other).may_navigate(), "{other:?}");
        }
        assert!(fetch(&[("sec-fetch-mode", "websocket")]).opens_websocket());
        assert!(fetch(&[("sec-fetch-mode", "cors, websocket")]).opens_websocket());
        assert!(fetch(&[("sec-websocket-version", "13")]).opens_websocket());
        assert!(!fetch(&page).opens_websocket());
    }
}
