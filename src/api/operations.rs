//! The operations of the API. Each is entered once, with its annotation and its handler, and both what is served and what the
//! OpenAPI document says come from that entry, so they cannot part. Adds to each what all operations of its kind share; knows
//! none of them.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{FromRequest, Handler, HttpResponse, Responder, Route, http::Method, web};
use utoipa::{
    __dev::SchemaReferences,
    PartialSchema, ToSchema,
    openapi::{
        Components, Content, HeaderBuilder, Info, License, OpenApi, Paths, Ref, RefOr, Required, Response, Schema,
        SecurityRequirement,
        path::{HttpMethod, Operation, Parameter, ParameterIn},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{Document, schema};
use crate::domain::cookie::Cookie;

/// Below which everything here is served.
pub(super) const ROOT: &str = "/api";
/// The records that have a version, by their names in the document.
const VERSIONED: [&str; 3] = ["Account", "Site", "Token"];
/// On the answer to a request that was carried out before.
pub(super) const REPLAYED: &str = "Idempotency-Replayed";

/// What is served, and its description.
pub(super) struct Operations {
    routes: BTreeMap<String, Vec<(Method, Route)>>,
    document: OpenApi,
}

impl Operations {
    pub fn new() -> Self {
        let mut info = Info::new("Keygate", env!("CARGO_PKG_VERSION"));
        info.description =
            Some("Accounts, sites, access, tokens and sessions of Keygate, and why it decides as it does.".to_owned());
        info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
        let mut document = OpenApi::new(info, Paths::new());
        document.security =
            Some(["bearer", "session"].map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new())).to_vec());
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token with the scope `manage`. At the control socket none is needed."))
            .build();
        let mut components = Components::new();
        components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(bearer).into());
        let session = "The session of who has signed in at the portal. What changes something also needs `Origin`, which is \
                       the portal's, and `X-CSRF-Token`, which is in the answer of `/api/v1/me`; what mints or grants, that the \
                       password was given within the last 15 minutes.";
        let cookie = ApiKeyValue::with_description(Cookie::Portal.name(true), session);
        components.security_schemes.insert("session".to_owned(), SecurityScheme::ApiKey(ApiKey::Cookie(cookie)).into());
        components.schemas.insert(Document::name().into_owned(), Document::schema());
        document.components = Some(components);
        Self { routes: BTreeMap::new(), document }
    }

    /// Enters the operation that `annotation` describes; what `GET` answers, `HEAD` answers without the body.
    pub fn add<P, F, Args>(&mut self, _annotation: P, handler: F)
    where
        P: utoipa::Path + SchemaReferences,
        F: Handler<Args> + Copy,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let path = P::path();
        let mut schemas = Vec::new();
        P::schemas(&mut schemas);
        self.components().schemas.extend(schemas);
        for method in P::methods() {
            let operation = self.completed(&path, P::operation());
            if method == HttpMethod::Get {
                self.enter(&path, HttpMethod::Head, without_bodies(operation.clone()), handler);
            }
            self.enter(&path, method, operation, handler);
        }
    }

    fn enter<F, Args>(&mut self, path: &str, method: HttpMethod, operation: Operation, handler: F)
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let verb = verb(&method);
        self.routes.entry(path.to_owned()).or_default().push((verb.clone(), web::method(verb).to(handler)));
        self.document.paths.add_path_operation(format!("{ROOT}{path}"), vec![method], operation);
    }

    /// The whole document.
    pub fn document(&self) -> &OpenApi {
        &self.document
    }

    /// Serves them below [`ROOT`]. Paths in the order of their bytes: a name stands before a parameter in its place.
    pub fn serve(self, cfg: &mut web::ServiceConfig) {
        for (path, routes) in self.routes {
            let methods: BTreeSet<_> = routes.iter().map(|(method, _)| method.as_str().to_owned()).collect();
            let allow = methods.into_iter().collect::<Vec<_>>().join(", ");
            let other_method = move || {
                let answer = HttpResponse::MethodNotAllowed().insert_header(("Allow", allow.clone())).finish();
                std::future::ready(answer)
            };
            let resource = web::resource(path).default_service(web::to(other_method));
            cfg.service(routes.into_iter().fold(resource, |resource, (_, route)| resource.route(route)));
        }
    }

    fn components(&mut self) -> &mut Components {
        self.document.components.get_or_insert_default()
    }

    /// With the refusals that every operation of its kind can meet, and the headers that go with its answers.
    fn completed(&mut self, path: &str, mut operation: Operation) -> Operation {
        let resource = path.split('/').nth(2).unwrap_or("documents").to_owned();
        operation.operation_id = operation.operation_id.map(|name| format!("{resource}_{name}"));
        operation.tags = Some(vec![resource]);
        let parameters = operation.parameters.get_or_insert_default();
        let takes = |name: &str| parameters.iter().any(|parameter| matches!(parameter, RefOr::T(found) if found.name == name));
        let (conditional, once) = (takes("If-Match"), takes("Idempotency-Key"));
        let mut refusals = vec![422, 429];
        let open = [SecurityRequirement::default()];
        if operation.security.as_deref() != Some(&open) {
            refusals.extend([400, 401, 403, 500, 503]);
        }
        if path.contains('{') {
            refusals.push(404);
        }
        if conditional {
            refusals.push(412);
        }
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            refusals.extend([413, 415]);
            let schema = body.content.get("application/json").and_then(reference);
            let schema = schema.and_then(|name| self.components().schemas.get(name));
            let nothing_required = matches!(schema, Some(RefOr::T(Schema::Object(object))) if object.required.is_empty());
            body.required = Some(if nothing_required { Required::False } else { Required::True });
        }
        let answers = &mut operation.responses.responses;
        for status in refusals {
            answers.entry(status.to_string()).or_insert_with(|| Response::new("").into());
        }
        for (status, answer) in answers {
            match answer {
                RefOr::T(answer) if status.starts_with('2') => complete_answer(status, answer, once),
                refusal => {
                    self.components().responses.entry(status.clone()).or_insert_with(|| problem(status).into());
                    *refusal = Ref::from_response_name(status).into();
                }
            }
        }
        operation
    }
}

fn verb(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Trace => Method::TRACE,
    }
}

/// The name of the schema that the content refers to.
fn reference(content: &RefOr<Content>) -> Option<&str> {
    match content {
        RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) => schema.ref_location.rsplit('/').next(),
        _ => None,
    }
}

fn header(answer: &mut Response, name: &str, schema: RefOr<Schema>, description: &str) {
    let mut header = HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
    // The crate has no member for it.
    header.extensions.get_or_insert_default().insert("required".to_owned(), (name != REPLAYED).into());
    answer.headers.insert(name.to_owned(), header.into());
}

/// What a refusal with this status looks like.
fn problem(status: &str) -> Response {
    let mut answer = Response::new(what_went_wrong(status));
    let document = Content::new(Some(Ref::from_schema_name(Document::name())));
    answer.content.insert("application/problem+json".to_owned(), document.into());
    match status {
        "401" => header(&mut answer, "WWW-Authenticate", schema::text(), "`Bearer`, with `error` when a token was presented."),
        "429" | "503" => header(&mut answer, "Retry-After", schema::text(), "Seconds, or when."),
        _ => {}
    }
    answer
}

fn complete_answer(status: &str, answer: &mut Response, once: bool) {
    let body = answer.content.values().next().and_then(reference);
    let versioned = status == "201" || body.is_some_and(|name| VERSIONED.contains(&name));
    if versioned {
        header(answer, "ETag", schema::etag(), "The version of the record, for `If-Match`.");
    }
    if versioned && once {
        header(answer, REPLAYED, schema::yes(), "Only where a request under this `Idempotency-Key` was carried out before.");
    }
    if status == "201" {
        header(answer, "Location", schema::text(), "The path of the new record.");
    }
    if answer.description.is_empty() {
        let words = match status {
            "201" => "Made.",
            "204" => "Gone.",
            _ => "Done.",
        };
        words.clone_into(&mut answer.description);
    }
}

fn what_went_wrong(status: &str) -> &'static str {
    match status {
        "400" => "The request cannot be read.",
        "401" => "There is no credential, or it is not good.",
        "403" => "This credential may not do that, or a rule forbids it.",
        "404" => "There is no such record, or none that this credential may see.",
        "409" => "Another record has this name, or others changed the record meanwhile.",
        "412" => "The record has another version than `If-Match` says.",
        "413" => "The body is too large.",
        "415" => "The body is not declared as JSON.",
        "422" => "A value is not one that is taken; `field` says which, and `limit` what it went beyond.",
        "429" => "Too many requests from this address, or too many wrong passwords.",
        "503" => {
            "The store, or the hashing of passwords, is out of reach for a moment; the store is full; or too few of its replicas \
             have confirmed what was done."
        }
        _ => "Something is wrong here; the log says what.",
    }
}

fn without_bodies(mut operation: Operation) -> Operation {
    operation.operation_id = operation.operation_id.map(|name| format!("{name}_head"));
    for (status, answer) in &mut operation.responses.responses {
        let mut headers = match answer {
            RefOr::T(answer) => std::mem::replace(answer, Response::new("")),
            RefOr::Ref(_) => problem(status),
        };
        headers.content.clear();
        *answer = headers.into();
    }
    operation
}

/// A header that a request may carry.
pub(super) fn request_header(name: &str, schema: RefOr<Schema>, description: &str) -> Parameter {
    let mut parameter = Parameter::new(name);
    parameter.parameter_in = ParameterIn::Header;
    parameter.required = Required::False;
    parameter.description = Some(description.to_owned());
    parameter.schema = Some(schema);
    parameter
}
