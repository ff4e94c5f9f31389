//! `/admin/keys`: all keys that somebody sees, whosever they are: by whom they were made, which end soon and which rest. Never
//! the keys themselves. What is done to one is done on its own page.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::{
    PortalState, Refusal,
    form::given,
    keys::{
        KeyShown,
        listed::{Listed, NEWEST_FIRST, Unsorted, like, listed, order, sorted, state},
    },
    page,
    table::{Column, Pager, View},
    visitor::SignedIn,
};
use crate::{
    directory::{Sort, TokenFilter, TokenSort, Window},
    domain::{text::Login, time::parse_duration},
};

const PATH: &str = "/admin/keys";
/// How many are on one page.
const ON_A_PAGE: usize = 50;
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
        Some(TokenFilter {
            login: given(&self.account).map(|login| Login::parse(&login)).transpose().ok()?,
            state: state(&self.state),
            expiring: parse_duration(&self.expiring),
            unused: parse_duration(&self.unused),
            name: like(&self.name),
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
    /// How the table is sorted, in words.
    order: &'static str,
    unsorted: Option<Unsorted>,
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
    let sort = sorted(&mut query.sort);
    let window = Window { after: query.after.clone(), limit: ON_A_PAGE };
    let Listed { items, next, unsorted } = match query.filter(sort) {
        Some(filter) => listed(&state, &visitor.actor(&request), filter, &window).await?,
        None => Listed::default(),
    };
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
    let order = order(&query.sort, unsorted);
    page(200, &Page { title: "All keys", at: PATH, visitor, filtered, query, columns, keys, pager, order, unsorted })
}
