//! The values of the domain as the OpenAPI document describes them, with the limits that the domain itself has. The records
//! made of them are described where they are defined.

use std::borrow::Cow;

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type, schema::SchemaType},
};

use crate::{
    directory::IdempotencyKey,
    domain::{
        access::Level,
        account::AccountKind,
        event::Outcome,
        factor::FactorId,
        id::AccountId,
        session::SessionId,
        site::{Host, SiteName},
        text::{Email, Label, Login},
        time::Timestamp,
        token::{LastUse, Scope, TokenId},
    },
};

macro_rules! described {
    ($($type:ty as $name:literal: $schema:expr;)+) => { $(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )+ };
}

/// A span of time as people write it; also the word for none at all where there may be none.
pub(super) struct DurationText;
/// A network or an address, as people write it.
pub(super) struct NetworkText;

described! {
    Login as "Login": string(1, Login::MAX_CHARS).pattern(Some(r#"^[^\s:,/\\"<>]+$"#)).examples([json!("vera")]);
    Label as "Name": string(1, Label::MAX_CHARS).examples([json!("Night shift")]);
    Email as "Email": string(3, Email::MAX_CHARS).pattern(Some("^[^@]+@[^@]+$")).examples([json!("vera@example.com")]);
    SiteName as "SiteId": string(1, SiteName::MAX_CHARS).pattern(Some("^[A-Za-z0-9][A-Za-z0-9._-]*$")).examples([json!("shop")]);
    Host as "Host": string(1, Host::MAX_CHARS).examples([json!("shop.example.com")]);
    Scope as "Scope": string(1, Scope::MAX_CHARS).pattern(Some("^[A-Za-z0-9._:/-]+$")).examples([json!("reporting")]);
    AccountId as "AccountId": string(1, 64).pattern(Some("^acc_[A-Za-z0-9]+$"));
    FactorId as "FactorId": string(12, 12).pattern(Some("^[A-Za-z0-9]{12}$")).examples([json!("QrStUvWx4567")]);
    SessionId as "SessionId": string(12, 12).pattern(Some("^[A-Za-z0-9]{12}$")).examples([json!("ZyXwVuTs9876")]);
    TokenId as "TokenId": string(12, 12).pattern(Some("^[A-Za-z0-9]{12}$")).examples([json!("AbCdEfGh0123")]);
    AccountKind as "Kind": word(&["human", "service", "anonymous"]);
    Level as "Level": word(&Level::ALL.map(Level::as_str));
    Outcome as "Outcome": word(&["done", "refused"]);
    Timestamp as "Time": string(1, super::values::MAX_TIME).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    LastUse as "LastUse": ObjectBuilder::new()
        .property("at", Timestamp::schema())
        .required("at")
        .property("address", nullable_text())
        .required("address");
    DurationText as "Duration": string(2, super::values::MAX_DURATION)
        .pattern(Some("^[0-9]+(ms|s|m|h|d|y)$"))
        .examples([json!("90d")]);
    NetworkText as "Network": string(2, super::values::MAX_NETWORK).examples([json!("192.0.2.0/24")]);
}

fn string(min: usize, max: u64) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(min)).max_length(usize::try_from(max).ok())
}

fn word(words: &[&str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()))
}

fn nullable_text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
}

pub(super) fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

pub(super) fn etag() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some("^\"[0-9]+\"$")).examples([json!("\"3\"")]).into()
}

pub(super) fn if_match() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).examples([json!("\"3\"")]).into()
}

pub(super) fn idempotency_key() -> RefOr<Schema> {
    string(1, IdempotencyKey::MAX_CHARS).pattern(Some("^[!-~]+$")).examples([json!("3f0c9d1e")]).into()
}

pub(super) fn yes() -> RefOr<Schema> {
    word(&["true"]).into()
}

/// The kinds of accounts that can be made.
pub(super) fn kind_to_make() -> RefOr<Schema> {
    word(&["human", "service"]).default(Some(json!("human"))).into()
}

/// The levels that access is given at.
pub(super) fn level_to_give() -> RefOr<Schema> {
    word(&["none", "view", "write", "admin"]).into()
}

/// `null`, `{"*": LEVEL}`, or a level for each of some sites.
pub(super) fn levels_to_ask() -> RefOr<Schema> {
    let level: RefOr<Schema> = word(&["view", "write", "admin", "superuser"]).into();
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Object, Type::Null]))
        .description(Some("A level for each site, or for `*`, which is every site; `null`: as the owner."))
        .additional_properties(Some(level))
        .examples([json!({ "shop": "view" })])
        .into()
}
