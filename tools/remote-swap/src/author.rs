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
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let user = ["USER", "LOGNAME"].iter().find_map(|name| said(name, lookup));
        let user = user.unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()));
        Self { by: plain(&format!("{user}@{machine}")), build_url: build_url(lookup) }
    }
}

fn said(name: &str, lookup: Lookup<'_>) -> Option<String> {
    lookup(name).filter(|text| !text.trim().is_empty())
}

/// The page of the build that runs this, in the words of Jenkins, GitLab and GitHub.
fn build_url(lookup: Lookup<'_>) -> Option<String> {
    let github = || {
        let part = |name| said(name, lookup);
        let (server, repository) = (part("GITHUB_SERVER_URL")?, part("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", part("GITHUB_RUN_ID")?))
    };
    let url = said("BUILD_URL", lookup).or_else(|| said("CI_JOB_URL", lookup)).or_else(github)?;
    Some(plain(&without_credentials(&url)))
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

    fn author(environment: &[(&str, &str)]) -> Author {
        let lookup = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Author::of_process(&lookup)
    }

    #[test]
    fn the_build_is_named_by_what_runs_it() {
        let url = |environment: &[(&str, &str)]| author(environment).build_url;
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[("BUILD_URL", "")]), None);
        let jenkins = ("BUILD_URL", "https://ci.example/job/web/7/");
        assert_eq!(url(&[jenkins]).as_deref(), Some(jenkins.1));
        let gitlab = ("CI_JOB_URL", "https://git.example/web/-/jobs/7");
        assert_eq!(url(&[gitlab]).as_deref(), Some(gitlab.1));
        let github = [
            ("GITHUB_SERVER_URL", "https://git.example"),
            ("GITHUB_REPOSITORY", "team/web"),
            ("GITHUB_RUN_ID", "7"),
        ];
        let page = "https://git.example/team/web/actions/runs/7";
        assert_eq!(url(&github).as_deref(), Some(page));
        assert_eq!(url(&github[..2]), None);
    }

    #[test]
    fn what_others_see_has_no_secrets_and_no_control_characters() {
        let seen = author(&[("BUILD_URL", "https://me:hunter2@ci.example/job@1\u{1b}[2J")]);
        assert_eq!(seen.build_url.as_deref(), Some("https://ci.example/job@1[2J"));
        assert!(author(&[("USER", "a\nb")]).by.starts_with("ab@"));
        assert!(author(&[]).by.starts_with("uid"));
    }
}
