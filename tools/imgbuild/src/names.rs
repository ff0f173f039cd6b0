//! The names of the image: the user's, and those made from git or from the directory's state.

use std::fmt;
use std::path::Path;

use slipway_engine::Reference;
use slipway_release::Image;

use crate::error::Error;
use crate::git::Revision;
use crate::options::Options;
use crate::place::Place;

/// The names and the version of the image.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Names {
    /// Every name, each with a tag; the first is the release's.
    pub(crate) all: Vec<Reference>,
}

impl Names {
    pub(crate) fn work_out(
        options: &Options,
        place: &Place,
        revision: Option<&Revision>,
        state: Option<&str>,
    ) -> Result<Self, Error> {
        let mut given: Vec<Reference> = Vec::new();
        let default: Vec<String> = place.name().map(|name| usable(&name)).into_iter().collect();
        if options.tag.is_empty() && default.is_empty() {
            return Err(nameless());
        }
        for text in if options.tag.is_empty() { &default[..] } else { &options.tag } {
            let name: Reference =
                text.parse().map_err(|error: slipway_engine::ParseReferenceError| {
                    Error::BadOption { option: "--tag", why: error.to_string() }
                })?;
            if name.digest().is_some() {
                return Err(Error::BadOption {
                    option: "--tag",
                    why: format!("`{text}` has a digest, which only a registry gives"),
                });
            }
            given.push(name);
        }
        let mut version = None;
        let mut all: Vec<Reference> = Vec::new();
        for name in given {
            let name = if name.tag().is_some() {
                name
            } else {
                let version = match &version {
                    Some(known) => known,
                    None => version.insert(automatic_tag(revision, state)?),
                };
                name.with_tag(version)
                    .map_err(|error| Error::BadOption { option: "--tag", why: error.to_string() })?
            };
            if !all.contains(&name) {
                all.push(name);
            }
        }
        Ok(Self { all })
    }

    /// The document's section with the names.
    pub(crate) fn section(&self, image: Image) -> Image {
        let first = self.all.first();
        Image {
            name: first.map(|name| name.path().to_owned()),
            tag: first.and_then(Reference::tag).map(str::to_owned),
            tags: self.all.iter().map(ToString::to_string).collect(),
            ..image
        }
    }

    /// The first tag.
    pub(crate) fn version(&self) -> &str {
        self.all.first().and_then(Reference::tag).unwrap_or_default()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.all.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(", "))
    }
}

/// The directory whose state is a part of the tag, if one is: the fingerprint of what is sent of it.
pub(crate) fn wants_state<'a>(
    options: &Options,
    place: &'a Place,
    revision: Option<&Revision>,
) -> Option<&'a Path> {
    let tagged = |name: &String| name.parse::<Reference>().is_ok_and(|name| name.tag().is_some());
    let given = !options.tag.is_empty() && options.tag.iter().all(tagged);
    let exact = revision.is_some_and(|revision| !revision.dirty);
    place.directory().filter(|_| !given && !exact)
}

/// The tag that git and the directory's state make.
fn automatic_tag(revision: Option<&Revision>, state: Option<&str>) -> Result<String, Error> {
    let state = || state.ok_or_else(nameless);
    Ok(match revision {
        Some(Revision { commit, dirty: false, .. }) => short(commit, 12).to_owned(),
        Some(Revision { commit, dirty: true, .. }) => {
            format!("{}-dirty-{}", short(commit, 12), short(state()?, 8))
        }
        None => format!("src-{}", short(state()?, 12)),
    })
}

fn short(hex: &str, digits: usize) -> &str {
    hex.get(..digits).unwrap_or(hex)
}

/// Of what the engine fetches or what comes as a stream there is nothing to make a tag from.
fn nameless() -> Error {
    Error::BadOption {
        option: "--tag",
        why: "without a directory or a known commit the image needs a NAME:TAG of yours".to_owned(),
    }
}

/// A name in the letters that an image's name may have.
fn usable(name: &str) -> String {
    let base = name.to_lowercase();
    let runs = base.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    let name = runs.filter(|run| !run.is_empty()).collect::<Vec<_>>().join("-");
    // Long names, and 64 hexadecimal digits, which would be an id, are cut.
    let name = name.get(..60).unwrap_or(&name).trim_end_matches('-');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn revision(dirty: bool) -> Revision {
        Revision {
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            dirty,
            ..Revision::default()
        }
    }

    fn texts(names: &Names) -> Vec<String> {
        names.all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_from_git_and_from_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("My App_2");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("Dockerfile"), "FROM scratch").unwrap();
        let place = Place::Directory(context.clone());
        let names = |options: &Options, revision: Option<&Revision>| {
            let state = wants_state(options, &place, revision).map(|_| "0123456789abcdef");
            Names::work_out(options, &place, revision, state).unwrap()
        };
        let mut options = Options::of(&context);

        let clean = names(&options, Some(&revision(false)));
        assert_eq!(texts(&clean), ["my-app-2:0123456789ab"]);
        let dirty = texts(&names(&options, Some(&revision(true))));
        let suffix = dirty[0].strip_prefix("my-app-2:0123456789ab-dirty-").unwrap();
        assert_eq!(suffix.len(), 8);
        let outside = texts(&names(&options, None));
        assert_eq!(outside[0].strip_prefix("my-app-2:src-").unwrap().len(), 12);

        options.tag = vec!["web".into(), "r.io/team/web:1.2".into(), "web".into()];
        let given = names(&options, Some(&revision(false)));
        assert_eq!(texts(&given), ["web:0123456789ab", "r.io/team/web:1.2"]);
        assert_eq!(given.version(), "0123456789ab");

        for bad in [
            "Web:1",
            "web:",
            "web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            options.tag = vec![bad.into()];
            assert!(Names::work_out(&options, &place, None, Some("0123")).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_has_no_name_needs_one() {
        let mut options = Options::of(Path::new("x.tar"));
        let archive = Place::Archive("x.tar".into());
        let names = |options: &Options, revision: Option<&Revision>| {
            Names::work_out(options, &archive, revision, None)
        };
        assert!(names(&options, None).is_err());
        options.tag = vec!["web".into()];
        assert!(names(&options, None).is_err());
        options.tag = vec!["web:1".into()];
        assert_eq!(texts(&names(&options, None).unwrap()), ["web:1"]);
        let repository = Place::of("https://example.com/team/Web.git#main").unwrap();
        let named = Names::work_out(
            &Options::of(Path::new("x")),
            &repository,
            Some(&revision(false)),
            None,
        );
        assert_eq!(texts(&named.unwrap()), ["web:0123456789ab"]);
    }

    proptest! {
        #[test]
        fn any_directory_has_a_name(name in "[^/\0]{1,80}") {
            let reference: Reference = usable(&name).parse().unwrap();
            prop_assert!(reference.domain().is_none());
        }
    }
}
