//! What was chosen in the form, read as the API reads it.

use std::collections::BTreeMap;

use super::{super::super::problems::Problems, Choices, Fields};
use crate::{
    directory::{CeilingAsk, Expiry, NewToken, fields},
    domain::{
        access::Level,
        site::SiteName,
        text::{Invalid, Login},
        time::{Timestamp, parse_duration},
        token::Scope,
    },
};

/// The key that was asked for; `None` when something of it cannot be, which is noted.
pub(super) fn token(typed: &Fields, owner: &Login, choices: &Choices, problems: &mut Problems) -> Option<NewToken> {
    let name = problems.take("name", fields::token_name(&typed.name));
    let device = match typed.device.trim() {
        "" => None,
        device => problems.take("device", fields::device(device)),
    };
    let ceiling = problems.take("rights", ceiling(typed, choices));
    let scopes = typed.chosen("scope.").map(|(scope, _)| Scope::parse(scope)).collect::<Result<Vec<_>, _>>();
    let scopes = problems.take("scopes", scopes);
    let words = typed.networks.split([' ', ',', ';', '\r', '\n', '\t']).filter(|word| !word.is_empty());
    let networks = problems.take("networks", words.map(fields::network).collect::<Result<Vec<_>, _>>());
    let expires = problems.take(if typed.expires == "date" { "until" } else { "expires" }, expiry(typed));
    if !problems.is_empty() {
        return None;
    }
    Some(NewToken {
        device,
        ceiling: ceiling?,
        scopes: scopes?,
        networks: networks?,
        secure_only: typed.in_urls.is_none(),
        expires: expires?,
        ..NewToken::new(owner.clone(), name?)
    })
}

/// The field of the form that an error of a use case is about.
pub(super) fn beside(invalid: Invalid) -> Invalid {
    let field = match invalid.field {
        "levels" => "rights",
        "expires_at" | "expires_in" => "expires",
        "account" | "secure_only" => "name",
        field => field,
    };
    Invalid { field, ..invalid }
}

impl Fields {
    /// The fields of that prefix, by what follows it.
    pub(super) fn chosen<'f>(&'f self, prefix: &'f str) -> impl Iterator<Item = (&'f str, &'f str)> {
        self.more.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// Whether all fields are ones of the form.
    pub(super) fn are_known(&self) -> bool {
        self.more.keys().all(|name| name.starts_with("site.") || name.starts_with("scope."))
    }

    // For templates.

    pub(super) fn level_on(&self, site: &SiteName) -> &str {
        self.chosen("site.").find(|(name, _)| *name == site.as_str()).map_or("", |(_, level)| level)
    }

    pub(super) fn has_scope(&self, scope: &str) -> bool {
        self.chosen("scope.").any(|(name, _)| name == scope)
    }
}

fn ceiling(typed: &Fields, choices: &Choices) -> Result<CeilingAsk, Invalid> {
    let invalid = |detail: &str| Invalid::new("token_level", "rights", detail);
    let level = |text: &str| Level::parse(text).ok_or_else(|| invalid("choose a level"));
    match typed.rights.as_str() {
        "all" => Ok(CeilingAsk::Owner),
        "every" if !choices.every.is_empty() => Ok(CeilingAsk::EverySite(level(&typed.every)?)),
        "sites" => {
            let rows = typed.chosen("site.").filter(|(_, level)| !level.is_empty());
            let other = Some((typed.other_site.trim(), typed.other_level.as_str())).filter(|(site, _)| !site.is_empty());
            let rows = rows.chain(other).map(|(site, text)| Ok((SiteName::parse(site)?, level(text)?)));
            let rows: BTreeMap<_, _> = rows.collect::<Result<_, Invalid>>()?;
            if rows.is_empty() {
                return Err(invalid("choose a level on at least one site"));
            }
            Ok(CeilingAsk::PerSite(rows))
        }
        _ => Err(invalid("choose what the key may do")),
    }
}

fn expiry(typed: &Fields) -> Result<Option<Expiry>, Invalid> {
    let invalid = |detail: &str| Invalid::new("expiry", "expires", detail);
    match typed.expires.as_str() {
        "default" => Ok(None),
        "never" => Ok(Some(Expiry::Never)),
        "date" => {
            let end = Timestamp::parse(&format!("{}T23:59:59Z", typed.until.trim()));
            end.map(|end| Some(Expiry::At(end))).ok_or_else(|| invalid("give the date as year-month-day, such as 2030-12-31"))
        }
        after => {
            parse_duration(after).map(|after| Some(Expiry::After(after))).ok_or_else(|| invalid("choose when the key expires"))
        }
    }
}
