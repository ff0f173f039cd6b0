//! Pushing one tag, and proving what was pushed.

use std::collections::BTreeMap;
use std::fmt;

use slipway_engine::{Engine, LayerState, Progress, Reference, RegistryFault};
use slipway_shell::{Context, Step};

use crate::retry::retrying;
use crate::{Error, Plan};

/// What came of one tag, or of several.
pub(crate) struct Pushed {
    pub(crate) digest: String,
    pub(crate) uploaded: u32,
    pub(crate) existing: u32,
    pub(crate) bytes: u64,
    pub(crate) already_present: bool,
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.already_present {
            return f.write_str("the registry has it already");
        }
        let layers = self.uploaded + self.existing;
        write!(f, "{} of {layers} layers sent", self.uploaded)
    }
}

impl Pushed {
    /// Joins it with the push of a further tag. Both have to name one manifest; the layers are
    /// those of the first, since a further tag sends the manifest only.
    pub(crate) fn and(self, tag: &Reference, further: Self) -> Result<Self, Error> {
        if self.digest != further.digest {
            return Err(Error::DigestMismatch {
                name: tag.to_string(),
                pushed: self.digest,
                found: further.digest,
            });
        }
        Ok(Self {
            bytes: self.bytes + further.bytes,
            already_present: self.already_present && further.already_present,
            ..self
        })
    }
}

/// The id of the image that is meant.
pub(crate) async fn image_id(engine: &Engine, image: &str) -> Result<String, Error> {
    match engine.inspect_image(image).await {
        Ok(found) => found.id.ok_or_else(|| Error::NoSuchImage { image: image.to_owned() }),
        Err(slipway_engine::Error::NotFound { .. }) => {
            Err(Error::NoSuchImage { image: image.to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Pushes the image under one tag.
pub(crate) async fn one(
    engine: &Engine,
    plan: &Plan,
    id: &str,
    name: &Reference,
    step: &Step,
    context: &Context,
) -> Result<Pushed, Error> {
    let auth = plan.auth.as_ref();
    // A registry that is asked first spares the push, and a tag that must not be moved spares the
    // refusal. Whatever is wrong with the answer, the push itself will tell better.
    if let Ok(digest) = engine.distribution_digest(name, auth).await
        && is_digest_of(engine, id, name, &digest).await?
    {
        return Ok(present(digest, layers(engine, id).await?));
    }

    let again = |error: &slipway_engine::Error| context.ui.warn(&format!("{error}; trying again"));
    let mut layers = Layers::default();
    let pushed = retrying(again, async || {
        layers = Layers::default();
        // By the id, and right before: a name that another build moved meanwhile moves back.
        engine.tag(id, name).await?;
        engine
            .push(name, auth, |progress| {
                if let Some(sent) = layers.see(&progress) {
                    context.ui.say(&format!("layer {}: sent, {}", progress.layer, megabytes(sent)));
                }
                step.update(layers.to_string());
            })
            .await
    })
    .await;
    let pushed = match pushed {
        Ok(pushed) => pushed,
        Err(slipway_engine::Error::Registry { fault: RegistryFault::TagImmutable, .. }) => {
            return immutable(engine, plan, id, name).await;
        }
        Err(error) => return Err(Error::from(error).about(name)),
    };

    step.update("reading the digest back");
    let found = retrying(again, async || engine.distribution_digest(name, auth).await).await;
    let found = found.map_err(|error| Error::from(error).about(name))?;
    if found != pushed.digest {
        let name = name.to_string();
        return Err(Error::DigestMismatch { name, pushed: pushed.digest, found });
    }
    if !is_digest_of(engine, id, name, &found).await? {
        return Err(Error::OtherImage { name: name.to_string(), id: id.to_owned() });
    }
    Ok(Pushed {
        digest: found,
        uploaded: layers.count(LayerState::Done),
        existing: layers.count(LayerState::Exists),
        bytes: layers.bytes(),
        already_present: false,
    })
}

fn present(digest: String, existing: u32) -> Pushed {
    Pushed { digest, uploaded: 0, existing, bytes: 0, already_present: true }
}

async fn layers(engine: &Engine, id: &str) -> Result<u32, Error> {
    let image = engine.inspect_image(id).await?;
    let layers = image.root_fs.and_then(|root| root.layers).map_or(0, |layers| layers.len());
    Ok(u32::try_from(layers).unwrap_or(u32::MAX))
}

/// Whether the engine knows this digest in this repository as one of this image. It notes that
/// with each push and pull.
async fn is_digest_of(
    engine: &Engine,
    id: &str,
    name: &Reference,
    digest: &str,
) -> Result<bool, Error> {
    let known = engine.inspect_image(id).await?.repo_digests.unwrap_or_default();
    Ok(known.contains(&format!("{}@{digest}", name.name())))
}

/// The registry refuses to move the tag. If it names this image already, all is well; else the
/// conflict is told with both.
async fn immutable(
    engine: &Engine,
    plan: &Plan,
    id: &str,
    name: &Reference,
) -> Result<Pushed, Error> {
    let auth = plan.auth.as_ref();
    let about = |error: slipway_engine::Error| Error::from(error).about(name);
    let digest = engine.distribution_digest(name, auth).await.map_err(about)?;
    let there = name.with_digest(&digest).map_err(Error::Reference)?;
    // The engine learns whose digest that is by pulling it; layers that it has are not fetched.
    engine.pull(&there, None, auth, |_| {}).await.map_err(about)?;
    let found = image_id(engine, &there.to_string()).await?;
    if found == id {
        return Ok(present(digest, layers(engine, id).await?));
    }
    Err(Error::TagConflict { name: name.to_string(), id: id.to_owned(), digest, found })
}

/// The layers of a push, by their short ids.
#[derive(Default)]
struct Layers(BTreeMap<String, (LayerState, u64)>);

impl Layers {
    /// Takes a step of a layer in; answers its bytes if that was the step that completed it.
    fn see(&mut self, progress: &Progress<'_>) -> Option<u64> {
        let (state, bytes) =
            self.0.entry(progress.layer.to_owned()).or_insert((LayerState::Waiting, 0));
        let completed = progress.state == LayerState::Done && *state != LayerState::Done;
        *state = progress.state;
        *bytes = (*bytes).max(progress.current.unwrap_or(0));
        completed.then_some(*bytes)
    }

    fn count(&self, state: LayerState) -> u32 {
        let count = self.0.values().filter(|(is, _)| *is == state).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn bytes(&self) -> u64 {
        let sent = self.0.values().filter(|(state, _)| *state == LayerState::Done);
        sent.map(|(_, bytes)| bytes).sum()
    }
}

impl fmt::Display for Layers {
    /// All layers in a word, and those that are on their way one by one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.count(LayerState::Done) + self.count(LayerState::Exists);
        write!(f, "{there} of {} layers", self.0.len())?;
        for (layer, (state, bytes)) in &self.0 {
            if *state == LayerState::Transferring {
                write!(f, ", {layer} {}", megabytes(*bytes))?;
            }
        }
        Ok(())
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(layer: &str, state: LayerState, current: Option<u64>) -> Progress<'_> {
        Progress { layer, state, current, total: None }
    }

    #[test]
    fn layers_are_counted_by_their_last_state() {
        let mut layers = Layers::default();
        assert_eq!(layers.see(&progress("a", LayerState::Waiting, None)), None);
        assert_eq!(layers.see(&progress("a", LayerState::Transferring, Some(700))), None);
        assert_eq!(layers.see(&progress("a", LayerState::Transferring, Some(900))), None);
        assert_eq!(layers.to_string(), "0 of 1 layers, a 0.0 MB");
        assert_eq!(layers.see(&progress("a", LayerState::Done, None)), Some(900));
        assert_eq!(layers.see(&progress("a", LayerState::Done, None)), None, "told once");
        assert_eq!(layers.see(&progress("b", LayerState::Exists, None)), None);
        assert_eq!((layers.count(LayerState::Done), layers.count(LayerState::Exists)), (1, 1));
        assert_eq!(layers.bytes(), 900);
    }

    #[test]
    fn all_tags_have_to_name_one_manifest() {
        let tag: Reference = "r.example/web:1".parse().unwrap();
        let there = |digest: &str| present(digest.to_owned(), 3);
        let sent = Pushed { already_present: false, ..there("sha256:a") };
        let both = there("sha256:a").and(&tag, sent).unwrap();
        assert!(!both.already_present && both.existing == 3);
        assert!(both.and(&tag, there("sha256:b")).is_err());
    }
}
