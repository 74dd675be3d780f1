//! The address of a Redis server or cluster, from one URL. Its text may hold a password, so neither an error
//! nor the display repeats it.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::base::Secret;

/// One server, or the nodes of a cluster that are asked for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// One URL for each node.
    nodes: Secret<Vec<String>>,
    is_cluster: bool,
}

const EXPECTED: &str = "expected a URL that begins with redis://, rediss:// or unix://";

impl RedisUrl {
    /// Reads `redis://user:password@host:6379/0`, `rediss://…` (TLS), `unix:///run/redis.sock?db=0`, and a
    /// cluster as several nodes (`redis://a:7000,b:7000`, or whole URLs with commas between) or as one node
    /// with `?cluster=true`.
    ///
    /// # Errors
    /// The expected form. The text is not repeated, because it may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (text, options) = text.trim().split_once('?').unwrap_or_else(|| (text.trim(), ""));
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        if scheme.contains("sentinel") {
            return Err(
                "Sentinel is not spoken: name the server itself, a name that follows it, or a cluster",
            );
        }
        let kind = match scheme {
            "redis" | "valkey" => "redis",
            "rediss" | "valkeys" => "rediss",
            "unix" | "redis+unix" | "valkey+unix" => "unix",
            _ => return Err(EXPECTED),
        };
        let is_marked = options.split('&').any(|option| option == "cluster=true");
        let kept: Vec<&str> = options
            .split('&')
            .filter(|option| !option.is_empty() && !option.starts_with("cluster="))
            .collect();
        let options = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        let nodes: Vec<String> = if kind == "unix" {
            vec![format!("unix://{rest}{options}")]
        } else {
            // A comma may be in a password, but in no host: hosts begin behind the last `@`.
            let (user, hosts) = rest.rsplit_once('@').map_or((String::new(), rest), |(user, hosts)| {
                // Of several whole URLs the first names the user.
                let user = user.split("@").next().unwrap_or_default();
                (format!("{user}@"), hosts)
            });
            let all = if rest.contains("://") { whole_urls(rest) } else { own_hosts(hosts) };
            all.into_iter().map(|host| format!("{kind}://{user}{host}{options}")).collect()
        };
        let is_cluster = is_marked || nodes.len() > 1;
        let url = Self { nodes: Secret::new(nodes), is_cluster };
        let infos = url.infos().ok_or("expected host, port and the number of a database in the URL")?;
        match infos.as_slice() {
            [] => Err(EXPECTED),
            _ if is_cluster && infos.iter().any(|info| info.redis_settings().db() != 0) => {
                Err("a cluster has no numbered databases")
            }
            _ if is_cluster && kind == "unix" => Err("the nodes of a cluster have no socket files"),
            [_, ..] => Ok(url),
        }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// The nodes, as the client library takes them.
    pub(super) fn infos(&self) -> Option<Vec<ConnectionInfo>> {
        self.nodes.expose().iter().map(|node| node.as_str().into_connection_info().ok()).collect()
    }
}

/// The hosts of one URL with several: `a:1,b:2/0`. A path stands behind the last one.
fn own_hosts(hosts: &str) -> Vec<String> {
    let (hosts, path) =
        hosts.split_once('/').map_or((hosts, String::new()), |(hosts, path)| (hosts, format!("/{path}")));
    hosts.split(',').map(|host| format!("{host}{path}")).collect()
}

/// The hosts of several URLs with commas between them; the first one's scheme is cut off already.
fn whole_urls(rest: &str) -> Vec<String> {
    let host = |url: &str| url.rsplit_once('@').map_or(url, |(_, host)| host).to_owned();
    let mut found = Vec::new();
    let mut left = rest;
    while let Some((before, after)) = left.split_once("://") {
        // The scheme of the next URL stands behind the last comma.
        found.push(host(before.rsplit_once(',').map_or(before, |(url, _)| url)));
        left = after;
    }
    found.push(host(left));
    found
}

/// For people: hosts and ports, without user, password and options.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_cluster { "Redis cluster, " } else { "Redis, " })?;
        for (index, info) in self.infos().unwrap_or_default().iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match info.addr() {
                ConnectionAddr::Unix(path) => write!(f, "{}", path.display())?,
                ConnectionAddr::Tcp(host, port) => write!(f, "{host}:{port}")?,
                ConnectionAddr::TcpTls { host, port, .. } => write!(f, "{host}:{port} (TLS)")?,
                _ => f.write_str("a server")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_servers_sockets_and_clusters_and_shows_no_password() {
        for (text, shown) in [
            ("redis://h", "Redis, h:6379"),
            ("redis://:s3cret@h:6380/3", "Redis, h:6380"),
            ("rediss://u:s3cret@h:6380", "Redis, h:6380 (TLS)"),
            ("valkey://u:s3cret@h", "Redis, h:6379"),
            ("unix:///run/redis.sock?db=2&pass=s3cret", "Redis, /run/redis.sock"),
            ("redis://u:s3cret,s3cret@h:1", "Redis, h:1"),
            ("redis://u:s3cret@a:7000,b:7001", "Redis cluster, a:7000, b:7001"),
            ("redis://u:s3cret@a:7000,redis://u:s3cret@b:7001", "Redis cluster, a:7000, b:7001"),
            ("redis://a:7000,redis://b:7001,redis://c", "Redis cluster, a:7000, b:7001, c:6379"),
            ("rediss://a:7000?cluster=true", "Redis cluster, a:7000 (TLS)"),
        ] {
            let url = RedisUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(url.to_string(), shown, "{text}");
            assert!(!format!("{url:?}").contains("s3cret"), "{url:?}");
        }
        let passwords = |text: &str| -> Vec<String> {
            let infos = RedisUrl::parse(text).unwrap().infos().unwrap();
            infos.iter().map(|info| info.redis_settings().password().unwrap().to_owned()).collect()
        };
        assert_eq!(passwords("redis://u:a%2Fb%20c@h"), ["a/b c"]);
        assert_eq!(passwords("redis://u:a,b@h,i"), ["a,b", "a,b"]);
        assert_eq!(passwords("redis://u:a@h,redis://u:a@i"), ["a", "a"]);
    }

    #[test]
    fn refuses_other_addresses_and_says_why() {
        for (text, why) in [
            ("", "begins with"),
            ("h:6379", "begins with"),
            ("http://u:s3cret@h", "begins with"),
            ("redis://h/x", "number of a database"),
            ("redis://", "expected"),
            ("redis+sentinel://h:26379/mymaster", "Sentinel"),
            ("redis://a,b/3", "numbered databases"),
            ("unix:///run/redis.sock?cluster=true", "socket"),
        ] {
            let error = RedisUrl::parse(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cret"), "{text}: {error}");
        }
    }
}
