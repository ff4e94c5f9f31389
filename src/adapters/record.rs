//! What the operator learns of an answer: each is counted, and each refusal is one line in the log, which its request id
//! finds. The reason is for him, the secret for nobody, and a query may hold one.

use super::wire::{Question, Wire};
use crate::{
    counts::Sample,
    domain::{decide::Decision, presented::Presented, request::CheckRequest, session::SessionSecret, text::printable},
    gate::Verdict,
};

/// What was asked, and by which id the answer is found.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    pub dialect: &'static str,
    /// `None` when nobody can be believed, or nothing was described.
    pub question: Option<Question<'r>>,
    pub request_id: &'r str,
    /// Where this is one of the checks that are looked at more closely.
    pub sample: Option<Sample>,
}

/// What the line of a refusal says beside what was asked.
#[derive(Default)]
struct Refused<'a> {
    reason: &'a str,
    rule: &'a str,
    credential: Option<&'a str>,
    fault: Option<&'static str>,
    sign_in: Option<&'static str>,
}

impl Wire {
    /// Counts what the gate said, and logs a refusal.
    pub fn record(&self, asked: &Asked<'_>, verdict: &Verdict<'_>) {
        let reason = verdict.decision.reason().map_or("", crate::domain::decision::Reason::code);
        self.metrics.count_check(asked.dialect, verdict.decision.word(), reason);
        self.counts.count(&verdict.decision, verdict.rule, asked.sample);
        if reason.is_empty() {
            return;
        }
        let credential = verdict.credentials.and_then(|credentials| match &credentials.presented {
            Presented::Token { token, .. } => Some(token.id.as_str()),
            presented => presented.cookie().map(|cookie| cookie.session.as_str()),
        });
        let is_stuck = verdict.sends_to_sign_in() == Some(false) && verdict.request.is_some_and(CheckRequest::is_navigation);
        let sign_in = is_stuck.then_some("the host is not in portal.hosts");
        log(asked, &Refused { reason, rule: verdict.rule.unwrap_or_default(), credential, sign_in, fault: None });
    }

    /// The same for a refusal at the paths of our own, where the gate is not asked.
    pub(super) fn record_refusal(&self, asked: &Asked<'_>, decision: &Decision<'_>) {
        let reason = decision.reason().map_or("", crate::domain::decision::Reason::code);
        self.metrics.count_check(asked.dialect, decision.word(), reason);
        self.counts.count(decision, None, asked.sample);
        log(asked, &Refused { reason, ..Refused::default() });
    }

    /// The same for a code. What is wrong with it is said here and nowhere else.
    pub(super) fn record_code(&self, asked: &Asked<'_>, code: Option<&SessionSecret>, fault: &'static str) {
        let reason = "code_refused";
        self.metrics.count_check(asked.dialect, "deny", reason);
        self.counts.count_code_refused();
        let credential = code.map(|code| code.session.as_str());
        log(asked, &Refused { reason, credential, fault: Some(fault), ..Refused::default() });
    }
}

fn log(asked: &Asked<'_>, refused: &Refused<'_>) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let Asked { dialect, question, request_id, .. } = *asked;
    tracing::info!(
        dialect,
        request_id,
        reason = refused.reason,
        rule = refused.rule,
        method = question.map(|question| loggable(question.method)),
        host = question.map(|question| loggable(question.host)),
        path = question.map(|question| loggable_path(question.target)),
        client = question.and_then(|question| question.client).map(tracing::field::display),
        credential = refused.credential,
        fault = refused.fault,
        sign_in = refused.sign_in,
        "refused"
    );
}

/// The path without its query.
fn loggable_path(target: &[u8]) -> String {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    loggable(&String::from_utf8_lossy(path))
}

/// What a client wrote, cut, printable, and without what may be a secret: a token, wherever he put it.
fn loggable(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let cut: String = text.chars().take(200).collect();
    let words = cut.split_inclusive(|c: char| !is_part(c)).map(|word| {
        let end = word.find(|c: char| !is_part(c)).unwrap_or(word.len());
        let secret = end >= 24 && word.bytes().any(|byte| byte.is_ascii_digit());
        if secret { format!("…{}", &word[end..]) } else { word.to_owned() }
    });
    printable(&words.collect::<String>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::loggable_path;

    #[test]
    fn a_token_in_a_path_is_not_logged() {
        for (target, logged) in [
            ("/a/b?token=x", "/a/b"),
            ("/a/kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf/b", "/a/…/b"),
            ("/a%3Ftoken_auth=kg_u_AbCdEfGh0123abcdefghijklmnopqrstuvwxyzABCDEF3QN0xf", "/a%3Ftoken_auth=…"),
            ("/orders/123456", "/orders/123456"),
        ] {
            assert_eq!(loggable_path(target.as_bytes()), logged);
        }
    }
}
