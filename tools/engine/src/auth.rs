//! What a registry asks of whoever pulls or pushes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::Serialize;

/// A user name and a password (or token) for one registry.
///
/// The `Debug` form never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// The name, `AWS` for Amazon ECR.
    pub username: String,
    /// The password or token.
    pub password: String,
}

#[derive(Serialize)]
struct Payload<'a> {
    username: &'a str,
    password: &'a str,
    serveraddress: &'a str,
}

impl Auth {
    /// A user and a password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into() }
    }

    /// The value of `X-Registry-Auth` for the registry `server`: JSON in the
    /// URL-safe base64 alphabet with padding (Docker Engine API, "Authentication").
    pub(crate) fn header(auth: Option<&Self>, server: &str) -> String {
        let json = auth
            .and_then(|auth| {
                let payload = Payload {
                    username: &auth.username,
                    password: &auth.password,
                    serveraddress: server,
                };
                serde_json::to_vec(&payload).ok()
            })
            // A push without the header is refused by old engines; an empty
            // object means "anonymous" to all of them.
            .unwrap_or_else(|| b"{}".to_vec());
        URL_SAFE.encode(json)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn debug_hides_the_password() {
        let shown = format!("{:?}", Auth::new("AWS", "hunter2"));
        assert!(shown.contains("AWS") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn anonymous_is_an_empty_object() {
        assert_eq!(Auth::header(None, "x"), URL_SAFE.encode("{}"));
    }

    proptest! {
        #[test]
        fn any_password_survives_the_header(user in ".*", password in ".*") {
            let header = Auth::header(Some(&Auth::new(&user, &password)), "r.example:5000");
            prop_assert!(header.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)));
            let decoded = URL_SAFE.decode(header).unwrap();
            let value: serde_json::Value = serde_json::from_slice(&decoded).unwrap();
            prop_assert_eq!(value["username"].as_str().unwrap(), user);
            prop_assert_eq!(value["password"].as_str().unwrap(), password);
        }
    }
}
