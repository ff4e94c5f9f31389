//! The links at the top of every page, and those within the administration: which there are, and who sees them. It decides
//! nothing: what somebody may do is found out when he does it.

use actix_web::HttpResponse;

use super::{Refusal, go_to, visitor::SignedIn};

/// A link to a page.
pub(super) struct Entry {
    pub path: &'static str,
    pub label: &'static str,
    seen_by: Whom,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    Everybody,
    /// Those of sites, and superusers.
    Administrators,
    Superusers,
}

/// At the top of every page.
const PAGES: &[Entry] = &[
    Entry { path: "/keys", label: "Keys", seen_by: Whom::Everybody },
    Entry { path: "/sessions", label: "Sessions", seen_by: Whom::Everybody },
    Entry { path: "/security", label: "Security", seen_by: Whom::Everybody },
];

/// Where all pages of [`ADMINISTRATION`] are.
const ADMIN: Entry = Entry { path: "/admin", label: "Administration", seen_by: Whom::Everybody };

/// Within the administration.
const ADMINISTRATION: &[Entry] = &[
    Entry { path: "/admin/overview", label: "Overview", seen_by: Whom::Superusers },
    Entry { path: "/admin/accounts", label: "Accounts", seen_by: Whom::Superusers },
    Entry { path: "/admin/sites", label: "Sites", seen_by: Whom::Administrators },
    Entry { path: "/admin/access", label: "Access", seen_by: Whom::Administrators },
    Entry { path: "/admin/keys", label: "Keys", seen_by: Whom::Administrators },
    Entry { path: "/admin/sessions", label: "Sessions", seen_by: Whom::Superusers },
    Entry { path: "/admin/blocked", label: "Blocked", seen_by: Whom::Superusers },
    Entry { path: "/admin/audit", label: "Audit", seen_by: Whom::Superusers },
    Entry { path: "/admin/policy", label: "Policy", seen_by: Whom::Superusers },
    Entry { path: "/admin/explain", label: "Explain", seen_by: Whom::Superusers },
];

impl Entry {
    /// Whether the page `at` is this one or beneath it.
    pub fn leads_to(&self, at: &str) -> bool {
        at.strip_prefix(self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// What the visitor sees at the top of every page.
pub(super) fn pages(visitor: &SignedIn) -> impl Iterator<Item = &'static Entry> {
    let admin = administration(visitor).next().map(|_| &ADMIN);
    seen(PAGES, visitor).chain(admin)
}

/// What he sees of the administration.
pub(super) fn administration(visitor: &SignedIn) -> impl Iterator<Item = &'static Entry> + use<> {
    seen(ADMINISTRATION, visitor)
}

fn seen(entries: &'static [Entry], visitor: &SignedIn) -> impl Iterator<Item = &'static Entry> + use<> {
    let he = if visitor.account.superuser {
        Whom::Superusers
    } else if visitor.administers_sites {
        Whom::Administrators
    } else {
        Whom::Everybody
    };
    entries.iter().filter(move |entry| entry.seen_by <= he)
}

/// `GET /admin`: on to the first page of it.
pub(super) async fn admin(visitor: SignedIn) -> Result<HttpResponse, Refusal> {
    administration(&visitor).next().map(|entry| go_to(entry.path)).ok_or_else(Refusal::not_found)
}
