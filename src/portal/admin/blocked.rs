//! `/admin/blocked`: addresses and logins that too many attempts have failed for, and letting them try again. For superusers.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{
    super::{
        PortalState, Refusal,
        form::Form,
        go_to, page,
        table::{Column, Pager, View},
        times::Shown,
        visitor::SignedIn,
    },
    Notice, ON_A_PAGE,
};
use crate::directory::{Blocked, Window};

const AT: &str = "/admin/blocked";

/// One line.
struct Line {
    kind: &'static str,
    value: String,
    refused: &'static str,
    failures: usize,
    since: Shown,
    until: Shown,
}

#[derive(Default, Deserialize)]
pub(super) struct Query {
    after: Option<String>,
    notice: Option<Notice>,
}

#[derive(Template)]
#[template(path = "portal/admin/blocked.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    notice: Option<Notice>,
    columns: Vec<Column>,
    blocked: Vec<Line>,
    pager: Pager,
}

/// `GET /admin/blocked`
pub(super) async fn list(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let Query { after, notice } = query.map(web::Query::into_inner).unwrap_or_default();
    let window = Window { after: after.clone(), limit: ON_A_PAGE };
    let (found, now) = (state.directory.blocked(&visitor.actor(&request), &window).await?, state.clock.now());
    let line = |Blocked { subject, block }: Blocked| Line {
        kind: if subject.kind() == "login" { "Login" } else { "Address" },
        value: subject.value(),
        refused: match subject.of() {
            "token" => "Keys",
            "code" => "Codes of second factors",
            _ => "Passwords",
        },
        failures: block.failures,
        since: Shown::new(block.since, now),
        until: Shown::coming(block.until, now),
    };
    let blocked = found.items.into_iter().map(line).collect();
    let mut columns: Vec<_> = ["Who", "Refused", "Failed attempts", "Since", "Ends"].map(Column::plain).into();
    columns.push(Column::unseen("Lift it"));
    let pager = View::at(AT).pager("after", after.as_deref(), found.next.as_deref());
    page(200, &Page { title: "Blocked", at: AT, visitor, notice, columns, blocked, pager })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lift {
    value: String,
}

/// `POST /admin/blocked`
pub(super) async fn lift(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<Lift>,
) -> Result<HttpResponse, Refusal> {
    let Lift { value } = form.proven_by(visitor.secret())?;
    state.directory.lift_blocks(&visitor.actor(&request), &value).await?;
    Ok(go_to(&format!("{AT}?notice=lifted")))
}
