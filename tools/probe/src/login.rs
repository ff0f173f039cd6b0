//! User and password of a URL (RFC 3986, section 3.2.1; RFC 7617).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;

/// The user and password of a URL. Nothing shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("login")
    }
}

impl Login {
    /// Divides the authority of a URL: the last `@` ends the login.
    pub(crate) fn split(authority: &str) -> Result<(Option<Self>, &str), String> {
        let Some((login, place)) = authority.rsplit_once('@') else { return Ok((None, authority)) };
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let login = Self { user: decoded(user), password: decoded(password) };
        let controls = |bytes: &[u8]| bytes.iter().any(u8::is_ascii_control);
        // A colon would end the user's name too early.
        if login.user.contains(&b':') || controls(&login.user) || controls(&login.password) {
            return Err("user or password have characters that cannot be sent".to_owned());
        }
        Ok((Some(login), place))
    }

    /// The value of the Authorization header.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let pair = [self.user.as_slice(), b":", self.password.as_slice()].concat();
        let value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair)));
        value.ok().map(|mut value| {
            value.set_sensitive(true);
            value
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_sent_and_never_shown() {
        let (login, place) = Login::split("me:hun%40ter:2@host:80").unwrap();
        let login = login.unwrap();
        assert_eq!((place, format!("{login:?}").as_str()), ("host:80", "login"));
        // printf me:hun@ter:2 | base64
        assert_eq!(login.header().unwrap(), "Basic bWU6aHVuQHRlcjoy");
        assert!(login.header().unwrap().is_sensitive());
        let (login, place) = Login::split("token@host").unwrap();
        assert_eq!(
            (login.unwrap().header().unwrap(), place),
            ("Basic dG9rZW46".parse().unwrap(), "host")
        );
        assert_eq!(Login::split("host").unwrap(), (None, "host"));
        for bad in ["a%3Ab:c@h", "a:b%0A@h", "a%00@h"] {
            assert!(Login::split(bad).is_err(), "{bad}");
        }
    }
}
