//! A check told step by step, for people: how the request is read, what each rule says of it, what the
//! credential is, and what follows. It decides nothing: the decision in it is the gate's.

use std::borrow::Cow;

use serde::Serialize;

use super::{Gate, Verdict};
use crate::domain::{
    cookie::Cookie,
    decide::Decision,
    origin::Origin,
    policy::RuleVerdict,
    request::{CheckRequest, Described},
    site::Host,
};

/// What is said of one rule.
#[derive(Debug, Serialize)]
pub struct RuleLine {
    pub rule: String,
    pub verdict: RuleVerdict,
}

/// The decision as `/auth/check` answers it.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub decision: &'static str,
    pub status: u16,
    pub reason: Option<&'static str>,
    pub rule: Option<String>,
    pub account: Option<String>,
    pub kind: Option<&'static str>,
    pub site: Option<String>,
    pub access: Option<&'static str>,
    pub via: &'static str,
    pub credential: Option<String>,
    pub request_id: String,
}

impl Summary {
    #[must_use]
    pub fn new(verdict: &Verdict<'_>, request_id: String) -> Self {
        let reason = verdict.decision.reason();
        let presented = verdict.credentials.map_or("none", |credentials| credentials.presented.way().via.as_str());
        let grant = match &verdict.decision {
            Decision::Allow(grant) => Some(grant),
            Decision::Challenge(_) | Decision::Deny(_) | Decision::Unavailable(_) => None,
        };
        Self {
            decision: verdict.decision.word(),
            status: reason.map_or(200, super::super::domain::decision::Reason::status),
            reason: reason.map(super::super::domain::decision::Reason::code),
            rule: verdict.rule.map(str::to_owned),
            account: grant.and_then(super::super::domain::decide::Grant::account).map(str::to_owned),
            kind: grant.and_then(super::super::domain::decide::Grant::kind).map(super::super::domain::account::AccountKind::as_str),
            site: grant.and_then(super::super::domain::decide::Grant::site).map(Cow::into_owned),
            access: grant.and_then(super::super::domain::decide::Grant::access).map(super::super::domain::access::Level::as_str),
            via: grant.map_or(presented, |grant| grant.via().as_str()),
            credential: grant.and_then(super::super::domain::decide::Grant::credential).map(str::to_owned),
            request_id,
        }
    }
}

/// The whole story of one check.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The path as it is judged; `None` when the request has no single reading.
    pub path: Option<String>,
    pub host: Option<String>,
    pub rules: Vec<RuleLine>,
    #[serde(flatten)]
    pub summary: Summary,
    /// Why, in a sentence.
    pub because: String,
    /// What becomes of a browser where the rule wants it to be sent to sign in.
    pub sign_in: Option<&'static str>,
}

impl Gate {
    /// The name of the cookie that a session has at this host.
    #[must_use]
    pub fn session_cookie_at(&self, host: &str) -> &'static str {
        let origin = Host::parse(host).ok().and_then(|host| self.parts.reader.hosts.find(&host));
        Cookie::Check.name(origin.is_none_or(Origin::is_secure))
    }

    /// Judges a request as [`Gate::check`] does, and says why. Nobody has used a token by that.
    pub async fn explain(&self, described: Described<'_>, request_id: String) -> Explanation {
        let read = CheckRequest::parse(described).ok();
        let rules = read.as_ref().map_or_else(Vec::new, |request| {
            let policy = self.parts.policy.load();
            policy.explain(request).into_iter().map(|(rule, verdict)| RuleLine { rule: rule.name.clone(), verdict }).collect()
        });
        let (summary, because, sign_in) = self
            .judge(Ok(described), |verdict, _| {
                let because = match verdict.decision.reason() {
                    Some(reason) => reason.explanation().to_owned(),
                    None => because_allowed(verdict),
                };
                let to_portal =
                    ["nobody is sent to the portal, as the host is not in portal.hosts", "a browser is sent to the portal"];
                let sign_in = verdict.sends_to_sign_in().map(|sends| to_portal[usize::from(sends)]);
                (Summary::new(verdict, request_id), because, sign_in)
            })
            .await;
        Explanation {
            path: read.as_ref().map(CheckRequest::display_path),
            host: read.as_ref().map(|request| request.host.to_string()),
            rules,
            summary,
            because,
            sign_in,
        }
    }
}

fn because_allowed(verdict: &Verdict<'_>) -> String {
    let Decision::Allow(grant) = &verdict.decision else { return String::new() };
    match (grant.account(), grant.access(), grant.site()) {
        (Some(account), Some(access), Some(site)) => format!("{account} has {access} on {site}"),
        _ => "the rule is public: nobody is asked".to_owned(),
    }
}
