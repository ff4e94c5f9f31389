//! `/admin/explain`: the decision on a request that nobody has made, rule by rule. The URL is sent by a form, and not in an
//! address, because it may hold a secret. For superusers.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::{
    PortalState, Refusal,
    form::{Form, given},
    page,
    problems::{Problems, sentence},
    visitor::SignedIn,
};
use crate::{
    api::{Question, explained},
    domain::policy::RuleVerdict,
    gate::{Gate, explain::Explanation},
};

const TITLE: &str = "Explain a decision";
const PATH: &str = "/admin/explain";
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    method: String,
    url: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    from: String,
}

/// What one rule has to do with it.
struct RuleShown {
    name: String,
    label: &'static str,
    /// The class of its tag.
    class: &'static str,
}

struct Answer {
    allowed: bool,
    explanation: Explanation,
    rules: Vec<RuleShown>,
}

impl Answer {
    fn new(explanation: Explanation) -> Self {
        let rules = explanation.rules.iter().map(|line| {
            let (label, class) = match line.verdict {
                RuleVerdict::Matches => ("Decides", ""),
                RuleVerdict::HostDiffers => ("Another host", "off"),
                RuleVerdict::PathDiffers => ("Another path", "off"),
                RuleVerdict::MethodDiffers => ("Another method", "off"),
                RuleVerdict::QueryDiffers => ("Another query", "off"),
                RuleVerdict::NotReached => ("Not reached", "off"),
            };
            RuleShown { name: line.rule.clone(), label, class }
        });
        Self { allowed: explanation.summary.decision == "allow", rules: rules.collect(), explanation }
    }

    /// The facts that there are, by their names.
    fn facts(&self) -> Vec<(&'static str, &str)> {
        let summary = &self.explanation.summary;
        let facts = [
            ("Host", self.explanation.host.as_deref()),
            ("Path, as it is judged", self.explanation.path.as_deref()),
            ("Rule", summary.rule.as_deref()),
            ("Account", summary.account.as_deref()),
            ("Site", summary.site.as_deref()),
            ("Access there", summary.access),
            ("Key", summary.credential.as_deref()),
            ("Signing in", self.explanation.sign_in),
        ];
        facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[derive(Template)]
#[template(path = "portal/admin/explain.html")]
struct Page {
    title: &'static str,
    at: &'static str,
    visitor: SignedIn,
    typed: Fields,
    problems: Problems,
    answer: Option<Answer>,
}

fn shown(visitor: SignedIn, typed: Fields, problems: Problems, answer: Option<Answer>) -> Result<HttpResponse, Refusal> {
    let status = if problems.is_empty() { 200 } else { 422 };
    page(status, &Page { title: TITLE, at: PATH, visitor, typed, problems, answer })
}

/// What the page of a key links to: its id, to begin with.
#[derive(Default, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    key: String,
}

/// `GET /admin/explain`
pub(super) async fn show(visitor: SignedIn, query: Option<web::Query<Query>>) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let Query { key } = query.map(web::Query::into_inner).unwrap_or_default();
    let typed = Fields { method: "GET".to_owned(), key, ..Fields::default() };
    shown(visitor, typed, Problems::default(), None)
}

/// `POST /admin/explain`
pub(super) async fn submit(
    state: web::Data<PortalState>,
    gate: web::Data<Gate>,
    request: HttpRequest,
    visitor: SignedIn,
    form: Form<Fields>,
) -> Result<HttpResponse, Refusal> {
    visitor.has_to_be_superuser()?;
    let typed = form.proven_by(visitor.secret())?;
    let question = Question {
        method: typed.method.trim().to_owned(),
        url: typed.url.trim().to_owned(),
        token_id: given(&typed.key),
        from: given(&typed.from),
        ..Question::default()
    };
    match explained(&state.directory, &gate, &visitor.actor(&request), question).await {
        Ok(explanation) => shown(visitor, typed, Problems::default(), Some(Answer::new(explanation))),
        Err(problem) => {
            let document = problem.document();
            let field = match (document.status, document.field.as_deref()) {
                (404, _) | (422, Some("token_id")) => "key",
                (422, Some("from")) => "from",
                (422, Some("method")) => "method",
                (422, Some("url")) => "url",
                _ => return Err(Refusal::from(&problem)),
            };
            let mut problems = Problems::default();
            problems.add(field, sentence(&document.detail));
            shown(visitor, typed, problems, None)
        }
    }
}
