//! The address of a Redis server, of a cluster, or of the sentinels that know a server, from one URL. Its
//! text may hold passwords, so neither an error nor the display repeats it.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::url_text::{EXPECTED, UrlText};
use crate::base::Secret;

/// One server, the nodes of a cluster that are asked for the others, or sentinels that are asked for the
/// server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// One URL for each node or sentinel.
    nodes: Secret<Vec<String>>,
    form: RedisForm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum RedisForm {
    Server,
    Cluster,
    Sentinels(SentinelService),
}

/// A server that sentinels know by a name; which one it is, they decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SentinelService {
    pub(super) name: String,
    /// The server's URL, before and behind its host and port.
    server: Secret<[String; 2]>,
}

const DATABASE_EXPECTED: &str = "expected host, port and the number of a database in the URL";
const OPTIONS: &str = "expected no options in the URL but cluster=true and protocol=resp3";
const SOCKET_OPTIONS: &str = "expected no options in the URL but db, user, pass and protocol=resp3";
const SENTINEL_OPTIONS: &str =
    "expected no options in the URL but sentinel_username, sentinel_password and protocol=resp3";
const SENTINEL_EXPECTED: &str = "expected redis+sentinel://host:26379,host:26379/NAME, with the name by which \
                                 the sentinels know the master";
/// Where sentinels listen by default.
const SENTINEL_PORT: u16 = 26379;
/// What stands in the place of a server that is not known yet.
const UNKNOWN_SERVER: &str = "localhost";

impl RedisUrl {
    /// Reads `redis://user:password@host:6379/0`, `rediss://…` (TLS), `unix:///run/redis.sock?db=0`, and a
    /// cluster as several nodes (`redis://a:7000,b:7000`, or whole URLs with commas between) or as one node
    /// with `?cluster=true`. `redis+sentinel://user:password@a:26379,b:26379/name/0` has the server's user
    /// and database; `?sentinel_username=…&sentinel_password=…` are for the sentinels.
    /// `rediss+sentinel` is TLS to both.
    ///
    /// # Errors
    /// The expected form. The text is not repeated, because it may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = UrlText::read(text)?;
        let kind = match text.scheme {
            "redis+sentinel" | "valkey+sentinel" => return sentinels("redis", &text),
            "rediss+sentinel" | "valkeys+sentinel" => return sentinels("rediss", &text),
            other if other.contains("sentinel") => return Err(SENTINEL_EXPECTED),
            "redis" | "valkey" => "redis",
            "rediss" | "valkeys" => "rediss",
            "unix" | "redis+unix" | "valkey+unix" => return socket(&text),
            _ => return Err(EXPECTED),
        };
        let mut is_cluster = text.hosts.len() > 1;
        let mut end = format!("/{}", text.path);
        for (name, value) in text.options(&["cluster", "protocol", "family"], OPTIONS)? {
            match (name, value) {
                // Of other client libraries; both families are tried here.
                ("family", _) => {}
                ("cluster", "true") => is_cluster = true,
                // Several hosts are a cluster.
                ("cluster", "false") if !is_cluster => {}
                ("protocol", value) => end.push_str(protocol(value)?),
                _ => return Err(OPTIONS),
            }
        }
        if text.is_insecure()? {
            end.push_str("#insecure");
        }
        let node = |host: &&str| format!("{kind}://{}{host}{end}", text.user);
        let form = if is_cluster { RedisForm::Cluster } else { RedisForm::Server };
        let url = Self { nodes: Secret::new(text.hosts.iter().map(node).collect()), form };
        let infos = url.infos().ok_or(DATABASE_EXPECTED)?;
        match infos.as_slice() {
            [] => Err(EXPECTED),
            _ if is_cluster && infos.iter().any(|info| info.redis_settings().db() != 0) => {
                Err("a cluster has no numbered databases")
            }
            _ if infos.iter().any(|info| info.redis_settings().db() < 0) => Err(DATABASE_EXPECTED),
            [_, ..] => Ok(url),
        }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.form, RedisForm::Cluster)
    }

    /// The server that sentinels know. `None`: there are none.
    pub(super) const fn service(&self) -> Option<&SentinelService> {
        if let RedisForm::Sentinels(service) = &self.form { Some(service) } else { None }
    }

    /// The nodes or sentinels, as the client library takes them.
    pub(super) fn infos(&self) -> Option<Vec<ConnectionInfo>> {
        self.nodes.expose().iter().map(|node| node.as_str().into_connection_info().ok()).collect()
    }
}

impl SentinelService {
    /// The server at this place, as the client library takes it.
    pub(super) fn at(&self, host: &str, port: u16) -> Option<ConnectionInfo> {
        let [start, end] = self.server.expose();
        // An address of IPv6 has colons.
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{start}{host}:{port}{end}").into_connection_info().ok()
    }
}

/// The option, as the client library takes it behind a URL.
fn protocol(value: &str) -> Result<&'static str, &'static str> {
    match value {
        "2" | "resp2" => Ok("?protocol=resp2"),
        "3" | "resp3" => Ok("?protocol=resp3"),
        _ => Err("expected resp2 or resp3 as the protocol"),
    }
}

fn socket(text: &UrlText<'_>) -> Result<RedisUrl, &'static str> {
    let mut kept = Vec::new();
    for (name, value) in text.options(&["db", "user", "pass", "protocol", "cluster"], SOCKET_OPTIONS)? {
        match (name, value) {
            ("cluster", "false") => {}
            ("cluster", _) => return Err("the nodes of a cluster have no socket files"),
            ("protocol", value) => kept.push(protocol(value)?.trim_start_matches('?').to_owned()),
            _ => kept.push(format!("{name}={value}")),
        }
    }
    text.is_insecure()?;
    let node = format!("unix://{}?{}", text.path, kept.join("&"));
    let url = RedisUrl { nodes: Secret::new(vec![node]), form: RedisForm::Server };
    let infos = url.infos().ok_or("expected the path of a socket file, and the number of a database")?;
    if infos.iter().any(|info| info.redis_settings().db() < 0) { Err(DATABASE_EXPECTED) } else { Ok(url) }
}

/// `kind`: the scheme of the server's own URL.
fn sentinels(kind: &str, text: &UrlText<'_>) -> Result<RedisUrl, &'static str> {
    let mut places = Vec::new();
    for host in &text.hosts {
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let place = if has_port { (*host).to_owned() } else { format!("{host}:{SENTINEL_PORT}") };
        if places.contains(&place) {
            return Err("a sentinel has one vote, and is named once");
        }
        places.push(place);
    }
    let (name, database) = text.path.split_once('/').unwrap_or((text.path, ""));
    let name = percent_decode_str(name).decode_utf8().unwrap_or_default().into_owned();
    if name.is_empty() {
        return Err(SENTINEL_EXPECTED);
    }
    text.is_insecure()?;
    let (mut end, mut own_user, mut own_password) = ("", None, None);
    let known = ["sentinel_username", "sentinel_password", "protocol", "cluster"];
    for (option, value) in text.options(&known, SENTINEL_OPTIONS)? {
        let decoded = percent_decode_str(value).decode_utf8_lossy();
        let encoded = utf8_percent_encode(&decoded, NON_ALPHANUMERIC).to_string();
        match option {
            "sentinel_username" => own_user = Some(encoded),
            "sentinel_password" => own_password = Some(encoded),
            "protocol" => end = protocol(value)?,
            _ => return Err("sentinels know one master, and no cluster"),
        }
    }
    let own_user = match (own_user, own_password) {
        (user, Some(password)) => format!("{}:{password}@", user.unwrap_or_default()),
        (None, None) => String::new(),
        (Some(_), None) => return Err("sentinel_username needs sentinel_password"),
    };
    let nodes = places.iter().map(|place| format!("{kind}://{own_user}{place}")).collect();
    let server = Secret::new([format!("{kind}://{}", text.user), format!("/{database}{end}")]);
    let service = SentinelService { name, server };
    let server = service.at(UNKNOWN_SERVER, SENTINEL_PORT);
    let has_form = server.is_some_and(|info| info.redis_settings().db() >= 0);
    let url = RedisUrl { nodes: Secret::new(nodes), form: RedisForm::Sentinels(service) };
    if has_form && url.infos().is_some() { Ok(url) } else { Err(SENTINEL_EXPECTED) }
}

/// For people: hosts and ports, without user, password and options.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            RedisForm::Server => f.write_str("Redis, ")?,
            RedisForm::Cluster => f.write_str("Redis cluster, ")?,
            RedisForm::Sentinels(service) => write!(f, "Redis {} by Sentinel, ", service.name)?,
        }
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
            ("redis+sentinel://a/main", "Redis main by Sentinel, a:26379"),
            (
                "redis+sentinel://u:s3cret@a:1,[::1],c/main/2",
                "Redis main by Sentinel, a:1, ::1:26379, c:26379",
            ),
            ("rediss+sentinel://a:1/m?sentinel_password=s3cret", "Redis m by Sentinel, a:1 (TLS)"),
            (
                "redis+sentinel://:s3cret@a/m?sentinel_password=s3cret,redis+sentinel://b/m",
                "Redis m by Sentinel, a:26379, b:26379",
            ),
            ("rediss://a:7000/0?protocol=resp3,rediss://b:7001", "Redis cluster, a:7000 (TLS), b:7001 (TLS)"),
            ("valkey+sentinel://a:1/m,valkey+sentinel://b:2/m", "Redis m by Sentinel, a:1, b:2"),
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
    fn sentinels_and_their_server_have_users_of_their_own() {
        let text = "redis+sentinel://u:a%2Fb@s:1,t/my%20name/3?sentinel_username=v&sentinel_password=c%40&protocol=resp3";
        let url = RedisUrl::parse(text).unwrap();
        let service = url.service().unwrap();
        assert_eq!(service.name, "my name");
        let user = |info: &ConnectionInfo| {
            let settings = info.redis_settings();
            [settings.username(), settings.password()].map(|text| text.map(str::to_owned))
        };
        let of = |name: &str, password: &str| [Some(name.to_owned()), Some(password.to_owned())];
        let server = service.at("::1", 7).unwrap();
        assert_eq!(server.addr().to_string(), "::1:7");
        assert_eq!((user(&server), server.redis_settings().db()), (of("u", "a/b"), 3));
        let sentinels = url.infos().unwrap();
        assert_eq!(sentinels.len(), 2);
        for info in &sentinels {
            assert_eq!((user(info), info.redis_settings().db()), (of("v", "c@"), 0));
        }
        // A server's password is not for its sentinels.
        let url = RedisUrl::parse("rediss+sentinel://:a@s/m").unwrap();
        assert_eq!(user(&url.infos().unwrap()[0]), [None, None]);
        assert!(matches!(url.service().unwrap().at("h", 1).unwrap().addr(), ConnectionAddr::TcpTls { .. }));
    }

    #[test]
    fn refuses_other_addresses_and_says_why() {
        for (text, why) in [
            ("", "begins with"),
            ("h:6379", "begins with"),
            ("http://u:s3cret@h", "begins with"),
            ("redis://h/x", "number of a database"),
            ("redis://", "expected"),
            ("redis+sentinel://:s3cret@h:26379", "name by which"),
            ("redis+sentinel://h:26379/m/x", "redis+sentinel://host"),
            ("redis+sentinel:///m", "host:port"),
            ("redis+sentinel://h/m?cluster=true", "no cluster"),
            ("redis+sentinel://h/m?sentinel_pasword=s3cret", "no options in the URL but sentinel_username"),
            ("redis+sentinel://h/m?sentinel_username=s3cret", "needs sentinel_password"),
            ("redis+sentinel://h/m?protocol=s3cret", "resp3"),
            ("redis+sentinel://h/m#s3cret", "%23"),
            ("redis+sentinel://h,h:26379/m", "named once"),
            ("redis+sentinel://h/m,redis+sentinel://i/n", "begin alike"),
            ("redis+sentinel://h/m,rediss+sentinel://i/m", "begin alike"),
            ("redis+sentinel://:s3cret@h,:s3cret@i/m", "%40"),
            ("redis+sentinel://h/m/-1", "redis+sentinel://host"),
            ("redis+sentinel://h:,i/m", "host:port"),
            ("redis://:s3cret?@h", "%3F"),
            ("redis://h?db=3", "no options in the URL but cluster"),
            ("redis://h?cluster=1", "no options in the URL but cluster"),
            ("redis://a,b?cluster=false", "no options in the URL but cluster"),
            ("redis://h/-1", "number of a database"),
            ("unix:///run/redis.sock?password=s3cret", "db, user, pass"),
            ("sentinel://h:26379/m", "redis+sentinel://host"),
            ("redis://a,b/3", "numbered databases"),
            ("unix:///run/redis.sock?cluster=true", "socket"),
        ] {
            let error = RedisUrl::parse(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cret"), "{text}: {error}");
        }
    }
}
