//! Our cookies: their names, how one is found among those of a request, and how one is set. A name with `__Host-` belongs
//! to an origin over TLS, the same name without it to plain http on loopback. A cookie in the other spelling is none of
//! ours: a sibling domain can plant one, and would else decide who gets in. What is in them is not known here.

use std::time::Duration;

use super::origin::Origin;

/// The cookies of Keygate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// The portal session, on the portal's host.
    Portal,
    /// The check session, on a protected host.
    Check,
    /// What a protected host sets before it sends a browser to sign in.
    Nonce,
    /// What ties a form to the browser before anybody has signed in.
    Form,
}

/// What a request has of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    Nothing,
    One(&'a [u8]),
    /// Two of the name.
    Ambiguous,
}

impl Cookie {
    pub const ALL: [Self; 4] = [Self::Portal, Self::Check, Self::Nonce, Self::Form];

    /// The name on an origin with or without TLS.
    #[must_use]
    pub const fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Portal, true) => "__Host-keygate",
            (Self::Portal, false) => "keygate",
            (Self::Check, true) => "__Host-keygate-check",
            (Self::Check, false) => "keygate-check",
            (Self::Nonce, true) => "__Host-keygate-nonce",
            (Self::Nonce, false) => "keygate-nonce",
            (Self::Form, true) => "__Host-keygate-form",
            (Self::Form, false) => "keygate-form",
        }
    }

    /// Whether a cookie of this name is one of ours, in whatever spelling.
    #[must_use]
    pub fn is_any(name: &str) -> bool {
        name.starts_with("__Host-keygate") || Self::ALL.iter().any(|cookie| cookie.name(false) == name)
    }

    /// Looks for it in the `Cookie` headers of a request (RFC 6265 5.4) to an origin with or without TLS.
    #[must_use]
    pub fn find<'a>(self, headers: &[&'a [u8]], secure: bool) -> Sent<'a> {
        let name = self.name(secure).as_bytes();
        let pairs = headers.iter().flat_map(|header| header.split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            (pair[..equals].trim_ascii() == name).then(|| pair[equals + 1..].trim_ascii())
        });
        match (values.next(), values.next()) {
            (None, _) => Sent::Nothing,
            (Some(value), None) => Sent::One(value),
            (Some(_), Some(_)) => Sent::Ambiguous,
        }
    }

    /// The value of `Set-Cookie`. Without `max_age` it ends with the browser.
    #[must_use]
    pub fn set(self, origin: &Origin, value: &str, max_age: Option<Duration>) -> String {
        let secure = if origin.is_secure() { "; Secure" } else { "" };
        let max_age = max_age.map(|age| format!("; Max-Age={}", age.as_secs())).unwrap_or_default();
        format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{max_age}", self.name(origin.is_secure()))
    }

    /// The value of `Set-Cookie` that removes it.
    #[must_use]
    pub fn clear(self, origin: &Origin) -> String {
        self.set(origin, "", Some(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_once_in_its_place_or_refused() {
        let find = |headers: &[&'static str], secure| {
            let headers: Vec<&'static [u8]> = headers.iter().map(|header| header.as_bytes()).collect();
            Cookie::Check.find(&headers, secure)
        };
        assert_eq!(find(&["a=b; __Host-keygate-check=xyz"], true), Sent::One(b"xyz"));
        assert_eq!(find(&["a=b", "keygate-check=x=z ; c"], false), Sent::One(b"x=z"));
        for other in ["", "a=b; x__Host-keygate-check=xyz", "__Host-keygate-check", "__Host-keygate=x", "keygate-checks=x"] {
            assert_eq!(find(&[other], true), Sent::Nothing, "{other}");
        }
        // What a sibling domain can plant, alone and beside ours.
        for planted in ["keygate-check=x", "a=b,__Host-keygate-check=x", "keygate-check=x; keygate-check=x"] {
            assert_eq!(find(&[planted], true), Sent::Nothing, "{planted}");
            let beside = format!("{planted}; __Host-keygate-check=xyz").leak();
            assert_eq!(find(&[beside], true), Sent::One(b"xyz"), "{planted}");
        }
        assert_eq!(find(&["__Host-keygate-check=x"], false), Sent::Nothing);
        assert_eq!(find(&["__Host-keygate-check=x", "keygate-check=xyz"], false), Sent::One(b"xyz"));
        assert_eq!(find(&["__Host-keygate-check=x; __Host-keygate-check=x"], true), Sent::Ambiguous);
        assert_eq!(find(&["keygate-check=x;keygate-check=y"], false), Sent::Ambiguous);
        assert_eq!(find(&["keygate-check=x", "keygate-check=x"], false), Sent::Ambiguous);
    }

    #[test]
    fn a_cookie_is_set_for_its_host_alone() {
        let [secure, plain] = ["https://shop.example.com", "http://localhost:8000"].map(|text| Origin::parse(text).unwrap());
        let hour = Some(Duration::from_hours(1));
        assert_eq!(
            Cookie::Check.set(&secure, "x", hour),
            "__Host-keygate-check=x; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=3600"
        );
        assert_eq!(Cookie::Check.set(&plain, "x", None), "keygate-check=x; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(Cookie::Nonce.clear(&plain), "keygate-nonce=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }
}
