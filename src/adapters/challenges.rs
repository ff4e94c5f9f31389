//! How a client may say who it is: the values of `WWW-Authenticate`. Which of them an answer has, the decision says.

use crate::domain::decision::Challenge;

/// The values of `WWW-Authenticate`, made once.
pub struct Challenges {
    bearer: String,
    bearer_invalid_token: String,
    basic: String,
}

impl Challenges {
    pub(super) fn new(realm: &str) -> Self {
        Self {
            bearer: format!("Bearer realm=\"{realm}\""),
            bearer_invalid_token: format!("Bearer realm=\"{realm}\", error=\"invalid_token\""),
            basic: format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
        }
    }

    /// The challenges of one 401: `error` only when a token was presented (RFC 6750 3), Basic where the rule takes it.
    pub(super) fn of(&self, challenge: Challenge) -> impl Iterator<Item = &str> {
        let bearer = if challenge.invalid_token { &self.bearer_invalid_token } else { &self.bearer };
        std::iter::once(bearer.as_str()).chain(challenge.basic.then_some(self.basic.as_str()))
    }
}
