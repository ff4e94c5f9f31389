//! Pages of ours that somebody can be sent back to when he has signed in or given his password. Whatever a request names,
//! nobody is sent anywhere else.

use std::fmt;

use actix_web::http::Method;

/// Everything that can be gone back to is one of these, or beneath it.
const ROOTS: [&str; 5] = ["/keys", "/sessions", "/security", "/password", "/admin"];
/// The longest path that is gone back to.
const MAX_LENGTH: usize = 512;

/// The path of a page of ours. It is written as it is into links and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnPage(String);

impl Default for OwnPage {
    /// Where everything begins.
    fn default() -> Self {
        Self(ROOTS[0].to_owned())
    }
}

impl OwnPage {
    /// The page of that path; the first one for every other path.
    pub fn at(path: &str) -> Self {
        let known = path.len() <= MAX_LENGTH && root(path).is_some();
        if known && path.split('/').skip(1).all(is_plain) { Self(path.to_owned()) } else { Self::default() }
    }

    /// What somebody looked at who sent this. A form may have been sent to where there is no page; what it is beneath, is one.
    pub fn of(method: &Method, path: &str) -> Self {
        if method == Method::GET || method == Method::HEAD {
            return Self::at(path);
        }
        Self::at(root(path).unwrap_or_default())
    }

    pub fn path(&self) -> &str {
        &self.0
    }

    /// As the value of a parameter in a link of ours.
    pub fn as_parameter(&self) -> String {
        self.0.replace('%', "%25").replace('+', "%2B")
    }
}

impl fmt::Display for OwnPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text as one piece of a path.
pub(super) fn segment(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Which of them a path is, or is beneath.
fn root(path: &str) -> Option<&'static str> {
    ROOTS.into_iter().find(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Whether a browser reads a piece of a path as nothing but a name.
fn is_plain(piece: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@+%*".contains(&byte);
    let dots = piece.replace("%2e", ".").replace("%2E", ".");
    !piece.is_empty() && piece.bytes().all(allowed) && dots != "." && dots != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_back_to_what_is_no_page_of_ours() {
        for path in ["/sessions", "/password", "/sessions/a-B_9.~", "/sessions/v%C3%A9ra@example.com+x"] {
            assert_eq!(OwnPage::at(path).path(), path);
        }
        for path in [
            "",
            "/",
            "//evil.example",
            "/evil",
            "/sessionsevil",
            "/sessions/",
            "/sessions//evil",
            "/sessions/../evil",
            "/sessions/%2e%2E/evil",
            "/sessions/.",
            "/sessions\\evil",
            "/sessions?x",
            "/sessions/\r\nx",
            "sessions",
            "/sessions/<b>",
            "http://evil.example/sessions",
            &format!("/sessions/{}", "x".repeat(MAX_LENGTH)),
        ] {
            assert_eq!(OwnPage::at(path), OwnPage::default(), "{path}");
        }
        assert_eq!(segment("véra b@c%"), "v%C3%A9ra%20b%40c%25");
        assert_eq!(OwnPage::at("/sessions/a%20b+c").as_parameter(), "/sessions/a%2520b%2Bc");
    }

    #[test]
    fn after_a_form_one_goes_back_to_what_it_was_on() {
        for (method, path, back) in [
            (Method::GET, "/password", "/password"),
            (Method::POST, "/password", "/password"),
            (Method::POST, "/sessions/end", "/sessions"),
            (Method::POST, "/sign-out", "/keys"),
        ] {
            assert_eq!(OwnPage::of(&method, path).path(), back, "{method} {path}");
        }
    }
}
