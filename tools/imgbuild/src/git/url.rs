//! Addresses of repositories, and the secrets in them.

/// The URL without a user's password, and for http without the user as well, who may be a token.
pub(crate) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let Some((user, host)) = authority.rsplit_once('@') else {
        return url.to_owned();
    };
    let user = user.split(':').next().unwrap_or_default();
    if scheme.starts_with("http") || user.is_empty() {
        format!("{scheme}://{host}{path}")
    } else {
        format!("{scheme}://{user}@{host}{path}")
    }
}

/// A sentence of git's without the credentials of any URL in it: those that the caller's
/// `url.*.insteadOf` puts into an address stand there.
pub(crate) fn scrubbed(text: &str) -> String {
    let words = text.split_inclusive([' ', '\'', '"', '\n', '\t']);
    words.map(without_credentials).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_secrets() {
        for (url, wanted) in [
            ("https://token@example.com/x.git", "https://example.com/x.git"),
            ("https://u:p@ss@example.com:8443/x", "https://example.com:8443/x"),
            ("https://example.com/a@b", "https://example.com/a@b"),
            ("ssh://git:pw@example.com/x", "ssh://git@example.com/x"),
            ("git@example.com:x/y.git", "git@example.com:x/y.git"),
            ("/srv/x.git", "/srv/x.git"),
        ] {
            assert_eq!(without_credentials(url), wanted);
        }
        assert_eq!(
            scrubbed("unable to access 'https://x:token@example.com/a/': it said 403"),
            "unable to access 'https://example.com/a/': it said 403"
        );
    }
}
