//! `store.url` of a Redis: which servers it names, and how.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

/// The servers that were named. Of each `info` beside, the address is only an example.
pub(super) enum Servers {
    One(ConnectionInfo),
    /// The sentinels, and the name of what they watch.
    Sentinel(ConnectionInfo, Vec<Node>, String),
    /// Some nodes of a cluster.
    Cluster(ConnectionInfo, Vec<Node>),
}

/// A server of several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Node {
    /// As errors of a cluster write it: the port is behind the last colon.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    /// As the server at `asked` has named it: without a host, it is on that server's own.
    pub(super) fn seen_from(self, asked: &ConnectionAddr) -> Self {
        match asked {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } if matches!(&*self.host, "" | "?") => {
                Self { host: host.clone(), ..self }
            }
            _ => self,
        }
    }

    /// Its address, reached in the same way as that of `info`.
    pub(super) fn address(&self, info: &ConnectionInfo) -> ConnectionAddr {
        let Self { host, port } = self.clone();
        match info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        }
    }
}

impl Servers {
    pub(super) fn info(&self) -> &ConnectionInfo {
        match self {
            Self::One(info) | Self::Sentinel(info, ..) | Self::Cluster(info, _) => info,
        }
    }

    /// `None` for what is no such URL. The driver's own words are not handed on: they may repeat the URL.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let Some((scheme, kind, rest)) = split(url) else { return url.into_connection_info().ok().map(Self::One) };
        let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(user, rest)| (user, rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (service, database) = path.split_once('/').unwrap_or((path, ""));
        let of = |host: &str, default: u16| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let host = if has_port { host.to_owned() } else { format!("{host}:{default}") };
            format!("{scheme}://{user}{}{host}/{database}", if user.is_empty() { "" } else { "@" }).into_connection_info().ok()
        };
        let default = if kind == "sentinel" { 26379 } else { 6379 };
        let infos: Vec<ConnectionInfo> = hosts.split(',').map(|host| of(host, default)).collect::<Option<_>>()?;
        let nodes = infos.iter().map(|info| match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Node { host: host.clone(), port: *port })
            }
            _ => None,
        });
        let nodes = nodes.collect::<Option<_>>()?;
        let info = infos.into_iter().next()?;
        match kind {
            "sentinel" if !service.is_empty() => Some(Self::Sentinel(info, nodes, service.to_owned())),
            "cluster" if path.is_empty() => Some(Self::Cluster(info, nodes)),
            _ => None,
        }
    }
}

/// Scheme of one server, what kind of several, and the rest; `None` for one server.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let (scheme, kind) = scheme.split_once('+')?;
    let known = matches!(scheme, "redis" | "rediss") && matches!(kind, "sentinel" | "cluster");
    known.then_some((scheme, kind, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(nodes: &[Node]) -> String {
        nodes.iter().map(|node| format!("{}:{}", node.host, node.port)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn urls_name_one_server_or_several() {
        assert!(matches!(Servers::parse("redis://h:1/2"), Some(Servers::One(_))));
        let Some(Servers::Sentinel(info, sentinels, service)) = Servers::parse("redis+sentinel://u:p%40w@a:1,[::1]:2,c/kg/3")
        else {
            panic!("a URL of sentinels")
        };
        assert_eq!((nodes(&sentinels).as_str(), service.as_str()), ("a:1 ::1:2 c:26379", "kg"));
        let settings = info.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("u"), Some("p@w"), 3));
        let Some(Servers::Cluster(info, some)) = Servers::parse("rediss+cluster://a,[::1],b:7") else {
            panic!("a URL of a cluster")
        };
        assert_eq!(nodes(&some), "a:6379 ::1:6379 b:7");
        let node = Node::parse("::2:6380").unwrap();
        let ConnectionAddr::TcpTls { host, port, insecure: false, .. } = node.address(&info) else { panic!("TLS as well") };
        assert_eq!((host.as_str(), port), ("::2", 6380));
    }

    #[test]
    fn a_node_without_a_host_is_where_it_was_named() {
        let asked = ConnectionAddr::Tcp("a".to_owned(), 1);
        let seen = [":7", "?:7", "b:7"].map(|text| Node::parse(text).unwrap().seen_from(&asked));
        assert_eq!(nodes(&seen), "a:7 a:7 b:7");
    }

    #[test]
    fn what_is_no_such_url_is_none() {
        for bad in [
            "",
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel:///kg",
            "redis+sentinel://a/kg/x",
            "redis+cluster://",
            "redis+cluster://a/0",
            "redis+cluster://a,",
            "redis+cluster://a:x",
            "redis+other://a",
            "http+cluster://a",
            "redis://h/x",
        ] {
            assert!(Servers::parse(bad).is_none(), "{bad}");
        }
    }
}
