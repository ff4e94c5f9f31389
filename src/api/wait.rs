//! `?wait=true`: the answer comes when what was done holds for every check that begins then, on every server. One place for
//! all operations that take it; those that do not refuse it before anything is done.

use actix_web::{
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode},
    middleware::Next,
    web,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{ApiState, decode};

/// The query of what takes something away.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Answer only when the change holds everywhere: within `hot_path.max_staleness`.
    #[serde(default, rename = "wait")]
    #[param(required = false)]
    _wait: bool,
}

/// Holds back an answer that something was done. One of a request that was carried out before, too: that may have been just
/// now.
pub(super) async fn until_it_holds(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let is_delete = request.method() == Method::DELETE;
    let wants = !request.method().is_safe() && wants_to_wait(request.query_string());
    let response = next.call(request).await?;
    // What has gone may have gone just now, at the request before.
    let has_gone = is_delete && response.status() == StatusCode::NOT_FOUND;
    if wants
        && (response.status().is_success() || has_gone)
        && let Some(state) = response.request().app_data::<web::Data<ApiState>>()
    {
        state.directory.until_it_holds().await;
    }
    Ok(response)
}

/// As the handler reads it. A query that it refuses is no wish.
fn wants_to_wait(query: &str) -> bool {
    #[derive(Deserialize)]
    struct Wish {
        #[serde(default)]
        wait: bool,
    }
    decode::query::<Wish>(query).is_ok_and(|wish| wish.wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_true_in_any_spelling_wishes_to_wait() {
        for (query, wish) in [
            ("", false),
            ("wait=true", true),
            ("reason=x&wait=true", true),
            ("%77ait=tru%65", true),
            ("wait=false", false),
            ("wait=1", false),
            ("await=true", false),
        ] {
            assert_eq!(wants_to_wait(query), wish, "{query}");
        }
    }
}
