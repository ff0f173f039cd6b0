//! `--skip-if-pushed`: whether the registry already has what would be built.

use slipway_engine::{Auth, Engine, ParseReferenceError, Reference, RegistryFault};
use slipway_release::Registry;
use slipway_shell::Ui;

use crate::error::Error;
use crate::facts::Facts;
use crate::names::Names;
use crate::options::Options;

/// How much of the commit a tag has to tell.
const DIGITS: usize = 12;

/// Where the registry would have the image, and by which tags.
#[derive(Debug)]
pub(crate) struct Sought {
    tags: Vec<Reference>,
    auth: Option<Auth>,
}

impl Sought {
    /// What is to be looked for, if anything.
    pub(crate) fn of(
        options: &Options,
        names: &Names,
        facts: &Facts,
        registry: Option<&Registry>,
    ) -> Result<Option<Self>, Error> {
        if options.skip_if_pushed { Self::new(names, facts, registry) } else { Ok(None) }
    }

    /// Works it out; none for a source that differs from its commit, since no tag tells what it is.
    fn new(
        names: &Names,
        facts: &Facts,
        registry: Option<&Registry>,
    ) -> Result<Option<Self>, Error> {
        let registry = registry.ok_or(Error::NoRegistry)?;
        let host = registry.host.as_deref().ok_or(Error::NoRegistry)?;
        let Some(revision) = facts.revision.as_ref().filter(|revision| !revision.dirty) else {
            return Ok(None);
        };
        let digits = revision.commit.get(..DIGITS).unwrap_or(&revision.commit);
        if !facts.version.contains(digits) {
            return Err(Error::TagWithoutRevision { tag: facts.version.clone() });
        }
        let path = registry.repository.as_deref().or(names.all.first().map(Reference::path));
        let bad = |error: ParseReferenceError| Error::BadOption {
            option: "--skip-if-pushed",
            why: error.to_string(),
        };
        let repository: Reference =
            format!("{host}/{}", path.unwrap_or_default()).parse().map_err(bad)?;
        let mut tags = Vec::new();
        for tag in names.all.iter().filter_map(Reference::tag) {
            let tag = repository.with_tag(tag).map_err(bad)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let auth = registry.username.as_ref().zip(registry.password.as_ref());
        let auth = auth.map(|(user, password)| Auth::new(user, password.reveal()));
        Ok(Some(Self { tags, auth }))
    }

    /// What the registry has under all the tags, by digest. None if it lacks one, or if they differ.
    /// A registry that does not answer stops no build: the push will tell.
    pub(crate) async fn look(&self, engine: &Engine, ui: &Ui) -> Option<Reference> {
        let mut found: Option<Reference> = None;
        for tag in &self.tags {
            let digest = match engine.distribution_digest(tag, self.auth.as_ref()).await {
                Ok(digest) => digest,
                Err(error) => {
                    if !says_no(&error) {
                        ui.warn(&format!("{tag} cannot be looked for, so it is built: {error}"));
                    }
                    return None;
                }
            };
            let there = tag.with_digest(&digest).ok()?;
            match &found {
                Some(first) if first.digest() != there.digest() => return None,
                _ => found = Some(there),
            }
        }
        found
    }
}

/// Whether the registry says that it has no such thing.
fn says_no(error: &slipway_engine::Error) -> bool {
    use RegistryFault as F;
    use slipway_engine::Error as E;
    matches!(
        error,
        E::NotFound { .. } | E::Registry { fault: F::ManifestUnknown | F::RepositoryNotFound, .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Revision;
    use slipway_release::Secret;

    fn sought(tags: &[&str], dirty: bool, registry: &Registry) -> Result<Option<Sought>, Error> {
        let names = Names { all: tags.iter().map(|tag| tag.parse().unwrap()).collect() };
        let commit = "0123456789abcdef0123456789abcdef01234567".to_owned();
        let facts = Facts {
            version: names.version().to_owned(),
            revision: Some(Revision { commit, dirty, ..Revision::default() }),
            ..Facts::default()
        };
        Sought::new(&names, &facts, Some(registry))
    }

    fn registry() -> Registry {
        Registry {
            host: Some("r.example".into()),
            username: Some("AWS".into()),
            password: Some(Secret::new("p")),
            ..Registry::default()
        }
    }

    #[test]
    fn the_tags_that_a_push_would_make() {
        let found = sought(&["web:0123456789ab", "other:latest"], false, &registry());
        let texts =
            |sought: Sought| sought.tags.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            texts(found.unwrap().unwrap()),
            ["r.example/web:0123456789ab", "r.example/web:latest"]
        );
        let named = Registry { repository: Some("team/shop".into()), ..registry() };
        let found = sought(&["web:v1-0123456789abcd"], false, &named).unwrap().unwrap();
        assert_eq!(texts(found), ["r.example/team/shop:v1-0123456789abcd"]);
    }

    #[test]
    fn only_what_names_the_commit_can_be_looked_for() {
        assert!(sought(&["web:0123456789ab-dirty-1"], true, &registry()).unwrap().is_none());
        let error = sought(&["web:v1"], false, &registry()).unwrap_err();
        assert!(matches!(error, Error::TagWithoutRevision { .. }), "{error}");
        let none = Registry::default();
        assert!(matches!(sought(&["web:0123456789ab"], false, &none), Err(Error::NoRegistry)));
    }
}
