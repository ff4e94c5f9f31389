//! Where people find the portal, which hosts it serves, how long sessions last and how often somebody may fail: the
//! sections `portal`, `sessions` and `guessing`.

use std::{net::SocketAddr, num::NonZeroU32};

use ipnet::IpNet;

use super::{
    super::{
        mistake::{Noted, quoted},
        settings::Portal,
    },
    Reader, network, socket_address,
    tokens::{refuse_above, span},
};
use crate::domain::{
    guessing::GuessingRules,
    origin::{Origin, ProtectedHosts},
    session::SessionRules,
    trust::TrustedProxies,
};

pub(super) fn portal(reader: &mut Reader<'_>) -> Result<Portal, Noted> {
    let listen = reader.text("portal.listen", socket_address);
    let hosts = hosts(reader);
    let url = reader.optional("portal.url", origin);
    let url = url.map(|url| url.or_else(|| local(listen.as_ref().copied().ok()?, hosts.as_ref().ok()?)));
    let hosts = hosts.and_then(|hosts| match &url {
        Ok(url) => of_its_own(reader, url.as_ref(), &hosts).map(|()| hosts),
        // What is wrong with it has been said.
        Err(_) => Ok(hosts),
    });
    let networks = reader.items("portal.trusted_proxies", network_or_address);
    let per_second = reader.number("portal.requests_per_second", "0 (no limit) to 1000000", |value| value <= 1_000_000);
    Ok(Portal {
        listen: listen?,
        url: url?,
        hosts: hosts?,
        trusted_proxies: TrustedProxies { networks: networks?, unix: false },
        requests_per_second: NonZeroU32::new(per_second?),
    })
}

/// Where the browser of whoever tries it out finds it. Hosts that others can reach are nothing to try out.
fn local(listen: SocketAddr, hosts: &ProtectedHosts) -> Option<Origin> {
    let at_home = listen.ip().is_loopback() && listen.port() != 0 && hosts.iter().all(|origin| !origin.is_secure());
    at_home.then(|| Origin::parse(&format!("http://localhost:{}", listen.port())).ok()).flatten()
}

fn hosts(reader: &mut Reader<'_>) -> Result<ProtectedHosts, Noted> {
    let origins = reader.items("portal.hosts", origin)?;
    let twice = "two of these have the same host, and cookies know no ports; keep one";
    ProtectedHosts::new(origins).ok_or_else(|| reader.refuse("portal.hosts", twice))
}

fn of_its_own(reader: &mut Reader<'_>, url: Option<&Origin>, hosts: &ProtectedHosts) -> Result<(), Noted> {
    match url {
        Some(url) if hosts.find(url.host()).is_some() => {
            let message = "the portal needs a host of its own: the application at its host could use the portal's cookie";
            Err(reader.refuse("portal.hosts", message))
        }
        None if hosts.iter().next().is_some() && reader.whole => {
            let message =
                "browsers have to be sent somewhere to sign in: give `portal.url` too, such as \"https://auth.example.com\"";
            Err(reader.refuse("portal.hosts", message))
        }
        _ => Ok(()),
    }
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text)
        .map_err(|error| format!("expected an origin such as \"https://shop.example.com\", found {}: {error}", quoted(text)))
}

fn network_or_address(text: &str) -> Result<IpNet, String> {
    network(text).ok_or_else(|| format!("expected an address or a network such as \"10.0.0.0/8\", found {}", quoted(text)))
}

pub(super) fn sessions(reader: &mut Reader<'_>) -> Result<SessionRules, Noted> {
    let [idle, absolute, remember] = ["sessions.idle", "sessions.absolute", "sessions.remember"].map(|key| reader.text(key, span));
    if let (Ok(idle), Ok(absolute)) = (idle, absolute) {
        refuse_above(reader, ("sessions.idle", idle), ("sessions.absolute", absolute));
    }
    if let (Ok(absolute), Ok(remember)) = (absolute, remember) {
        refuse_above(reader, ("sessions.absolute", absolute), ("sessions.remember", remember));
    }
    let must_have_second_factor = reader.word("portal.second_factor", &[("optional", false), ("required", true)]);
    Ok(SessionRules { idle: idle?, absolute: absolute?, remember: remember?, must_have_second_factor: must_have_second_factor? })
}

pub(super) fn guessing(reader: &mut Reader<'_>) -> Result<GuessingRules, Noted> {
    let window = reader.text("guessing.window", span);
    let limits = ["guessing.per_address", "guessing.per_login", "guessing.codes_per_login", "guessing.tokens_per_address"];
    let [per_address, per_login, codes_per_login, tokens_per_address] =
        limits.map(|key| reader.number(key, "0 (no limit) to 10000", |value| value <= 10_000));
    let [allow, deny] = ["guessing.allow", "guessing.deny"].map(|key| reader.items(key, network_or_address));
    Ok(GuessingRules {
        window: window?,
        per_address: NonZeroU32::new(per_address?),
        per_login: NonZeroU32::new(per_login?),
        codes_per_login: NonZeroU32::new(codes_per_login?),
        tokens_per_address: NonZeroU32::new(tokens_per_address?),
        allow: allow?,
        deny: deny?,
    })
}
