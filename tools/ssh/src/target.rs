//! Whom to connect to, as people write it: `user@host`, `host:2222`, `ssh://user@[fe80::1]:22`.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The port that SSH listens on unless something else is said (RFC 4253, section 4).
const SSH_PORT: u16 = 22;

/// A user on a host that speaks SSH.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The login name there.
    pub user: String,
    /// Host name or address; an IPv6 address stands here without brackets.
    pub host: String,
    /// The TCP port of the SSH server.
    pub port: u16,
}

impl FromStr for Target {
    type Err = Error;

    /// Reads `host`, `user@host`, `user@host:port` and `ssh://user@host:port`, an IPv6 address in brackets where a port
    /// follows. Without a user it is the one who runs this process, as with `ssh`.
    fn from_str(input: &str) -> Result<Self, Error> {
        let bad =
            |reason: &str| Error::BadTarget { input: shown(input), reason: reason.to_owned() };
        let rest = match input.strip_prefix("ssh://") {
            Some(rest) => rest.strip_suffix('/').unwrap_or(rest),
            None => input,
        };
        // The last @ divides: some directories have user names such as name@example.com.
        let (user, address) = match rest.rsplit_once('@') {
            Some(("", _)) => return Err(bad("there is no user before the @")),
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let (host, port) = split_port(address).map_err(bad)?;
        check_host(host).map_err(bad)?;
        let user = match user {
            Some(user) => user.to_owned(),
            None => login_name()
                .ok_or_else(|| bad("no user is named and this process has no login name"))?,
        };
        // A dash at the start or a control character is a slip or an attack, and a colon would be a password.
        let stray = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/');
        if user.starts_with('-') || user.contains(stray) {
            return Err(bad("the user is not a login name"));
        }
        Ok(Self { user, host: host.to_owned(), port })
    }
}

impl fmt::Display for Target {
    /// What [`FromStr`] reads back; the port only where it is not 22.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, port } = self;
        match (host.contains(':'), *port == SSH_PORT) {
            (true, true) => write!(f, "{user}@[{host}]"),
            (true, false) => write!(f, "{user}@[{host}]:{port}"),
            (false, true) => write!(f, "{user}@{host}"),
            (false, false) => write!(f, "{user}@{host}:{port}"),
        }
    }
}

/// What was given, without what would be a password in a URL.
fn shown(input: &str) -> String {
    let (before, rest) =
        input.split_once("://").map_or(("", input), |(scheme, rest)| (scheme, rest));
    let divide = if before.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@').map(|(login, host)| (login.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{before}{divide}{user}:[secret]@{host}"),
        _ => input.to_owned(),
    }
}

fn split_port(address: &str) -> Result<(&str, u16), &'static str> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
        if !host.contains(':') {
            return Err("brackets are for IPv6 addresses");
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, parse_port(port)?)),
            None if after.is_empty() => Ok((host, SSH_PORT)),
            None => Err("something follows the bracket that is not a port"),
        };
    }
    match address.split_once(':') {
        None => Ok((address, SSH_PORT)),
        // Several colons without brackets: an IPv6 address, whose last group is no port.
        Some((_, port)) if port.contains(':') => Ok((address, SSH_PORT)),
        Some((host, port)) => Ok((host, parse_port(port)?)),
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    let all_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if all_digits && port != 0 => Ok(port),
        _ => Err("the port is not a number from 1 to 65535"),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() {
        return Err("there is no host");
    }
    if host.starts_with('-') || !host.chars().all(allowed) {
        return Err("the host is neither a name nor an address");
    }
    Ok(())
}

/// The name of the user who runs this process: `USER`, else what /etc/passwd says (a service often has no `USER`).
fn login_name() -> Option<String> {
    if let Some(name) = std::env::var("USER").ok().filter(|name| !name.is_empty()) {
        return Some(name);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    name_of(&passwd, rustix::process::getuid().as_raw())
}

fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> (String, String, u16) {
        let target: Target = text.parse().unwrap();
        (target.user, target.host, target.port)
    }

    fn is(text: &str, user: &str, host: &str, port: u16) {
        assert_eq!(parsed(text), (user.into(), host.into(), port), "{text}");
    }

    #[test]
    fn reads_every_usual_way_to_write_it() {
        is("deployer@app.example.com", "deployer", "app.example.com", 22);
        is("deployer@app.example.com:2222", "deployer", "app.example.com", 2222);
        is("ssh://deployer@app.example.com:2222", "deployer", "app.example.com", 2222);
        is("ssh://deployer@app.example.com/", "deployer", "app.example.com", 22);
        is("d@[fe80::1%eth0]:2200", "d", "fe80::1%eth0", 2200);
        is("d@[::1]", "d", "::1", 22);
        is("d@::1", "d", "::1", 22);
        is("name@corp.example@host", "name@corp.example", "host", 22);
    }

    #[test]
    fn the_user_defaults_to_somebody() {
        let target: Target = "app.example.com".parse().unwrap();
        assert!(!target.user.is_empty());
    }

    #[test]
    fn refuses_what_is_no_target() {
        for text in [
            "",
            "@host",
            "u@",
            "u@host:",
            "u@host:0",
            "u@host:65536",
            "u@host:+22",
            "u@[::1",
            "u@[::1]x",
            "u@[host]:22",
            "u@-oProxyCommand=x",
            "u@ho st",
            "-l@host",
            "http://u@host",
            "ssh://u:password@host",
            "u@host/path",
            "u@host:22/x",
        ] {
            assert!(matches!(text.parse::<Target>(), Err(Error::BadTarget { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        for text in
            ["ssh://u:hunter2@host", "u:hunter2@host:22", "http://u:hunter2@h", "u:h@nter2@host"]
        {
            let told = text.parse::<Target>().unwrap_err().to_string();
            assert!(told.contains("u:[secret]@h") && !told.contains("nter2"), "{told}");
        }
    }

    #[test]
    fn passwd_is_read_by_uid() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\nbroken\njenkins:x:117:120:,,,:/var/lib/jenkins:/bin/bash\n";
        assert_eq!(name_of(passwd, 117).as_deref(), Some("jenkins"));
        assert_eq!(name_of(passwd, 118), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(user in "[a-z_][a-z0-9_-]{0,8}", host in "[a-z0-9][a-z0-9.-]{0,12}|[0-9a-f]{1,4}::[0-9a-f]{1,4}", port in 1u16..) {
            let target = Target { user, host, port };
            prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
        }

        #[test]
        fn no_input_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Target>();
        }
    }
}
