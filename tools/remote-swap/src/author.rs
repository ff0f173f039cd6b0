//! Who deploys, and in which build: what history and status tell of it.

use crate::env::Lookup;

/// Characters of a text that are kept.
const LONGEST: usize = 300;

/// Where a deploy comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Author {
    /// `user@machine`.
    pub(crate) by: String,
    /// The page of the build.
    pub(crate) build_url: Option<String>,
}

impl Author {
    /// This process.
    pub(crate) fn of_process(lookup: Lookup<'_>) -> Self {
        let said = |names: &[&str]| {
            let found = names.iter().find_map(|name| lookup(name).filter(|text| !text.is_empty()));
            found.map(|text| plain(&text))
        };
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let user = said(&["USER", "LOGNAME"])
            .unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()));
        // In the words of Jenkins and GitLab.
        Self {
            by: plain(&format!("{user}@{machine}")),
            build_url: said(&["BUILD_URL", "CI_JOB_URL"]).map(|url| without_credentials(&url)),
        }
    }
}

/// What may be shown on a terminal.
fn plain(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// An address as anybody may read it.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_told_without_what_only_its_owner_may_read() {
        let lookup = |name: &str| match name {
            "USER" => Some("jen\nkins".to_owned()),
            "BUILD_URL" => Some("https://me:hunter2@ci.example/job@1\u{1b}[2J".to_owned()),
            _ => None,
        };
        let author = Author::of_process(&lookup);
        assert!(author.by.starts_with("jenkins@"), "{}", author.by);
        assert_eq!(author.build_url.as_deref(), Some("https://ci.example/job@1[2J"));
        assert!(Author::of_process(&|_| None).by.starts_with("uid"));
    }
}
