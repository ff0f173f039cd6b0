//! The engine's way: it is told to push one tag, and what it reports is taken in.

use std::collections::BTreeMap;
use std::fmt;

use slipway_engine::{Auth, Engine, LayerState, Progress, Reference, RegistryFault};
use slipway_registry::Fresh;
use slipway_shell::{Context, Step};

use crate::Error;
use crate::outcome::{Pushed, megabytes};
use crate::retry::retrying;

/// The engine with what it logs in with.
pub(crate) struct EngineWay<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) auth: Option<Auth>,
    pub(crate) fresh: Option<Fresh>,
    pub(crate) context: &'a Context,
}

impl EngineWay<'_> {
    /// The digest that the registry has for this name; none if it has none or does not tell.
    pub(crate) async fn digest(&self, name: &Reference) -> Option<String> {
        // Whatever is wrong with the answer, the push itself will tell better.
        self.engine.distribution_digest(name, self.auth.as_ref()).await.ok()
    }

    /// Pushes the image under one tag; with the digest, if the engine tells it. None if the tag is
    /// immutable.
    pub(crate) async fn push(
        &mut self,
        id: &str,
        name: &Reference,
        step: &Step,
    ) -> Result<Option<(Option<String>, Pushed)>, Error> {
        let (mut pushed, mut layers) = self.send(id, name, step).await;
        if let Err(slipway_engine::Error::Registry { fault: RegistryFault::Unauthorized, .. }) =
            &pushed
            && let Some(fresh) = self.fresh.take()
            && let Some(credentials) = fresh().await
        {
            self.auth = Some(Auth::new(credentials.username, credentials.password));
            (pushed, layers) = self.send(id, name, step).await;
        }
        let pushed = match pushed {
            Ok(pushed) => pushed,
            Err(slipway_engine::Error::Registry { fault: RegistryFault::TagImmutable, .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::from(error).about(name)),
        };
        let digest = pushed.map(|pushed| pushed.digest);
        let pushed = Pushed {
            digest: digest.clone().unwrap_or_default(),
            uploaded: layers.count(LayerState::Done),
            existing: layers.count(LayerState::Exists),
            bytes: layers.bytes(),
            ..Pushed::default()
        };
        Ok(Some((digest, pushed)))
    }

    async fn send(
        &self,
        id: &str,
        name: &Reference,
        step: &Step,
    ) -> (Result<Option<slipway_engine::Pushed>, slipway_engine::Error>, Layers) {
        let ui = &self.context.ui;
        let mut layers = Layers::default();
        let again = |error: &slipway_engine::Error| ui.warn(&format!("{error}; trying again"));
        let pushed = retrying(again, async || {
            layers = Layers::default();
            // By the id, and right before: a name that another build moved meanwhile moves back.
            self.engine.tag(id, name).await?;
            self.engine
                .push(name, self.auth.as_ref(), |progress| {
                    if let Some(sent) = layers.see(&progress) {
                        ui.say(&format!("layer {}: sent, {}", progress.layer, megabytes(sent)));
                    }
                    step.update(layers.to_string());
                })
                .await
        })
        .await;
        (pushed, layers)
    }

    /// Reads the digest of a name back through the engine, and has it compare it with the image.
    pub(crate) async fn proved(
        &self,
        id: &str,
        name: &Reference,
        digest: &str,
    ) -> Result<(), Error> {
        let ui = &self.context.ui;
        let again = |error: &slipway_engine::Error| ui.warn(&format!("{error}; trying again"));
        let auth = self.auth.as_ref();
        let found =
            retrying(again, async || self.engine.distribution_digest(name, auth).await).await;
        let found = found.map_err(|error| Error::from(error).about(name))?;
        if found != digest {
            let (name, pushed) = (name.to_string(), digest.to_owned());
            return Err(Error::DigestMismatch {
                name: name.into(),
                pushed: pushed.into(),
                found: found.into(),
            });
        }
        if !self.is_digest_of(id, name, &found).await? {
            return Err(Error::OtherImage { name: name.to_string().into(), id: id.into() });
        }
        Ok(())
    }

    /// Whether the engine knows this digest in this repository as one of this image. It notes that
    /// with each push and pull.
    pub(crate) async fn is_digest_of(
        &self,
        id: &str,
        name: &Reference,
        digest: &str,
    ) -> Result<bool, Error> {
        let known = self.engine.inspect_image(id).await?.repo_digests.unwrap_or_default();
        Ok(known.contains(&format!("{}@{digest}", name.name())))
    }

    /// The digest that an immutable tag names and the id of that image, learned by pulling it: layers
    /// that the engine has are not fetched.
    pub(crate) async fn pulled(&self, name: &Reference) -> Result<(String, String), Error> {
        let auth = self.auth.as_ref();
        let about = |error: slipway_engine::Error| Error::from(error).about(name);
        let digest = self.engine.distribution_digest(name, auth).await.map_err(about)?;
        let there = name.with_digest(&digest).map_err(Error::Reference)?;
        self.engine.pull(&there, None, auth, |_| {}).await.map_err(about)?;
        let image = there.to_string();
        let found = self.engine.inspect_image(&image).await?;
        Ok((digest, found.id.ok_or(Error::NoSuchImage { image: image.into() })?))
    }
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
}
