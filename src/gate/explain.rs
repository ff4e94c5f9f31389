//! A check told step by step, for people: how the request is read, what each rule says of it, what the
//! credential is, and what follows. It decides nothing: the decision in it is the gate's.

use std::borrow::Cow;

use serde::Serialize;

use super::{Gate, Gathered, Sought, Verdict, Verification, find::Search};
use crate::domain::{
    cookie::Cookie,
    decide::Decision,
    decision::{Reason, Via},
    origin::Origin,
    policy::RuleVerdict,
    presented::{Credentials, Presented},
    request::{CheckRequest, Described},
    site::Host,
    token::PresentedToken,
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

    /// Judges a request as [`Gate::check`] does, and says why. Nobody has used a token by that. With `known`, as if it came with
    /// this token as a bearer, and with nothing else: whoever asks so must be allowed to see it.
    pub async fn explain(&self, described: Described<'_>, known: Option<&PresentedToken>, request_id: String) -> Explanation {
        let read = CheckRequest::parse(described).ok();
        let rules = read.as_ref().map_or_else(Vec::new, |request| {
            let policy = self.parts.policy.load();
            policy.explain(request).into_iter().map(|(rule, verdict)| RuleLine { rule: rule.name.clone(), verdict }).collect()
        });
        let story = |verdict: &Verdict<'_>| {
            let because = match verdict.decision.reason() {
                Some(reason) => reason.explanation().to_owned(),
                None => because_allowed(verdict),
            };
            let to_portal = ["nobody is sent to the portal, as the host is not in portal.hosts", "a browser is sent to the portal"];
            let sign_in = verdict.sends_to_sign_in().map(|sends| to_portal[usize::from(sends)]);
            (Summary::new(verdict, request_id), because, sign_in)
        };
        let (summary, because, sign_in) = match known {
            Some(known) => self.judge_with(described, known, story).await,
            None => self.judge(Ok(described), |verdict, _| story(verdict)).await,
        };
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

impl Gate {
    /// As [`Gate::judge`], with a token in the place of what is presented, which is taken for verified.
    async fn judge_with<T>(&self, described: Described<'_>, known: &PresentedToken, then: impl FnOnce(&Verdict<'_>) -> T) -> T {
        let request = match CheckRequest::parse(described) {
            Ok(request) => request,
            Err(reason) => return then(&Verdict::unread(reason)),
        };
        let policy = self.parts.policy.load();
        let mut reading = self.read(&request, &policy);
        if let Some(asking) = &mut reading.asking {
            let presented = Presented::Token { via: Via::Bearer, token: known.clone(), login: None };
            asking.credentials = Credentials { presented, in_authorization: true, in_query: Vec::new() };
        }
        let (gathered, verification) = match (&reading.asking, self.sought(&reading)) {
            (Some(asking), Sought::Records(_)) => {
                self.find(&Search::Known(&known.id), &asking.sites).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "the store did not answer who wants an explanation");
                    (Gathered::default(), Verification::Unavailable(Reason::StoreUnavailable))
                })
            }
            // It may not come that way.
            _ => (Gathered::default(), Verification::NotPresented),
        };
        self.conclude(&reading, &gathered, verification, |verdict, _| then(verdict))
    }
}

fn because_allowed(verdict: &Verdict<'_>) -> String {
    let Decision::Allow(grant) = &verdict.decision else { return String::new() };
    match (grant.account(), grant.access(), grant.site()) {
        (Some(account), Some(access), Some(site)) => format!("{account} has {access} on {site}"),
        _ => "the rule is public: nobody is asked".to_owned(),
    }
}
