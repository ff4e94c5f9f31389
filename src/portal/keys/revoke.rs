//! Revoking keys, one, some or all that somebody has: first the page that says what will be refused from then on.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{PortalState, Refusal, form::Form, go_to, page, visitor::SignedIn},
    find,
    shown::KeyShown,
};
use crate::{
    directory::{DirectoryError, Found, TokenFilter, TokenInfo, Window, reported},
    domain::{
        text::Login,
        token::{TokenId, TokenState},
    },
};

/// As many as are on a page of the list.
const MOST: usize = super::ON_A_PAGE;
/// In place of ids: all of the visitor's.
const ALL: &str = "all";

#[derive(Template)]
#[template(path = "portal/keys/revoke.html")]
struct RevokePage {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    /// Those that are named on the page.
    keys: Vec<KeyShown>,
    /// How many there are besides.
    others: usize,
    /// As the form sends them.
    ids: String,
    all: bool,
    /// The list that they are in, and what it is called.
    back: String,
    back_to: String,
}

/// `GET /keys/revoke?id=…&id=…`, or `?all=on`
pub(super) async fn show(state: web::Data<PortalState>, request: HttpRequest, visitor: SignedIn) -> Result<HttpResponse, Refusal> {
    let pairs = || form_urlencoded::parse(request.query_string().as_bytes());
    let all = pairs().any(|(name, _)| name == ALL);
    let now = state.clock.now();
    let is_open = |info: &TokenInfo| info.state == TokenState::Active;
    let mut infos = Vec::new();
    if all {
        let window = Window { after: None, limit: Window::MAX_LIMIT };
        infos = state.directory.tokens(&visitor.actor(&request), &of(&visitor.account.login), &window).await?.items;
        infos.retain(is_open);
    } else {
        for (_, id) in pairs().filter(|(name, _)| name == "id").take(MOST) {
            infos.push(find(&state, &request, &visitor, &id).await?);
        }
        infos.retain(is_open);
    }
    let ids = if all { ALL.to_owned() } else { infos.iter().map(|info| info.token.id.as_str()).collect::<Vec<_>>().join(" ") };
    let others = infos.len().saturating_sub(MOST);
    let rules = state.directory.token_rules();
    let keys: Vec<_> = infos.into_iter().take(MOST).map(|info| KeyShown::new(info, &visitor, rules, now)).collect();
    let title = match (all, keys.len()) {
        (_, 0) => "Nothing to revoke",
        (true, _) => "Revoke all your keys?",
        (false, 1) => "Revoke this key?",
        (false, _) => "Revoke these keys?",
    };
    let owner = keys.first().and_then(|key| key.owner.clone());
    let back = keys.first().map_or_else(|| "/keys".to_owned(), |key| key.among.clone());
    let at = super::at(owner.is_none());
    let back_to = owner.map_or_else(|| "Your keys".to_owned(), |owner| format!("Keys of {owner}"));
    page(200, &RevokePage { title, at, visitor, keys, others, ids, all, back, back_to })
}

fn of(login: &Login) -> TokenFilter {
    TokenFilter { login: Some(login.clone()), ..TokenFilter::default() }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    /// With blanks between them.
    ids: String,
}

/// `POST /keys/revoke`
pub(super) async fn submit(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    let Fields { ids } = form.proven_by(visitor.secret())?;
    let (directory, actor) = (&state.directory, visitor.actor(&request));
    if ids == ALL {
        let filter = of(&visitor.account.login);
        reported(async {
            let mut window = Window { after: None, limit: Window::MAX_LIMIT };
            loop {
                window.after = directory.revoke_tokens(&actor, &filter, &Found::Revoke(None), &window).await?.next;
                if window.after.is_none() {
                    return Ok::<_, DirectoryError>(());
                }
            }
        })
        .await?;
        return Ok(go_to("/keys?notice=revoked"));
    }
    let ids: Option<Vec<_>> = ids.split(' ').take(MOST).map(TokenId::parse).collect();
    let ids = ids.ok_or_else(Refusal::not_found)?;
    let owner = reported(async {
        let mut owner = None;
        for id in &ids {
            match directory.revoke_token(&actor, id, false, None, None).await {
                Ok(info) => owner = Some(info.login),
                // One of several has gone by itself.
                Err(DirectoryError::NotFound { .. }) if ids.len() > 1 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(owner)
    })
    .await?;
    let back = owner.map_or_else(|| "/keys".to_owned(), |owner| super::places(&visitor, &owner).0);
    Ok(go_to(&format!("{back}?notice=revoked")))
}
