//! What is known of the source before it is built, and what the build and the image are told of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use slipway_release::Image;

use crate::ci;
use crate::error::Error;
use crate::git::Revision;

/// The build argument that a Dockerfile declares to learn the source's time. It is not the usual
/// one: newer engines give that to every file they copy, so that no step would be taken from the
/// cache when the next commit is built.
pub(crate) const TIME_ARG: &str = "SLIPWAY_SOURCE_DATE_EPOCH";
/// The usual one, for a Dockerfile that declares it.
pub(crate) const USUAL_TIME_ARG: &str = "SOURCE_DATE_EPOCH";

/// The facts.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The first tag.
    pub(crate) version: String,
    pub(crate) revision: Option<Revision>,
    /// The branch, as git or the CI server knows it.
    pub(crate) branch: Option<String>,
    /// The time that the image is given.
    pub(crate) time: Option<Timestamp>,
    /// Whether the Dockerfile declares `ARG SOURCE_DATE_EPOCH`.
    pub(crate) wants_usual_time: bool,
}

impl Facts {
    /// The branch of a revision: what is checked out, else what the CI server builds.
    pub(crate) fn branch(revision: Option<&Revision>, ci: &ci::Build) -> Option<String> {
        let revision = revision?;
        let told = || ci.branch_of(&revision.commit).map(str::to_owned);
        revision.branch.clone().or_else(told)
    }

    /// What `--require-clean` asks for.
    pub(crate) fn require_clean(&self, refused: Option<&str>) -> Result<(), Error> {
        match &self.revision {
            None => Err(Error::NoRevision { why: refused.map(str::to_owned) }),
            Some(revision) if revision.dirty => {
                Err(Error::NotClean { changes: revision.changes.clone() })
            }
            Some(_) => Ok(()),
        }
    }

    /// The build arguments that are always given. One that the Dockerfile does not declare has no
    /// effect, not even on the cache.
    pub(crate) fn build_args(&self) -> BTreeMap<String, String> {
        let mut args = BTreeMap::from([("SLIPWAY_VERSION".to_owned(), self.version.clone())]);
        if let Some(revision) = &self.revision {
            args.insert("SLIPWAY_REVISION".to_owned(), revision.commit.clone());
        }
        if let Some(time) = self.time {
            let seconds = time.as_second().to_string();
            if self.wants_usual_time {
                args.insert(USUAL_TIME_ARG.to_owned(), seconds.clone());
            }
            args.insert(TIME_ARG.to_owned(), seconds);
        }
        args
    }

    /// The labels of the OCI image specification that are known.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let revision = self.revision.as_ref();
        let reference = revision.and_then(|revision| revision.tag.clone()).or(self.branch.clone());
        [
            ("version", Some(self.version.clone())),
            ("revision", revision.map(|revision| revision.commit.clone())),
            ("source", revision.and_then(|revision| revision.source.clone())),
            ("created", self.time.map(|time| time.to_string())),
            ("ref.name", reference),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((format!("org.opencontainers.image.{key}"), value?)))
        .collect()
    }

    /// The document's section, as far as it follows from the source.
    pub(crate) fn image(&self, ci: ci::Build) -> Image {
        let revision = self.revision.clone();
        let of = revision.unwrap_or_default();
        let known = self.revision.is_some();
        Image {
            revision: known.then_some(of.commit),
            dirty: known.then_some(of.dirty),
            committed_at: of.committed_at.map(|time| time.to_string()),
            branch: self.branch.clone(),
            git_tag: of.tag,
            remote: of.source,
            build_number: ci.number,
            build_job: ci.job,
            build_url: ci.url,
            ..Image::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Changes;

    fn facts() -> Facts {
        Facts {
            version: "v1".into(),
            revision: Some(Revision {
                commit: "0123456789abcdef0123456789abcdef01234567".into(),
                source: Some("https://x/y".into()),
                ..Revision::default()
            }),
            branch: Some("main".into()),
            time: Timestamp::from_second(1_700_000_000).ok(),
            wants_usual_time: false,
        }
    }

    #[test]
    fn labels_and_arguments_say_what_is_known() {
        let mut facts = facts();
        let label = |facts: &Facts, key: &str| {
            facts.labels().get(&format!("org.opencontainers.image.{key}")).cloned()
        };
        assert_eq!(label(&facts, "created").unwrap(), "2023-11-14T22:13:20Z");
        assert_eq!(label(&facts, "source").unwrap(), "https://x/y");
        assert_eq!(label(&facts, "ref.name").unwrap(), "main");
        assert_eq!(facts.build_args().len(), 3);
        assert_eq!(facts.build_args()[TIME_ARG], "1700000000");
        facts.wants_usual_time = true;
        facts.revision.as_mut().unwrap().tag = Some("v1.0".into());
        assert_eq!(facts.build_args()[USUAL_TIME_ARG], "1700000000");
        assert_eq!(label(&facts, "ref.name").unwrap(), "v1.0", "a tag names a commit for good");
        let none = Facts { version: "v1".into(), ..Facts::default() };
        assert_eq!((none.labels().len(), none.build_args().len()), (1, 1));
    }

    #[test]
    fn clean_is_what_is_known_to_be_clean() {
        let mut facts = facts();
        assert!(facts.require_clean(None).is_ok());
        let first = vec!["app/a b".into(), "app/c".into()];
        let revision = facts.revision.as_mut().unwrap();
        (revision.dirty, revision.changes) = (true, Changes { first, count: 7 });
        let told = facts.require_clean(None).unwrap_err().to_string();
        assert!(told.contains("app/a b, app/c and 5 more"), "{told}");
        facts.revision = None;
        assert!(facts.require_clean(Some("odd")).unwrap_err().to_string().contains("odd"));
    }
}
