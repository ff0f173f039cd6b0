//! Which commit a repository's branch or tag is, asked of the repository itself.
//!
//! Git runs at the top of the file system, outside of any repository, so that nothing but the
//! caller's own configuration counts; and only by the transports that an address may name.

use std::time::Duration;

use slipway_untrusted::clean_line;
use slipway_untrusted::limit::GIT_OUTPUT;
use tokio::process::Command;

use crate::error::reason;
use crate::git::{Git, Revision, first_reason, is_commit, without_credentials};
use crate::place::Repository;
use crate::program;

/// A repository that does not answer in this time is built as the engine finds it.
const LIMIT: Duration = Duration::from_secs(30);

/// The commit that would be built, or why it is not known.
pub(crate) async fn look(repository: &Repository) -> Result<Revision, String> {
    let wanted = repository.reference.as_deref().unwrap_or("HEAD");
    let url = clean_line(&repository.url);
    let commit = if is_commit(wanted) {
        wanted.to_owned()
    } else {
        // What is dropped is killed.
        let listed = tokio::time::timeout(LIMIT, list(&repository.url, wanted)).await;
        let late = || Err(format!("{url} did not answer within {} s", LIMIT.as_secs()));
        let listed = listed.unwrap_or_else(|_| late())?;
        choose(&listed, wanted).ok_or_else(|| format!("{url} has no branch or tag `{wanted}`"))?
    };
    Ok(Revision {
        commit,
        source: Some(without_credentials(&repository.url)),
        ..Revision::default()
    })
}

async fn list(url: &str, wanted: &str) -> Result<String, String> {
    let git = Git::find(None).ok_or("git is not installed")?;
    let mut command = git.remote_command();
    command
        .args(["ls-remote", "--quiet", "--", url, wanted])
        // An annotated tag is an object of its own; this is the commit that it names.
        .arg(format!("{wanted}^{{}}"));
    if is_ssh(url) && !configures_ssh(&git).await {
        // Nobody is there to answer a question of ssh's.
        command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
    }
    let ended = program::output(&mut command, b"", &GIT_OUTPUT).await;
    let ended = ended.map_err(|error| format!("git ls-remote: {}", reason(&error)))?;
    if !ended.success {
        return Err(first_reason(&ended.told));
    }
    Ok(String::from_utf8_lossy(&ended.output).into_owned())
}

fn is_ssh(url: &str) -> bool {
    url.starts_with("ssh://") || url.starts_with("git@")
}

/// Whether the caller says how ssh is run.
async fn configures_ssh(git: &Git) -> bool {
    if ["GIT_SSH", "GIT_SSH_COMMAND"].iter().any(|name| std::env::var_os(name).is_some()) {
        return true;
    }
    let mut command: Command = git.command();
    command.args(["config", "--get", "core.sshCommand"]);
    let ended = program::output(&mut command, b"", &GIT_OUTPUT).await;
    ended.is_ok_and(|ended| ended.success)
}

/// The commit behind a name among the lines of `git ls-remote`, by git's own order: the name itself,
/// a tag, a branch. `refs/heads/other/NAME` is listed, too, and is another.
pub(crate) fn choose(listed: &str, wanted: &str) -> Option<String> {
    let find = |name: &str| {
        let mut pairs = listed.lines().filter_map(|line| line.split_once('\t'));
        let found = pairs.find(|(commit, listed)| *listed == name && is_commit(commit));
        found.map(|(commit, _)| commit.to_owned())
    };
    let places = ["", "refs/", "refs/tags/", "refs/heads/"];
    places.iter().find_map(|place| {
        find(&format!("{place}{wanted}^{{}}")).or_else(|| find(&format!("{place}{wanted}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_own_order() {
        let id = |n: u8| format!("{n:040}");
        let names = [
            "refs/heads/other/v1",
            "refs/heads/v1",
            "refs/tags/v1",
            "refs/tags/v1^{}",
            "refs/heads/main",
            "HEAD",
        ];
        let numbered = (1..).zip(names).map(|(n, name)| format!("{}\t{name}\n", id(n)));
        let listed: String = numbered.chain(["x\trefs/heads/odd\n".to_owned()]).collect();
        let of = |wanted: &str| choose(&listed, wanted);
        assert_eq!(of("v1"), Some(id(4)));
        assert_eq!(of("refs/heads/v1"), Some(id(2)));
        assert_eq!(of("heads/v1"), Some(id(2)));
        assert_eq!(of("main"), Some(id(5)));
        assert_eq!(of("HEAD"), Some(id(6)));
        assert_eq!((of("1"), of("odd")), (None, None));
    }

    fn repository(url: &str, reference: &str) -> Repository {
        Repository { url: url.to_owned(), reference: Some(reference.to_owned()), directory: None }
    }

    #[tokio::test]
    async fn a_commit_needs_no_question() {
        for commit in ["0123456789abcdef0123456789abcdef01234567".to_owned(), "a".repeat(64)] {
            let repository = repository("https://example.invalid/x.git", &commit);
            assert_eq!(look(&repository).await.unwrap().commit, commit);
        }
    }

    #[tokio::test]
    async fn only_addresses_of_other_machines_are_asked() {
        let place = tempfile::tempdir().unwrap();
        let mark = place.path().join("mark");
        let own = place.path().join("own");
        assert!(
            std::process::Command::new("git")
                .args(["init", "-q"])
                .arg(&own)
                .status()
                .unwrap()
                .success()
        );
        let own = own.display();
        for url in [
            format!("ext::sh -c ': >{}'", mark.display()),
            "fd::17/x".to_owned(),
            format!("file://{own}"),
            own.to_string(),
            "/no/such/repository".to_owned(),
            "persistent-https://example.invalid/x".to_owned(),
        ] {
            let why = look(&repository(&url, "main")).await.unwrap_err();
            assert!(why.contains("not allowed") || why.contains("not appear"), "{url}: {why}");
        }
        assert!(!mark.exists());
    }
}
