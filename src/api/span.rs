//! What the log says of a request to the API, beside what is logged while it is answered.
//!
//! Never the path or the query, and a method only when it is one that there is: people paste tokens everywhere.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode},
};
use tracing::{Span, field::Empty};
use tracing_actix_web::RootSpanBuilder;

use super::{ClientAddresses, problem};

const METHODS: [Method; 7] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// For `TracingLogger`.
#[derive(Clone, Copy, Debug)]
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let client = ClientAddresses::address(request.request()).map(tracing::field::display);
        tracing::info_span!(
            "request",
            request_id = problem::request_id(request),
            method = METHODS.iter().find(|method| *method == request.method()).map(Method::as_str),
            route = request.match_pattern(),
            client,
            status = Empty
        )
    }

    /// What a client did wrong is of interest to who looks for it; what went wrong here, to the operator.
    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let status = match outcome {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        span.record("status", status.as_u16());
        // A store that is away says so itself.
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!("a request to the API failed");
        } else {
            tracing::debug!("answered");
        }
    }
}
