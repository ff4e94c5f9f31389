//! Forms that are sent to the pages. The fields of one can be had only against the token in it, so that nobody forgets to ask
//! for it; fields that a form does not have, and fields that come twice, are refused.

use std::{collections::BTreeSet, fmt, future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::CONTENT_TYPE, web};
use serde::{Deserialize, de::DeserializeOwned};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Refusal;
use crate::domain::{csrf, session::Secret};

/// A form before it is known whether a page of ours sent it.
pub(super) struct Form<T> {
    token: String,
    fields: T,
}

impl<T> Form<T> {
    /// What was typed, whoever sent it: to be shown in the form again, and for nothing else.
    pub fn typed(&self) -> &T {
        &self.fields
    }

    /// The fields, if the form was made for whoever has the secret.
    ///
    /// # Errors
    /// When the token in it is another one, or none.
    pub fn proven_by(self, secret: &Secret) -> Result<T, Refusal> {
        if csrf::is_token(secret, &self.token) { Ok(self.fields) } else { Err(Refusal::stale_form()) }
    }
}

impl<T: DeserializeOwned> FromRequest for Form<T> {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is_form = essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        let bytes = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            if !is_form {
                return Err(Refusal::bad_form());
            }
            let bytes = bytes.await.map_err(|_| Refusal::bad_form())?;
            read(std::str::from_utf8(&bytes).map_err(|_| Refusal::bad_form())?)
        })
    }
}

fn read<T: DeserializeOwned>(body: &str) -> Result<Form<T>, Refusal> {
    let (tokens, rest): (Vec<_>, Vec<_>) = body.split('&').partition(|pair| pair.starts_with("csrf="));
    let [token] = tokens.as_slice() else { return Err(Refusal::stale_form()) };
    let token = token.trim_start_matches("csrf=").to_owned();
    let rest = rest.join("&");
    // Said here, because a map of fields would take the last of them.
    let mut names = BTreeSet::new();
    if !form_urlencoded::parse(rest.as_bytes()).all(|(name, _)| names.insert(name)) {
        return Err(Refusal::bad_form());
    }
    let fields = serde_urlencoded::from_str(&rest).map_err(|_| Refusal::bad_form())?;
    Ok(Form { token, fields })
}

/// What somebody typed that nobody else may see: wiped when dropped, never printed.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(super) struct Typed(String);

impl Typed {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Typed(…)")
    }
}

/// What was typed in a field that may be left empty.
pub(super) fn given(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The fields of a form that only has a button.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFields {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        wish: String,
        #[serde(default)]
        loud: Option<String>,
    }

    #[test]
    fn a_form_has_its_fields_once_and_no_others() {
        let form = read::<Wish>("wish=a+b%26&csrf=t").unwrap_or_else(|_| panic!("it is right"));
        assert_eq!((form.token.as_str(), form.fields.wish.as_str(), form.fields.loud), ("t", "a b&", None));
        for wrong in
            ["wish=a", "wish=a&csrf=t&csrf=t", "wish=a&wish=b&csrf=t", "wish=a&csrf=t&x=y", "csrf=t", "", "wish=a&%63srf=t"]
        {
            assert!(read::<Wish>(wrong).is_err(), "{wrong}");
        }
        assert!(read::<NoFields>("csrf=t").is_ok() && read::<NoFields>("csrf=t&a=b").is_err());
    }
}
