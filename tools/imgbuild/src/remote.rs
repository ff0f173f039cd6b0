//! Which commit a repository's branch or tag is, asked of the repository itself.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::git::{Revision, without_credentials};
use crate::place::Repository;

/// A repository that does not answer in this time is built as the engine finds it.
const LIMIT: Duration = Duration::from_secs(30);

/// The commit that would be built, or why it is not known.
pub(crate) async fn look(repository: &Repository) -> Result<Revision, String> {
    let wanted = repository.reference.as_deref().unwrap_or("HEAD");
    let commit = if is_commit(wanted) {
        wanted.to_owned()
    } else {
        choose(&list(&repository.url, wanted).await?, wanted)
            .ok_or_else(|| format!("{} has no branch or tag `{wanted}`", repository.url))?
    };
    Ok(Revision {
        commit,
        source: Some(without_credentials(&repository.url)),
        ..Revision::default()
    })
}

async fn list(url: &str, wanted: &str) -> Result<String, String> {
    let mut command = Command::new("git");
    command
        .args(["ls-remote", "--quiet", "--", url, wanted])
        // An annotated tag is an object of its own; this is the commit that it names.
        .arg(format!("{wanted}^{{}}"))
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .map_err(|_| format!("{url} did not answer within {} s", LIMIT.as_secs()))?
        .map_err(|_| "git is not installed".to_owned())?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        let line = told.lines().find(|line| line.contains(": ")).unwrap_or("git ls-remote failed");
        return Err(line.trim_start_matches("fatal: ").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit behind a name among the lines of `git ls-remote`, by git's own order: the name itself,
/// a tag, a branch. `refs/heads/other/NAME` is listed, too, and is another.
fn choose(listed: &str, wanted: &str) -> Option<String> {
    let find = |name: &str| {
        let mut pairs = listed.lines().filter_map(|line| line.split_once('\t'));
        pairs.find(|(_, listed)| *listed == name).map(|(commit, _)| commit.to_owned())
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
        let listed = "1\trefs/heads/other/v1\n2\trefs/heads/v1\n3\trefs/tags/v1\n4\trefs/tags/v1^{}\n5\trefs/heads/main\n6\tHEAD\n";
        let of = |wanted: &str| choose(listed, wanted);
        assert_eq!(of("v1").as_deref(), Some("4"));
        assert_eq!(of("refs/heads/v1").as_deref(), Some("2"));
        assert_eq!(of("heads/v1").as_deref(), Some("2"));
        assert_eq!(of("main").as_deref(), Some("5"));
        assert_eq!(of("HEAD").as_deref(), Some("6"));
        assert_eq!(of("1"), None);
    }

    #[tokio::test]
    async fn a_commit_needs_no_question_and_a_bad_address_is_told() {
        let of = |url: &str, reference: &str| {
            let reference = Some(reference.to_owned());
            let repository = Repository { url: url.to_owned(), reference, directory: None };
            async move { look(&repository).await }
        };
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(of("https://example.invalid/x.git", commit).await.unwrap().commit, commit);
        assert!(of("/no/such/repository", "main").await.is_err());
    }
}
