//! `/policy`: the rules in force, in their order. They are changed in the configuration file only.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::{ApiState, Problem, extract::Caller};
use crate::domain::{
    decision::CredentialKinds,
    policy::{Demand, Matcher, Otherwise, PathPattern, Rule, SiteSource},
    site::SiteName,
};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/policy").route(web::get().to(show)));
}

async fn show(state: web::Data<ApiState>, caller: Caller) -> Result<HttpResponse, Problem> {
    state.directory.require_superuser(&caller.0).await?;
    let policy = state.policy.load();
    let items: Vec<_> = policy.rules().iter().map(view).collect();
    Ok(HttpResponse::Ok().json(json!({ "items": items, "next": null })))
}

/// A rule by the keys of the configuration file.
fn view(rule: &Rule) -> Value {
    let Matcher { host, path, methods, query } = &rule.matcher;
    let matcher = json!({
        "host": host.as_ref().map(ToString::to_string),
        "path": path.as_ref().map(ToString::to_string),
        "methods": methods,
        "query": query,
    });
    let mut view = json!({ "name": rule.name, "match": matcher, "public": rule.demand.is_none() });
    if let Some(demand) = &rule.demand {
        view["site"] = site(&demand.site, path.as_ref());
        view["access"] = json!({ "read": demand.read, "write": demand.write });
        view["scope"] = json!(demand.scope);
        view["credentials"] = credentials(demand).collect();
        view["max_token_access"] = json!(demand.max_token_access);
        view["otherwise"] = json!(match demand.otherwise {
            Otherwise::Challenge => "challenge",
            Otherwise::Anonymous => "anonymous",
        });
        view["body"] = json!(rule.body_ignored.then_some("ignored"));
    }
    view
}

fn site(source: &SiteSource, path: Option<&PathPattern>) -> Value {
    match source {
        SiteSource::Named(names) => json!(names.iter().map(SiteName::as_str).collect::<Vec<_>>().join(",")),
        SiteSource::Query(name) => json!({ "query": name }),
        SiteSource::Segment(index) => {
            let pattern = path.map(ToString::to_string).unwrap_or_default();
            let capture = pattern.split('/').nth(index + 1).map(|piece| piece.trim_matches(['{', '}']).to_owned());
            json!({ "path": capture })
        }
        SiteSource::Host => json!({ "host": true }),
    }
}

fn credentials(demand: &Demand) -> impl Iterator<Item = Value> {
    CredentialKinds::NAMES.into_iter().filter(|(_, via)| demand.credentials.takes(*via)).map(|(name, _)| json!(name))
}
