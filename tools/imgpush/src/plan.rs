//! What is to be pushed, and under which names: decided before anything is touched.

use slipway_engine::{Auth, Reference};
use slipway_release::{Image, Registry, is_image};

use crate::attach::{Given, given};
use crate::options::{Compression, Platforms, Via};
use crate::{Error, Options};

/// What is to be pushed, where to, and with which credentials.
#[derive(Debug)]
pub struct Plan {
    /// The image's id, or a name that the engine knows.
    pub image: String,
    /// What imgbuild found in the registry and did not build, by digest.
    pub found: Option<String>,
    /// Host and repository.
    pub repository: Reference,
    /// The full names with their tags: at least one.
    pub tags: Vec<Reference>,
    /// Names that follow once those are there, but never back.
    pub also: Vec<Reference>,
    /// Files that are attached to the image.
    pub(crate) attach: Vec<Given>,
    /// The credentials, or none for a registry that wants none.
    pub auth: Option<Auth>,
    /// Who sends the layers.
    pub via: Via,
    /// How they are compressed if it is not the engine.
    pub compression: Compression,
    /// Whether all platforms of the image are pushed.
    pub all_platforms: bool,
    /// Whether plain HTTP may be spoken.
    pub plain_http: bool,
}

impl Plan {
    /// Joins the options with the document.
    ///
    /// # Errors
    /// When something is missing in both, or is not a valid name.
    pub fn new(
        options: &Options,
        image: Option<&Image>,
        registry: Option<&Registry>,
    ) -> Result<Self, Error> {
        let what = image_of(options, image)?;
        // An image that was built goes before what an earlier run found.
        let found = if what.is_none() {
            image.and_then(|image| image.pushed_reference.clone())
        } else {
            None
        };
        let what = what.or_else(|| found.clone()).ok_or(Error::NoImage)?;
        let host =
            options.registry.clone().or_else(|| registry?.host.clone()).ok_or(Error::NoRegistry)?;
        let named = options
            .repository
            .clone()
            .or_else(|| registry?.repository.clone())
            .or_else(|| image?.name.clone())
            .or_else(|| name_of(options.image.as_ref()?))
            .ok_or(Error::NoRepository)?;
        let repository: Reference = format!("{host}/{named}").parse().map_err(Error::Reference)?;
        if repository.domain() != Some(host.as_str()) {
            return Err(Error::NotAHost { host: host.into() });
        }
        if repository.tag().is_some() || repository.digest().is_some() {
            return Err(Error::TagInRepository { repository: named.into() });
        }
        let tags = tags(options, image)
            .iter()
            .map(|tag| repository.with_tag(tag))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Reference)?;
        if tags.is_empty() {
            return Err(Error::NoTag);
        }
        let mut also = Vec::new();
        for tag in &options.also {
            let name = repository.with_tag(tag).map_err(Error::Reference)?;
            if !tags.contains(&name) && !also.contains(&name) {
                also.push(name);
            }
        }
        let all_platforms = options.platform == Platforms::All;
        Ok(Self {
            image: what,
            found,
            tags,
            also,
            attach: given(&options.sbom, &options.attach),
            auth: auth(&host, registry)?,
            via: via(options)?,
            compression: options.compression,
            all_platforms,
            plain_http: options.plain_http,
            repository,
        })
    }
}

/// The image that is meant: an id, or a name that the engine knows.
pub(crate) fn image_of(options: &Options, image: Option<&Image>) -> Result<Option<String>, Error> {
    match &options.image {
        Some(named) if !is_image(named) => Err(Error::NotAnImage { image: named.as_str().into() }),
        Some(named) => Ok(Some(named.clone())),
        None => Ok(image.and_then(|image| image.id.clone())),
    }
}

/// Only imgpush itself compresses by zstd and sends indexes.
fn via(options: &Options) -> Result<Via, Error> {
    let direct = if options.compression == Compression::Zstd {
        "the engine pushes layers as gzip only: --compression zstd wants --via direct or auto"
    } else if options.platform == Platforms::All {
        "the engine pushes its own platform: --platform all wants --via direct or auto"
    } else {
        return Ok(options.via);
    };
    if options.via == Via::Engine {
        return Err(Error::Contradiction(direct));
    }
    Ok(Via::Direct)
}

/// The tags, without doubles and in their order.
pub(crate) fn tags(options: &Options, image: Option<&Image>) -> Vec<String> {
    let mut tags = options.tag.clone();
    if tags.is_empty()
        && options.image.is_none()
        && let Some(image) = image
    {
        tags.extend(image.tag.clone());
        tags.extend(image.tags.iter().filter_map(|name| tag_of(name)));
    }
    if tags.is_empty() {
        tags.extend(options.image.as_ref().and_then(|name| tag_of(name)));
    }
    let mut unique = Vec::new();
    for tag in tags {
        if !unique.contains(&tag) {
            unique.push(tag);
        }
    }
    unique
}

fn tag_of(image: &str) -> Option<String> {
    reference(image)?.tag().map(str::to_owned)
}

pub(crate) fn name_of(image: &str) -> Option<String> {
    reference(image).map(|name| name.path().to_owned())
}

/// An image's name, if it is not an id: `sha256:…` has the form of a name with a tag.
fn reference(image: &str) -> Option<Reference> {
    if image.starts_with("sha256:") { None } else { image.parse().ok() }
}

/// The credentials of the document, if they are for this host: those of one registry are never
/// shown to another.
fn auth(host: &str, registry: Option<&Registry>) -> Result<Option<Auth>, Error> {
    let Some(registry) = registry.and_then(|registry| registry.of_host(host)) else {
        return Ok(None);
    };
    match (&registry.username, &registry.password) {
        (Some(user), Some(password)) => Ok(Some(Auth::new(user, password.reveal()))),
        (Some(_), None) => Err(Error::NoPassword { host: host.into() }),
        (None, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use slipway_release::Secret;

    fn options(args: &[&str]) -> Options {
        let command = Options::augment_args(Command::new("imgpush").no_binary_name(true));
        Options::from_arg_matches(&command.get_matches_from(args)).unwrap()
    }

    fn image() -> Image {
        Image {
            name: Some("web".into()),
            tag: Some("1".into()),
            tags: vec!["web:1".into(), "web:latest".into()],
            id: Some("sha256:1".into()),
            ..Image::default()
        }
    }

    fn registry() -> Registry {
        Registry {
            host: Some("r.example:5000".into()),
            username: Some("AWS".into()),
            password: Some(Secret::new("p")),
            ..Registry::default()
        }
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.tags.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_document_says_it_all() {
        let plan = Plan::new(&options(&[]), Some(&image()), Some(&registry())).unwrap();
        assert_eq!(plan.image, "sha256:1");
        assert_eq!(names(&plan), ["r.example:5000/web:1", "r.example:5000/web:latest"]);
        assert_eq!(plan.auth.unwrap().password, "p");
    }

    #[test]
    fn what_was_found_in_the_registry_is_meant_where_nothing_was_built() {
        let reference = Some("r.example:5000/web@sha256:1".to_owned());
        let both = Image { pushed_reference: reference.clone(), ..image() };
        let plan =
            |image: &Image| Plan::new(&options(&[]), Some(image), Some(&registry())).unwrap();
        assert_eq!(plan(&both).found, None);
        let found = plan(&Image { id: None, ..both });
        assert_eq!(found.found, reference);
        assert_eq!(names(&found).len(), 2);
    }

    #[test]
    fn a_flag_goes_before_the_document() {
        let args = ["--repository", "team/app", "-t", "2", "-t", "2", "-t", "3"];
        let plan = Plan::new(&options(&args), Some(&image()), Some(&registry())).unwrap();
        assert_eq!(names(&plan), ["r.example:5000/team/app:2", "r.example:5000/team/app:3"]);
    }

    #[test]
    fn an_image_by_hand_brings_its_own_name_and_tag() {
        let plan = Plan::new(&options(&["--image", "shop:7"]), None, Some(&registry())).unwrap();
        assert_eq!(
            (plan.image.as_str(), names(&plan)),
            ("shop:7", vec!["r.example:5000/shop:7".into()])
        );
        let id = format!("sha256:{}", "a".repeat(64));
        let missing = Plan::new(&options(&["--image", &id]), None, Some(&registry()));
        assert!(missing.is_err());
    }

    #[test]
    fn what_the_engine_cannot_do_goes_directly() {
        let plan = |args: &[&str]| Plan::new(&options(args), Some(&image()), Some(&registry()));
        assert_eq!(plan(&["--compression", "zstd"]).unwrap().via, Via::Direct);
        assert_eq!(plan(&["--platform", "all"]).unwrap().via, Via::Direct);
        let error = plan(&["--compression", "zstd", "--via", "engine"]).unwrap_err();
        assert!(matches!(error, Error::Contradiction(_)), "{error}");
        let also =
            plan(&["--also", "latest", "--also", "stable", "--also", "stable"]).unwrap().also;
        assert_eq!(also.len(), 1, "latest is among the tags already: {also:?}");
    }

    #[test]
    fn credentials_are_for_their_own_registry_only() {
        let args = ["--registry", "other.example"];
        let plan = Plan::new(&options(&args), Some(&image()), Some(&registry())).unwrap();
        assert!(plan.auth.is_none());
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        let none = |options: &Options, image: Option<&Image>, registry: Option<&Registry>| {
            Plan::new(options, image, registry).unwrap_err()
        };
        let (image, registry) = (image(), registry());
        assert!(matches!(none(&options(&[]), None, Some(&registry)), Error::NoImage));
        assert!(matches!(none(&options(&[]), Some(&image), None), Error::NoRegistry));
        let saved = Registry { password: None, ..registry.clone() };
        assert!(matches!(
            none(&options(&[]), Some(&image), Some(&saved)),
            Error::NoPassword { .. }
        ));
        let error = none(&options(&["--image", "../info?x="]), None, Some(&registry));
        assert!(matches!(error, Error::NotAnImage { .. }), "{error}");
        let untagged = Image { tag: None, tags: vec![], ..image.clone() };
        assert!(matches!(none(&options(&[]), Some(&untagged), Some(&registry)), Error::NoTag));
        let args = ["--repository", "web:1"];
        let error = none(&options(&args), Some(&image), Some(&registry));
        assert!(matches!(error, Error::TagInRepository { .. }), "{error}");
        let error = none(&options(&["--repository", "Web"]), Some(&image), Some(&registry));
        assert!(matches!(error, Error::Reference(_)), "{error}");
        let error = none(&options(&["--registry", "team"]), Some(&image), Some(&registry));
        assert!(matches!(error, Error::NotAHost { .. }), "{error}");
    }
}
