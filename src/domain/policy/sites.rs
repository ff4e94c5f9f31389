//! Which sites a request is about, before anyone knows whether they exist.

use std::borrow::Cow;

use super::{
    super::{
        request::CheckRequest,
        site::{Host, SiteName},
    },
    SiteSource,
};

/// Which sites a request is about, before anyone knows whether they exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SiteAsk<'p> {
    Named(Cow<'p, [SiteName]>),
    ByHost(Host),
    /// The request names none.
    Missing,
    /// What the request names can be no site.
    Impossible,
}

/// More sites than this in one request are nobody's honest question.
const MAX_SITES: usize = 100;

impl<'p> SiteAsk<'p> {
    #[must_use]
    pub fn of(source: &'p SiteSource, request: &CheckRequest<'_>) -> Self {
        let list = match source {
            SiteSource::Named(names) => return Self::Named(Cow::Borrowed(names)),
            SiteSource::Host => return Self::ByHost(request.host.clone()),
            SiteSource::Query(name) => request.query.get(name).ok().flatten(),
            SiteSource::Segment(place) => request.segments.get(*place).map(AsRef::as_ref),
        };
        match list {
            None | Some("") => Self::Missing,
            Some(list) => match parse_site_list(list) {
                Some(names) => Self::Named(Cow::Owned(names)),
                None => Self::Impossible,
            },
        }
    }
}

impl SiteAsk<'_> {
    /// To be kept beyond the request.
    #[must_use]
    pub fn into_static(self) -> SiteAsk<'static> {
        match self {
            Self::Named(names) => SiteAsk::Named(Cow::Owned(names.into_owned())),
            Self::ByHost(host) => SiteAsk::ByHost(host),
            Self::Missing => SiteAsk::Missing,
            Self::Impossible => SiteAsk::Impossible,
        }
    }
}

/// `shop` or `1,3`: each of them, doubles once. `None` when a part is no site id, or there are too many.
#[must_use]
pub fn parse_site_list(list: &str) -> Option<Vec<SiteName>> {
    let mut names = Vec::new();
    for part in list.split(',') {
        let name = SiteName::parse(part).ok()?;
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > MAX_SITES {
            return None;
        }
    }
    Some(names)
}
