//! `/auth/check?method=GET&url=URL`: the same question for people and scripts, asked by a query and answered in
//! JSON with the real status. It describes a request in its own query, so no proxy need be trusted for it.

use actix_web::{HttpResponse, http::StatusCode};

use super::{
    headers::Incoming,
    wire::{Question, RequestId, Wire},
};
use crate::{
    domain::{decision::Reason, parameters::Parameters, request::split_url},
    gate::explain::Summary,
};

pub const PATH: &str = "/auth/check";

pub async fn answer(incoming: &Incoming<'_>, wire: &Wire) -> HttpResponse {
    let query = Parameters::parse(incoming.query().as_bytes());
    let (method, url) = (query.get("method").map(|method| method.unwrap_or("GET")), query.get("url"));
    let question = match (method, url) {
        // A URL whose `&` was not encoded would be judged without its end.
        _ if !query.only(&["method", "url"]) => None,
        (Ok(method), Ok(Some(url))) => split_url(url).map(|(host, target)| Question {
            method,
            target: target.as_bytes(),
            host,
            client: incoming.peer().address(),
        }),
        _ => None,
    };
    let request_id = RequestId::next();
    wire.judge("check", incoming, question.ok_or(Reason::MissingDescription), &request_id, |verdict| {
        let summary = Summary::new(verdict, request_id.to_string());
        let status = StatusCode::from_u16(summary.status).unwrap_or(StatusCode::FORBIDDEN);
        let mut response = HttpResponse::build(status);
        wire.add_refusal(&mut response, &verdict.decision, &request_id);
        response.content_type("application/json");
        response.body(serde_json::to_string(&summary).unwrap_or_default() + "\n")
    })
    .await
}
