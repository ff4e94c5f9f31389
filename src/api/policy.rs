//! `/policy`: the rules in force, in their order. They are changed in the configuration file only.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    dto::ListBody,
    extract::{Caller, NoQuery, Query},
    operations::Operations,
};
use crate::domain::{
    access::Level,
    decision::CredentialKinds,
    policy::{Demand, Matcher, Otherwise, PathPattern, Rule, SiteSource},
    site::SiteName,
};

pub(super) fn operations(api: &mut Operations) {
    api.add(__path_show, show);
}

/// What [`view`] makes of a rule.
#[derive(ToSchema)]
#[schema(as = Rule, description = "The rules are tried in this order. A public one has only the first three members and `hits`.")]
#[expect(dead_code, reason = "the description of a rule's JSON")]
struct RuleSchema {
    name: String,
    r#match: MatchSchema,
    public: bool,
    /// A site, or where the request names it.
    #[schema(required = false)]
    site: Value,
    #[schema(nullable = false)]
    access: Option<AccessSchema>,
    scope: Option<String>,
    #[schema(nullable = false)]
    credentials: Option<Vec<String>>,
    max_token_access: Option<Level>,
    #[schema(nullable = false)]
    otherwise: Option<String>,
    cross_site: Option<String>,
    body: Option<String>,
    /// How many checks it was about, since the servers started that have these rules; `null` where they do not count it.
    #[schema(required)]
    hits: Option<u64>,
}

#[derive(ToSchema)]
#[schema(as = Match)]
#[expect(dead_code, reason = "a part of the description of a rule's JSON")]
struct MatchSchema {
    #[schema(required)]
    host: Option<String>,
    #[schema(required)]
    path: Option<String>,
    #[schema(required)]
    methods: Option<Vec<String>>,
    query: BTreeMap<String, String>,
}

#[derive(ToSchema)]
#[schema(as = AccessNeeded)]
#[expect(dead_code, reason = "a part of the description of a rule's JSON")]
struct AccessSchema {
    read: Level,
    write: Level,
}

/// Show the rules in force
///
/// With how often each was hit, on all servers. For superusers. They are changed in the configuration file only.
#[utoipa::path(get, path = "/v1/policy", responses((status = 200, body = ListBody<RuleSchema>)))]
async fn show(state: web::Data<ApiState>, caller: Caller, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let policy = state.policy.load_full();
    let counted = state.directory.rule_hits(&caller.0, &policy).await?;
    let with_hits = |(rule, hits)| {
        let mut view = view(rule);
        view["hits"] = json!(hits);
        view
    };
    let items: Vec<_> = policy.rules().iter().zip(counted.hits).map(with_hits).collect();
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
            Otherwise::Login => "login",
            Otherwise::Anonymous => "anonymous",
        });
        view["cross_site"] = json!(demand.allows_cross_site.then_some("allow"));
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
