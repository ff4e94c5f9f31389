//! `/admin/audit`: who did what to which record, or tried to, the newest first. For superusers.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{
    PortalState, Refusal,
    form::given,
    page,
    table::{Pager, View},
    times::Shown,
    visitor::SignedIn,
};
use crate::{
    directory::{Order, Recorded, TrailFilter, Window},
    domain::{
        event::{Event, Outcome},
        time::Timestamp,
    },
};

const PATH: &str = "/admin/audit";
/// How many are on one page.
const ON_A_PAGE: usize = 50;
/// Of a value that is shown; what is longer is cut.
const MOST_LETTERS: usize = 200;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    account: String,
    action: String,
    since: String,
    outcome: String,
    after: Option<String>,
}

impl Query {
    fn filter(&self) -> TrailFilter {
        // As a browser's field for a day has it.
        let day = |text: &str| Timestamp::parse(&format!("{text}T00:00:00Z"));
        TrailFilter {
            login: given(&self.account),
            action: given(&self.action),
            since: day(&self.since),
            outcome: match self.outcome.as_str() {
                "done" => Some(Outcome::Done),
                "refused" => Some(Outcome::Refused),
                _ => None,
            },
            order: Order::NewestFirst,
        }
    }

    fn view(&self) -> View {
        View::at(PATH)
            .with("account", Some(&self.account))
            .with("action", Some(&self.action))
            .with("since", Some(&self.since))
            .with("outcome", Some(&self.outcome))
    }
}

/// One line.
struct Line {
    at: Shown,
    who: String,
    /// The credential and the address.
    by: Vec<String>,
    action: String,
    kind: String,
    target: String,
    /// The key's own page, of a token.
    link: Option<String>,
    refused: Option<String>,
    changes: Vec<Changed>,
}

/// A member of the record: what it was, and what it is now.
struct Changed {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

impl Line {
    fn new(Recorded { event, .. }: Recorded, now: Timestamp) -> Self {
        let Event { at, actor, action, target, outcome, before, after, reason, .. } = event;
        let credential = actor.credential.map(|id| format!("with {id}"));
        let address = actor.address.map(|address| format!("from {address}"));
        let refused = (outcome == Outcome::Refused).then(|| reason.unwrap_or_default());
        let is_token = target.kind == "token" && !target.id.is_empty() && action != "token.purge";
        Self {
            at: Shown::new(at, now),
            who: actor.account.unwrap_or_else(|| "Somebody unknown".to_owned()),
            by: credential.into_iter().chain(address).collect(),
            link: is_token.then(|| format!("/keys/{}", target.id)),
            changes: changes(&before.unwrap_or_default(), &after.unwrap_or_default()),
            action,
            kind: target.kind,
            target: target.id,
            refused,
        }
    }
}

fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Changed> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let changed = names.map(|name| Changed {
        name: name.replace('_', " "),
        before: before.get(name).and_then(shown),
        after: after.get(name).and_then(shown),
    });
    // The id and the time stand beside it; a count of changes, and that something is not set, say nothing.
    let says = |changed: &Changed| !matches!(&*changed.name, "id" | "created at" | "version");
    changed.filter(|changed| says(changed) && (changed.before.is_some() || changed.after.is_some())).collect()
}

/// As text; `None` for nothing, and for what is empty or off.
fn shown(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null | Value::Bool(false) => return None,
        Value::Bool(true) => "yes".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().filter_map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let pair = |(name, value): (&String, &Value)| shown(value).map(|value| format!("{name} {value}"));
            members.iter().filter_map(pair).collect::<Vec<_>>().join(", ")
        }
        Value::Number(number) => number.to_string(),
    };
    let cut = text.char_indices().nth(MOST_LETTERS).map(|(at, _)| format!("{}…", &text[..at]));
    Some(cut.unwrap_or(text)).filter(|text| !text.is_empty())
}

#[derive(Template)]
#[template(path = "portal/admin/audit.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    filtered: bool,
    query: Query,
    lines: Vec<Line>,
    pager: Pager,
}

/// `GET /admin/audit`
pub(super) async fn show(
    state: web::Data<PortalState>,
    request: HttpRequest,
    visitor: SignedIn,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let query = query.map(web::Query::into_inner).unwrap_or_default();
    let window = Window { after: query.after.clone(), limit: ON_A_PAGE };
    let found = state.directory.trail(&visitor.actor(&request), &query.filter(), &window).await?;
    let now = state.clock.now();
    let lines = found.items.into_iter().map(|recorded| Line::new(recorded, now)).collect();
    let view = query.view();
    let (filtered, pager) = (view.is_filtered(), view.pager("after", query.after.as_deref(), found.next.as_deref()));
    page(200, &Page { title: "Audit trail", at: PATH, visitor, filtered, query, lines, pager })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changed_is_shown_in_words_and_nothing_that_is_not_set() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        let before = object(json!({ "id": "a", "name": "old", "disabled": false, "levels": null }));
        let after = object(json!({ "id": "a", "name": "new", "disabled": true, "levels": { "shop": "view" }, "scopes": [] }));
        let told: Vec<_> = changes(&before, &after).into_iter().map(|c| (c.name, c.before, c.after)).collect();
        let some = |text: &str| Some(text.to_owned());
        let expected = [
            ("disabled".to_owned(), None, some("yes")),
            ("levels".to_owned(), None, some("shop view")),
            ("name".to_owned(), some("old"), some("new")),
        ];
        assert_eq!(told, expected);
        assert_eq!(shown(&json!("é".repeat(300))).unwrap().chars().count(), MOST_LETTERS + 1);
    }
}
