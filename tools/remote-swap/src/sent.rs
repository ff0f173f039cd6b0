//! Images that `imgpush --to` sent to a host without a registry. Pure.
//!
//! There is no manifest, so no digest of one: what identifies such an image is its id, the digest of
//! its configuration. Everywhere a release is named by a reference, it is named by one in a registry
//! that cannot exist (RFC 2606, "invalid"), whose digest is the id; only a host's engine is asked for
//! the id itself.

use std::borrow::Cow;

use slipway_engine::Reference;

/// The registry of references whose digest is an image's id.
const REGISTRY: &str = "no-registry.invalid";

/// The reference of an image with this id.
pub(crate) fn reference(repository: &str, id: &str) -> String {
    format!("{REGISTRY}/{repository}@{id}")
}

/// The image's id, if it was sent.
pub(crate) fn id(reference: &Reference) -> Option<&str> {
    if reference.registry() == REGISTRY { reference.digest() } else { None }
}

/// What an engine calls the image of this reference.
pub(crate) fn engine_name(reference: &str) -> Cow<'_, str> {
    match reference.parse::<Reference>() {
        Ok(parsed) if id(&parsed).is_some() => {
            Cow::Owned(parsed.digest().unwrap_or_default().to_owned())
        }
        _ => Cow::Borrowed(reference),
    }
}

/// Those of an image's names that `imgpush --to` gave it, for this reference.
pub(crate) fn names<'a>(reference: &str, of_image: &'a [String]) -> Vec<&'a String> {
    let Ok(sent) = reference.parse::<Reference>() else { return Vec::new() };
    let ours = |name: &&String| {
        let name = name.parse::<Reference>();
        name.is_ok_and(|name| name.domain().is_none() && name.path() == sent.path())
    };
    of_image.iter().filter(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_knows_what_was_sent_by_its_id() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let sent = reference("team/web", &digest);
        let parsed: Reference = sent.parse().unwrap();
        assert_eq!((id(&parsed), parsed.path()), (Some(digest.as_str()), "team/web"));
        assert_eq!(engine_name(&sent), digest);
        let pushed = format!("r.example/web@{digest}");
        assert_eq!(engine_name(&pushed), pushed);
        assert_eq!(id(&pushed.parse().unwrap()), None);
    }

    #[test]
    fn only_names_of_its_repository_are_taken_away() {
        let sent = reference("web", &format!("sha256:{}", "0a".repeat(32)));
        let of_image = ["web:1", "web:2", "r.example/web:1", "other:1"].map(str::to_owned);
        assert_eq!(names(&sent, &of_image), ["web:1", "web:2"]);
    }
}
