//! What the CI server tells of the build in its environment.

use slipway_untrusted::limit::CI_VARIABLE;

/// A build of a CI server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) number: Option<u64>,
    /// The job that counts by this number.
    pub(crate) job: Option<String>,
    pub(crate) url: Option<String>,
    /// The branch that it builds, without a remote's name.
    branch: Option<String>,
    /// The commit that it builds.
    commit: Option<String>,
}

impl Build {
    /// The branch, for a commit that is checked out without one, as CI servers do it: that of this
    /// build if it is of that commit, as far as it says so.
    pub(crate) fn branch_of(&self, commit: &str) -> Option<&str> {
        let same = self.commit.as_deref().is_none_or(|built| built == commit);
        self.branch.as_deref().filter(|_| same)
    }

    /// Reads what Jenkins, GitHub Actions or GitLab CI has set: all of it from one of them, as a
    /// number of one and a name of another mean nothing together.
    pub(crate) fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let usable =
            |value: &String| !value.is_empty() && CI_VARIABLE.admit(value.len() as u64).is_ok();
        let text = |name: &str| lookup(name).filter(usable);
        let number = |name: &str| text(name).and_then(|value| value.parse().ok());
        let joined = |names: &[&str]| {
            let parts: Option<Vec<String>> = names.iter().map(|name| text(name)).collect();
            parts.map(|parts| parts.join("/"))
        };
        if text("BUILD_NUMBER").is_some() {
            return Self {
                number: number("BUILD_NUMBER"),
                job: text("JOB_NAME"),
                url: text("BUILD_URL"),
                // Multibranch jobs set BRANCH_NAME, which is the name of the change for one of
                // those; the git plugin sets GIT_BRANCH.
                branch: text("CHANGE_BRANCH")
                    .or_else(|| text("BRANCH_NAME"))
                    .or_else(|| text("GIT_BRANCH"))
                    .map(|name| local(&name).to_owned())
                    .filter(|name| name != "detached"),
                commit: text("GIT_COMMIT"),
            };
        }
        if text("GITHUB_RUN_NUMBER").is_some() {
            let place = joined(&["GITHUB_SERVER_URL", "GITHUB_REPOSITORY"]);
            return Self {
                number: number("GITHUB_RUN_NUMBER"),
                job: joined(&["GITHUB_REPOSITORY", "GITHUB_WORKFLOW"]),
                url: place
                    .zip(text("GITHUB_RUN_ID"))
                    .map(|(at, id)| format!("{at}/actions/runs/{id}")),
                branch: text("GITHUB_HEAD_REF").or_else(|| {
                    let branch = text("GITHUB_REF_TYPE").as_deref() == Some("branch");
                    text("GITHUB_REF_NAME").filter(|_| branch)
                }),
                commit: text("GITHUB_SHA"),
            };
        }
        Self {
            number: number("CI_PIPELINE_IID"),
            job: text("CI_PROJECT_PATH"),
            url: text("CI_JOB_URL"),
            branch: text("CI_COMMIT_BRANCH"),
            commit: text("CI_COMMIT_SHA"),
        }
    }
}

/// A branch's name without what says where it is: the git plugin says `origin/main`.
fn local(name: &str) -> &str {
    let name = name.strip_prefix("refs/heads/").unwrap_or(name);
    let name = name.strip_prefix("refs/remotes/").unwrap_or(name);
    name.strip_prefix("origin/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(set: &[(&str, &str)]) -> Build {
        Build::from_env(|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn is(build: &Build, number: u64, job: &str, url: &str) -> bool {
        (build.number, build.job.as_deref(), build.url.as_deref())
            == (Some(number), Some(job), Some(url))
    }

    #[test]
    fn each_server_in_its_own_words() {
        let jenkins = build(&[
            ("BUILD_NUMBER", "42"),
            ("JOB_NAME", "web/main"),
            ("BUILD_URL", "https://ci.example/job/web/42/"),
            ("CI_PROJECT_PATH", "team/web"),
        ]);
        assert!(is(&jenkins, 42, "web/main", "https://ci.example/job/web/42/"), "{jenkins:?}");
        let github = build(&[
            ("GITHUB_RUN_NUMBER", "7"),
            ("GITHUB_REPOSITORY", "team/web"),
            ("GITHUB_WORKFLOW", "deploy"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_RUN_ID", "123"),
        ]);
        let url = "https://github.com/team/web/actions/runs/123";
        assert!(is(&github, 7, "team/web/deploy", url), "{github:?}");
        let gitlab = build(&[
            ("CI_PIPELINE_IID", "9"),
            ("CI_PROJECT_PATH", "team/web"),
            ("CI_JOB_URL", "https://gitlab.example/team/web/-/jobs/5"),
        ]);
        assert!(is(&gitlab, 9, "team/web", "https://gitlab.example/team/web/-/jobs/5"));
        assert_eq!(build(&[]), Build::default());
        assert_eq!(build(&[("BUILD_NUMBER", "v1")]).number, None);
        let long = "x".repeat(4097);
        assert_eq!(build(&[("BUILD_NUMBER", "1"), ("JOB_NAME", &long)]).job, None);
    }
    #[test]
    fn the_branch_of_a_commit_that_has_none() {
        let jenkins = [("BUILD_NUMBER", "1"), ("GIT_BRANCH", "origin/feature/x")];
        assert_eq!(build(&jenkins).branch_of("abc"), Some("feature/x"));
        let multibranch =
            [&jenkins[..], &[("BRANCH_NAME", "main"), ("GIT_COMMIT", "abc")]].concat();
        assert_eq!(build(&multibranch).branch_of("abc"), Some("main"));
        assert_eq!(build(&multibranch).branch_of("def"), None, "another repository's");
        let change = [("BUILD_NUMBER", "1"), ("BRANCH_NAME", "PR-7"), ("CHANGE_BRANCH", "fix")];
        assert_eq!(build(&change).branch_of("abc"), Some("fix"));
        let detached = [("BUILD_NUMBER", "1"), ("GIT_BRANCH", "detached")];
        assert_eq!(build(&detached).branch_of("abc"), None);
        let github = [("GITHUB_RUN_NUMBER", "1"), ("GITHUB_REF_NAME", "v1")];
        assert_eq!(
            build(&[&github[..], &[("GITHUB_REF_TYPE", "tag")]].concat()).branch_of("a"),
            None
        );
        let branch = [&github[..], &[("GITHUB_REF_TYPE", "branch")]].concat();
        assert_eq!(build(&branch).branch_of("a"), Some("v1"));
        assert_eq!(build(&[("CI_COMMIT_BRANCH", "main")]).branch_of("a"), Some("main"));
    }
}
