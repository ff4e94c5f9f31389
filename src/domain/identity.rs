//! The identity headers: which there are, how they are named here, and which other spellings a client could
//! smuggle one in by.

use super::text::Invalid;

/// What an upstream is told about the caller. Always the whole set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityHeader {
    Account,
    Kind,
    Site,
    Access,
    Via,
    Credential,
    Name,
    Email,
    RequestId,
    /// The session's own API token, for the pages of the application. Offered only where it has a name.
    SessionToken,
}

impl IdentityHeader {
    pub const ALL: [Self; 10] = [
        Self::Account,
        Self::Kind,
        Self::Site,
        Self::Access,
        Self::Via,
        Self::Credential,
        Self::Name,
        Self::Email,
        Self::RequestId,
        Self::SessionToken,
    ];

    /// The key under `[headers.names]`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Kind => "kind",
            Self::Site => "site",
            Self::Access => "access",
            Self::Via => "via",
            Self::Credential => "credential",
            Self::Name => "name",
            Self::Email => "email",
            Self::RequestId => "request_id",
            Self::SessionToken => "session_token",
        }
    }

    /// Its name before anybody changes it; for [`Self::SessionToken`] only a place to put the name.
    #[must_use]
    pub const fn x_auth(self) -> &'static str {
        match self {
            Self::Account => "X-Auth-Account",
            Self::Kind => "X-Auth-Kind",
            Self::Site => "X-Auth-Site",
            Self::Access => "X-Auth-Access",
            Self::Via => "X-Auth-Via",
            Self::Credential => "X-Auth-Credential",
            Self::Name => "X-Auth-Name",
            Self::Email => "X-Auth-Email",
            Self::RequestId => "X-Auth-Request-Id",
            Self::SessionToken => "X-Auth-Session-Token",
        }
    }
}

/// The names of the identity headers in this installation, no two of them equal when folded. `None` for one that is not
/// in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityNames([Option<String>; 10]);

impl Default for IdentityNames {
    fn default() -> Self {
        let in_use = |header: IdentityHeader| header != IdentityHeader::SessionToken;
        Self(IdentityHeader::ALL.map(|header| in_use(header).then(|| header.x_auth().to_owned())))
    }
}

impl IdentityNames {
    /// `Remote-User`, `Remote-Name`, `Remote-Email`, and the level as `Remote-Groups`, as applications with "proxy
    /// authentication" expect them; the others as in `x-auth`.
    #[must_use]
    pub fn remote() -> Self {
        let mut names = Self::default();
        for (header, name) in [
            (IdentityHeader::Account, "Remote-User"),
            (IdentityHeader::Name, "Remote-Name"),
            (IdentityHeader::Email, "Remote-Email"),
            (IdentityHeader::Access, "Remote-Groups"),
        ] {
            names.0[header as usize] = Some(name.to_owned());
        }
        names
    }

    /// Changes one name.
    ///
    /// # Errors
    /// When it is no header name, one that means something else in HTTP, or equal to another identity header.
    pub fn rename(&mut self, header: IdentityHeader, name: &str) -> Result<(), Invalid> {
        let invalid = |detail: &str| Invalid::new("header_name", "names", detail);
        let valid = !name.is_empty() && name.len() <= 100 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !valid {
            return Err(invalid("a header name is letters, digits and - _ ."));
        }
        let folded = fold_header_name(name);
        let taken = [
            "authorization",
            "connection",
            "content-length",
            "content-type",
            "cookie",
            "host",
            "set-cookie",
            "te",
            "transfer-encoding",
            "upgrade",
            "www-authenticate",
            "location",
            "cache-control",
            "x-auth-status",
            "x-auth-reason",
            "x-auth-redirect",
            "x-auth-proxy-secret",
            "forwarded",
            "x-real-ip",
        ];
        // These describe the request to be judged.
        let describes = ["x-forwarded-", "x-original-"].iter().any(|beginning| folded.starts_with(beginning));
        if describes || taken.contains(&folded.as_str()) {
            return Err(invalid("this header has a meaning of its own"));
        }
        let equal = self.in_use().any(|(other, name)| other != header && fold_header_name(name) == folded);
        if equal {
            return Err(invalid("two identity headers would have the same name"));
        }
        self.0[header as usize] = Some(name.to_owned());
        Ok(())
    }

    #[must_use]
    pub fn get(&self, header: IdentityHeader) -> Option<&str> {
        self.0[header as usize].as_deref()
    }

    /// The headers that are in use, with their names.
    pub fn in_use(&self) -> impl Iterator<Item = (IdentityHeader, &str)> {
        IdentityHeader::ALL.into_iter().filter_map(|header| Some((header, self.get(header)?)))
    }

    /// Whether a header of this name could be taken for one of ours by some server.
    #[must_use]
    pub fn is_alias(&self, name: &str) -> bool {
        self.0
            .iter()
            .flatten()
            .any(|own| own.len() == name.len() && own.chars().zip(name.chars()).all(|(own, other)| fold(own) == fold(other)))
    }
}

/// Lower case, with every sign read as `-`: CGI, WSGI and PHP take `_` and `.` for it, and PHP any other sign too.
#[must_use]
pub fn fold_header_name(name: &str) -> String {
    name.chars().map(fold).collect()
}

/// Whether a header's name is `own` when it is folded; `own` is so already.
#[must_use]
pub fn folds_into(name: &str, own: &str) -> bool {
    name.chars().map(fold).eq(own.chars())
}

fn fold(c: char) -> char {
    if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_found_in_any_spelling() {
        let names = IdentityNames::default();
        for alias in ["X-Auth-Account", "x_auth_account", "X.Auth.Account", "x-AUTH_request.id", "X!Auth~Account"] {
            assert!(names.is_alias(alias), "{alias}");
        }
        assert!(!names.is_alias("X-Auth-Accounts") && !names.is_alias("X-Auth"));
    }

    #[test]
    fn a_rename_cannot_collide() {
        let mut names = IdentityNames::default();
        names.rename(IdentityHeader::Account, "X-WEBAUTH-USER").unwrap();
        assert!(names.is_alias("x_webauth_user") && !names.is_alias("X-Auth-Account"));
        for bad in ["", "a b", "x_auth_kind", "Host", "X-Auth-Status", "X-Real-IP", "x_forwarded_user", "X-Original-URI", "a\n"] {
            assert!(names.rename(IdentityHeader::Account, bad).is_err(), "{bad:?}");
        }
    }
}
