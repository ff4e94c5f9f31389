//! `/admin/keys`: all keys that somebody sees, whosever they are: by whom they were made, which end soon and which rest. Never
//! the keys themselves. What is done to one is done on its own page.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::{
    PortalState, Refusal,
    keys::KeyShown,
    page,
    table::{Column, Pager, View},
    visitor::SignedIn,
};
use crate::{
    directory::{Direction, DirectoryError, Sort, TokenFilter, TokenSort, Window},
    domain::{text::Login, time::parse_duration, token::TokenState},
};

const PATH: &str = "/admin/keys";
/// How many are on one page.
const ON_A_PAGE: usize = 50;
/// What is asked for most: the newest first.
const NEWEST_FIRST: &str = "-created";
/// What is offered as the filters by time, with the words for it.
const SPANS: [(&str, &str); 4] = [("1d", "a day"), ("7d", "a week"), ("30d", "30 days"), ("90d", "90 days")];

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    name: String,
    account: String,
    creator: String,
    state: String,
    expiring: String,
    unused: String,
    sort: String,
    after: Option<String>,
}

impl Query {
    /// The filters; `None` where nothing can be like that.
    fn filter(&self, sort: Sort<TokenSort>) -> Option<TokenFilter> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        // A part of a name is enough.
        let like = |text: String| if text.contains('*') { text } else { format!("*{text}*") };
        Some(TokenFilter {
            login: given(&self.account).map(|login| Login::parse(&login)).transpose().ok()?,
            state: match self.state.as_str() {
                "active" => Some(TokenState::Active),
                "expired" => Some(TokenState::Expired),
                "revoked" => Some(TokenState::Revoked),
                "superseded" => Some(TokenState::Superseded),
                _ => None,
            },
            expiring: parse_duration(&self.expiring),
            unused: parse_duration(&self.unused),
            name: given(&self.name).map(like),
            creator: given(&self.creator),
            sort: Some(sort),
            ..TokenFilter::default()
        })
    }

    fn view(&self) -> View {
        View::at(PATH)
            .with("name", Some(&self.name))
            .with("account", Some(&self.account))
            .with("creator", Some(&self.creator))
            .with("state", Some(&self.state))
            .with("expiring", Some(&self.expiring))
            .with("unused", Some(&self.unused))
            .with("sort", Some(&self.sort))
    }
}

#[derive(Template)]
#[template(path = "portal/admin/keys.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    filtered: bool,
    query: Query,
    columns: Vec<Column>,
    keys: Vec<KeyShown>,
    pager: Pager,
    /// The lists have no order yet.
    unsorted: bool,
}

impl Page {
    /// How the table is sorted, in words.
    fn order(&self) -> &'static str {
        match (self.query.sort.trim_start_matches('-'), self.query.sort.starts_with('-')) {
            _ if self.unsorted => "in no order yet",
            ("created", true) => "the newest first",
            ("created", false) => "the oldest first",
            ("expires", false) => "those that end first",
            ("expires", true) => "those that end last, or never, first",
            ("used", true) => "those used last first; one that was never used stands where it was made",
            ("used", false) => "those that rest the longest first; one that was never used stands where it was made",
            (_, false) => "by name",
            (_, true) => "by name, from the end",
        }
    }
}

/// `GET /admin/keys`
pub(super) async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    if !visitor.account.superuser && !visitor.administers_sites {
        return Err(Refusal::not_found());
    }
    let mut query = query.map(web::Query::into_inner).unwrap_or_default();
    let newest_first = Sort { by: TokenSort::Created, direction: Direction::Descending };
    let sort = Sort::<TokenSort>::parse(&query.sort).unwrap_or_else(|| {
        NEWEST_FIRST.clone_into(&mut query.sort);
        newest_first
    });
    let window = Window { after: query.after.clone(), limit: ON_A_PAGE };
    let actor = visitor.actor(&request);
    let (mut items, mut next, mut unsorted) = (Vec::new(), None, false);
    if let Some(filter) = query.filter(sort) {
        let found = match state.directory.tokens(&actor, &filter, &window).await {
            Err(DirectoryError::ListsInTheMaking) => {
                unsorted = true;
                state.directory.tokens(&actor, &TokenFilter { sort: None, ..filter }, &window).await?
            }
            found => found?,
        };
        (items, next) = (found.items, found.next);
    }
    let (now, rules) = (state.clock.now(), state.directory.token_rules());
    let keys = items.into_iter().map(|info| KeyShown::new(info, &visitor, rules, now)).collect();
    let view = query.view();
    let columns = vec![
        view.column("Key", "name"),
        Column::plain("Account"),
        Column::plain("May do"),
        view.column("Created", NEWEST_FIRST),
        view.column("Expires", "expires"),
        view.column("Last used", "-used"),
        Column::plain("Action"),
    ];
    let (filtered, pager) = (view.is_filtered(), view.pager("after", query.after.as_deref(), next.as_deref()));
    page(200, &Page { title: "All keys", at: PATH, visitor, filtered, query, columns, keys, pager, unsorted })
}
