//! Which build of an application a release is, and which of two is older. Pure.

use std::fmt;

use jiff::Timestamp;
use slipway_release::Image;

use crate::container::{Container, label};
use crate::job::Job;
use crate::preflight::Refused;

/// What the document tells of the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Provenance {
    pub(crate) number: Option<u64>,
    /// The CI job that counts by this number.
    pub(crate) job: Option<String>,
    pub(crate) url: Option<String>,
    /// When what was built was committed.
    pub(crate) committed_at: Option<Timestamp>,
}

impl Provenance {
    pub(crate) fn of_image(image: &Image) -> Self {
        Self {
            number: image.build_number,
            job: image.build_job.clone(),
            url: image.build_url.clone(),
            committed_at: image.committed_at.as_deref().and_then(|at| at.parse().ok()),
        }
    }

    /// What a container's labels tell.
    pub(crate) fn of_container(container: &Container) -> Self {
        let text = |name| container.label(name).map(str::to_owned);
        Self {
            number: container.label(label::BUILD_NUMBER).and_then(|number| number.parse().ok()),
            job: text(label::BUILD_JOB),
            url: text(label::BUILD_URL),
            committed_at: container.label(label::COMMITTED_AT).and_then(|at| at.parse().ok()),
        }
    }

    /// Its labels.
    pub(crate) fn labels(&self) -> [(&'static str, Option<String>); 4] {
        [
            (label::BUILD_NUMBER, self.number.map(|number| number.to_string())),
            (label::BUILD_JOB, self.job.clone()),
            (label::BUILD_URL, self.url.clone()),
            (label::COMMITTED_AT, self.committed_at.map(|at| at.to_string())),
        ]
    }

    /// Whether this is known to be an older build than the other one.
    ///
    /// Numbers of one CI job decide where both have one, whatever was committed when: a build that
    /// was started later on purpose may be one of an older commit. Else it is the commits' times.
    pub(crate) fn is_older_than(&self, other: &Self) -> bool {
        if let (Some(ours), Some(theirs), true) =
            (self.number, other.number, self.job.is_some() && self.job == other.job)
        {
            return ours < theirs;
        }
        matches!((self.committed_at, other.committed_at), (Some(ours), Some(theirs)) if ours < theirs)
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "build {number}")?,
            None => f.write_str("a build")?,
        }
        if let Some(job) = &self.job {
            write!(f, " of {job}")?;
        }
        if let Some(at) = self.committed_at {
            write!(f, ", committed {at}")?;
        }
        Ok(())
    }
}

/// Refuses to put an older build in the place of what is live, unless the job allows it.
pub(crate) fn refuse_older(job: &Job, live: Option<&Container>) -> Result<(), Refused> {
    let Some(live) = live.filter(|_| !job.allow_older).map(Provenance::of_container) else {
        return Ok(());
    };
    if !job.provenance.is_older_than(&live) {
        return Ok(());
    }
    Err(Refused::OlderBuild { new: job.provenance.to_string(), live: live.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn build(number: Option<u64>, job: Option<&str>, committed: Option<i64>) -> Provenance {
        Provenance {
            number,
            job: job.map(str::to_owned),
            url: None,
            committed_at: committed.map(|at| Timestamp::from_second(at).unwrap()),
        }
    }

    #[test]
    fn numbers_of_one_job_go_before_commits() {
        let live = build(Some(42), Some("web/main"), Some(1000));
        for (new, older) in [
            (build(Some(41), Some("web/main"), Some(2000)), true),
            (build(Some(42), Some("web/main"), Some(10)), false),
            (build(Some(43), Some("web/main"), Some(10)), false),
            // Numbers of other jobs mean nothing.
            (build(Some(7), Some("web/fix"), Some(2000)), false),
            (build(Some(99), Some("web/fix"), Some(999)), true),
            (build(Some(7), None, None), false),
            (build(None, None, Some(999)), true),
            (build(None, None, Some(1000)), false),
            (build(None, None, None), false),
        ] {
            assert_eq!(new.is_older_than(&live), older, "{new}");
        }
        let nameless = build(Some(42), None, None);
        assert!(!build(Some(41), None, None).is_older_than(&nameless));
    }

    #[test]
    fn both_builds_are_named() {
        let text = build(Some(42), Some("web/main"), Some(0)).to_string();
        assert_eq!(text, "build 42 of web/main, committed 1970-01-01T00:00:00Z");
        assert_eq!(build(None, None, None).to_string(), "a build");
    }

    prop_compose! {
        fn any()(number in proptest::option::of(0_u64..4), job in proptest::option::of("[ab]"),
            at in proptest::option::of(0_i64..4)) -> Provenance {
            build(number, job.as_deref(), at)
        }
    }

    proptest! {
        #[test]
        fn of_two_at_most_one_is_older_and_labels_keep_all(one in any(), other in any()) {
            prop_assert!(!(one.is_older_than(&other) && other.is_older_than(&one)));
            prop_assert!(!one.is_older_than(&one));
            let mut container = crate::plan::tests::container(
                1, crate::container::Role::Release, crate::container::Status::Running, true);
            for (name, value) in one.labels() {
                if let Some(value) = value {
                    container.labels.insert(name.to_owned(), value);
                }
            }
            prop_assert_eq!(Provenance::of_container(&container), one);
        }
    }
}
