//! What the CI server tells of the build in its environment.

/// A build of a CI server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) number: Option<u64>,
    /// The job that counts by this number.
    pub(crate) job: Option<String>,
    pub(crate) url: Option<String>,
}

impl Build {
    /// Reads what Jenkins, GitHub Actions or GitLab CI has set: all of it from one of them, as a
    /// number of one and a name of another mean nothing together.
    pub(crate) fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| lookup(name).filter(|value| !value.is_empty());
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
            };
        }
        Self {
            number: number("CI_PIPELINE_IID"),
            job: text("CI_PROJECT_PATH"),
            url: text("CI_JOB_URL"),
        }
    }
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
    }
}
