//! The text of a URL of Redis, or of several with commas between them, taken apart. Invariant: no part of it
//! is passed over; one that is not known, or that has two values, is a mistake.

/// The parts of a URL. Of several URLs each says the same as the first one or nothing, but for the hosts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UrlText<'t> {
    pub(super) scheme: &'t str,
    /// User and password with the `@` behind them.
    pub(super) user: &'t str,
    /// Each with its port, if it has one.
    pub(super) hosts: Vec<&'t str>,
    /// Behind the hosts, without slashes around it.
    pub(super) path: &'t str,
    /// With `?` and `#`.
    options: &'t str,
    fragment: &'t str,
}

pub(super) const EXPECTED: &str =
    "expected a URL that begins with redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://";
const DIFFERENT: &str = "the URLs of a list begin alike, and have the same user, path and options";
const HOST_EXPECTED: &str = "expected hosts as host or host:port, with commas between them";
const ENCODED: &str = "in a user, password or name `@` is written %40, `/` %2F, `?` %3F and `#` %23";
const PATH_LAST: &str = "the path of a URL stands behind its last host; in a name `,` is written %2C";
const OPTION_TWICE: &str = "an option of the URL has no value, or two";

impl<'t> UrlText<'t> {
    /// # Errors
    /// The expected form. The text is not repeated, because it may hold a password.
    pub(super) fn read(text: &'t str) -> Result<Self, &'static str> {
        let mut urls = urls(text).into_iter();
        let mut all = Self::read_one(urls.next().unwrap_or_default())?;
        for url in urls {
            let next = Self::read_one(url)?;
            all.hosts.extend(next.hosts);
            let parts = [
                (&mut all.user, next.user),
                (&mut all.path, next.path),
                (&mut all.options, next.options),
                (&mut all.fragment, next.fragment),
            ];
            for (known, own) in parts {
                if known.is_empty() {
                    *known = own;
                }
                if !own.is_empty() && *known != own {
                    return Err(DIFFERENT);
                }
            }
            if all.scheme != next.scheme {
                return Err(DIFFERENT);
            }
        }
        Ok(all)
    }

    fn read_one(url: &'t str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or(EXPECTED)?;
        let (rest, fragment) = rest.find('#').map_or((rest, ""), |at| rest.split_at(at));
        let (rest, options) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
        if scheme.ends_with("unix") {
            return Ok(Self { scheme, user: "", hosts: Vec::new(), path: rest, options, fragment });
        }
        let (user, rest) = rest.find('@').map_or(("", rest), |at| rest.split_at(at + 1));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.contains('@') || user.contains('/') {
            return Err(ENCODED);
        }
        if path.contains(',') {
            return Err(PATH_LAST);
        }
        let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
        if hosts.iter().any(|host| !is_host(host)) {
            // A password may have ended the host.
            return Err(if options.contains('@') || fragment.contains('@') {
                ENCODED
            } else {
                HOST_EXPECTED
            });
        }
        Ok(Self { scheme, user, hosts, path: path.trim_matches('/'), options, fragment })
    }

    /// The options, each once and with a value.
    ///
    /// # Errors
    /// As here; and `unknown` if one is not in `known`.
    pub(super) fn options(
        &self,
        known: &[&str],
        unknown: &'static str,
    ) -> Result<Vec<(&'t str, &'t str)>, &'static str> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for option in self.options.trim_start_matches('?').split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if !known.contains(&name) {
                return Err(unknown);
            }
            if value.is_empty() || found.iter().any(|(other, _)| *other == name) {
                return Err(OPTION_TWICE);
            }
            found.push((name, value));
        }
        Ok(found)
    }

    /// The server's certificate is not looked at.
    ///
    /// # Errors
    /// Something else is behind a `#`.
    pub(super) fn is_insecure(&self) -> Result<bool, &'static str> {
        match self.fragment {
            "" => Ok(false),
            "#insecure" if matches!(self.scheme, "rediss" | "valkeys") => Ok(true),
            _ => Err(ENCODED),
        }
    }
}

/// The URLs of a list. Other commas are between hosts, or in a password.
fn urls(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(',') {
        let after = text.get(at + 1..).unwrap_or_default().trim_start();
        let is_scheme = |scheme: &str| scheme.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'+');
        if after.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
            found.extend(text.get(start..at));
            start = at + 1;
        }
    }
    found.extend(text.get(start..));
    found.into_iter().map(str::trim).collect()
}

fn is_host(host: &str) -> bool {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => !name.is_empty() && port.parse::<u16>().is_ok(),
        _ => !host.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_lists_of_urls_and_of_hosts_apart() {
        let text = UrlText::read("redis+sentinel://u:a,b@h:1,[::1]/m/0?x=1, redis+sentinel://i").unwrap();
        assert_eq!((text.scheme, text.user, text.path), ("redis+sentinel", "u:a,b@", "m/0"));
        assert_eq!(text.hosts, ["h:1", "[::1]", "i"]);
        assert_eq!(text.options(&["x"], "").unwrap(), [("x", "1")]);
        assert_eq!(UrlText::read("unix:///a@b").unwrap().path, "/a@b");
    }

    #[test]
    fn passes_over_no_part() {
        for (text, why) in [
            ("redis://h,rediss://i", DIFFERENT),
            ("redis://:a@h,redis://:b@i", DIFFERENT),
            ("redis://h?x=1,redis://i?x=2", DIFFERENT),
            ("redis+sentinel://h/m,redis+sentinel://i/n", DIFFERENT),
            ("unix:///a,unix:///b", DIFFERENT),
            ("redis://:a@h,:a@i", ENCODED),
            ("redis://:a@b@h", ENCODED),
            ("redis://:a?b@h", ENCODED),
            ("redis://:a#b@h", ENCODED),
            ("redis+sentinel://h/m,i/m", PATH_LAST),
            ("redis://h,,i", HOST_EXPECTED),
            ("redis://h:", HOST_EXPECTED),
            ("redis://h:x", HOST_EXPECTED),
            ("redis://h:70000", HOST_EXPECTED),
        ] {
            assert_eq!(UrlText::read(text), Err(why), "{text}");
        }
        for (text, why) in
            [("redis://h?y=1", "unknown"), ("redis://h?x=1&x=2", OPTION_TWICE), ("redis://h?x", OPTION_TWICE)]
        {
            assert_eq!(UrlText::read(text).unwrap().options(&["x"], "unknown"), Err(why), "{text}");
        }
        for text in ["redis://h#insecure", "rediss://h#other", "rediss+sentinel://h/m#insecure"] {
            assert_eq!(UrlText::read(text).unwrap().is_insecure(), Err(ENCODED), "{text}");
        }
        assert_eq!(UrlText::read("rediss://h/0?x=1#insecure").unwrap().is_insecure(), Ok(true));
    }
}
