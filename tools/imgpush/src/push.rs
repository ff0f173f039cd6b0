//! One push: asks the registry what it has, chooses who sends the rest, and proves what is there.

use slipway_engine::Reference;
use slipway_registry::Fault;
use slipway_shell::{Step, Ui};

use crate::assemble::{self, Assembled, Blobs, Typed};
use crate::attach::Attachment;
use crate::direct::{self, Sent, There};
use crate::engine_way::EngineWay;
use crate::image::Local;
use crate::options::{Compression, Via};
use crate::outcome::{Pushed, count, megabytes};
use crate::remote::Remote;
use crate::store::Store;
use crate::{Done, Error, Plan, attach, way};

/// An export that broke is begun again so often; what was sent whole is not sent again.
const EXPORTS: u32 = 3;

/// How imgpush itself sends: what need not be sent, and where the rest is read, if not from an export.
struct Direct {
    there: There,
    store: Option<Store>,
}

/// A push under way.
pub(crate) struct Push<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) image: Local,
    pub(crate) by_engine: EngineWay<'a>,
    /// The registry, if it can be asked from here.
    pub(crate) remote: Option<Remote>,
}

impl Push<'_> {
    /// Pushes the image under one tag. `head` is the digest that the tag had a moment ago, if the
    /// registry was asked.
    pub(crate) async fn one(
        &mut self,
        name: &Reference,
        head: Option<String>,
        step: &Step,
    ) -> Result<Pushed, Error> {
        let Some(remote) = &mut self.remote else { return self.unasked(name, step).await };
        let about = |error: slipway_registry::Error| Error::from(error).about(name);
        if let Some(digest) = head
            && remote.is(&digest, &self.image).await.map_err(about)?
        {
            return Ok(Pushed::present(digest, self.image.layers.len()));
        }
        if let Some(manifest) = remote.manifest_of(&self.image).await.map_err(about)? {
            return self.tag(name, manifest).await;
        }
        let direct = self.choose().await.map_err(|error| error.about(name))?;
        match direct {
            Some(direct) => self.directly(name, direct, step).await,
            None => self.asked(name, step).await,
        }
    }

    /// Who sends: answers how it is done if it is not the engine.
    async fn choose(&self) -> Result<Option<Direct>, Error> {
        let Some(remote) = &self.remote else { return Ok(None) };
        if self.plan.via == Via::Engine {
            return Ok(None);
        }
        // From the store only that is read which is missing, so that this is always the fastest.
        let store = Store::of(self.by_engine.engine, &self.image.id).await;
        if store.is_some() || self.plan.via == Via::Direct {
            return Ok(Some(Direct { there: remote.there(&self.image).await?, store }));
        }
        // What is small as a whole is not worth a question a layer.
        if !way::direct(self.image.size, self.image.size) {
            return Ok(None);
        }
        let sizes = self.image.sizes(self.by_engine.engine).await;
        let missing = |there: &dyn Fn(&str) -> bool| {
            let layers = self.image.layers.iter().zip(&sizes);
            layers.filter(|(id, _)| !there(id)).map(|(_, size)| size).sum()
        };
        // Memory is enough to leave it to the engine, which asks for each layer itself.
        if !way::direct(missing(&|id| remote.remembers(id)), self.image.size) {
            return Ok(None);
        }
        let there = remote.there(&self.image).await?;
        let missing = missing(&|id| there.layers.contains_key(id));
        Ok(way::direct(missing, self.image.size).then_some(Direct { there, store: None }))
    }

    /// Has the registry name a manifest that it has by this tag, too.
    pub(crate) async fn tag(&mut self, name: &Reference, manifest: Typed) -> Result<Pushed, Error> {
        let layers = self.image.layers.len();
        let Some(remote) = &mut self.remote else { return Err(Error::NoTag) };
        let tag = name.tag().unwrap_or("latest");
        let Typed { digest, media_type, body } = manifest;
        match remote.repository.put_manifest(tag, &media_type, body).await {
            Ok(()) => {}
            Err(error) if error.fault() == Some(Fault::TagImmutable) => {
                return self.immutable(name).await;
            }
            Err(error) => return Err(Error::from(error).about(name)),
        }
        let found = remote.repository.manifest_digest(tag).await;
        let found = found.map_err(|error| Error::from(error).about(name))?.unwrap_or_default();
        if found != digest {
            return Err(Error::DigestMismatch {
                name: name.to_string().into(),
                pushed: digest.into(),
                found: found.into(),
            });
        }
        Ok(Pushed::tagged(digest, layers))
    }

    /// What comes once the image is there: its files are attached, and then the tags follow that are
    /// to, so that whoever pulls by those finds it complete.
    pub(crate) async fn further(
        &mut self,
        digest: &str,
        files: &[Attachment],
        ui: &Ui,
        done: &mut Done,
    ) -> Result<(), Error> {
        if let (Some(remote), false) = (&self.remote, files.is_empty()) {
            let name = self.plan.repository.with_digest(digest).map_err(Error::Reference)?;
            done.referrers = attach::attach(&remote.repository, &name, files, ui).await?;
        }
        for name in &self.plan.also {
            if self.follow(name, digest, ui).await? {
                done.tags.push(name.clone());
            }
        }
        Ok(())
    }

    /// The registry refuses to move the tag. If it names this image already, all is well; else the
    /// conflict is told with both.
    async fn immutable(&mut self, name: &Reference) -> Result<Pushed, Error> {
        let conflict = |id: &str, digest: String, found: String| Error::TagConflict {
            name: name.to_string().into(),
            id: id.into(),
            digest: digest.into(),
            found: found.into(),
        };
        let layers = self.image.layers.len();
        let Some(remote) = &mut self.remote else {
            let (digest, found) = self.by_engine.pulled(name).await?;
            return match found == self.image.id {
                true => Ok(Pushed::present(digest, layers)),
                false => Err(conflict(&self.image.id, digest, found)),
            };
        };
        let about = |error: slipway_registry::Error| Error::from(error).about(name);
        let tag = name.tag().unwrap_or("latest");
        let manifest = remote.repository.manifest(tag).await.map_err(about)?;
        let Some(manifest) = manifest else {
            return Err(conflict(&self.image.id, String::new(), String::new()));
        };
        if remote.names(&manifest, &self.image) {
            return Ok(Pushed::present(manifest.digest, layers));
        }
        let found = assemble::named(&manifest.body).map(|(config, _)| config);
        let found = found.unwrap_or_else(|| manifest.digest.clone());
        Err(conflict(&self.image.id, manifest.digest, found))
    }

    /// The engine pushes, and the registry is asked from here.
    async fn asked(&mut self, name: &Reference, step: &Step) -> Result<Pushed, Error> {
        let by_engine = self.by_engine.push(&self.image.id, name, step).await?;
        let Some((told, pushed)) = by_engine else { return self.immutable(name).await };
        let Some(remote) = &mut self.remote else { return Err(Error::NoTag) };
        step.update("reading the digest back");
        let tag = name.tag().unwrap_or("latest");
        let found = remote.repository.manifest(tag).await;
        let found = found.map_err(|error| Error::from(error).about(name))?;
        let digest = found.as_ref().map(|found| found.digest.clone()).unwrap_or_default();
        if let Some(told) = told.filter(|told| *told != digest) {
            return Err(Error::DigestMismatch {
                name: name.to_string().into(),
                pushed: told.into(),
                found: digest.into(),
            });
        }
        if !found.is_some_and(|found| remote.learn(&found, &self.image)) {
            let id = self.image.id.clone();
            return Err(Error::OtherImage { name: name.to_string().into(), id: id.into() });
        }
        Ok(Pushed { digest, via: Some("engine"), compression: Some(Compression::Gzip), ..pushed })
    }

    /// All goes through the engine, since the registry cannot be asked from here.
    async fn unasked(&mut self, name: &Reference, step: &Step) -> Result<Pushed, Error> {
        let (id, by_engine) = (&self.image.id, &mut self.by_engine);
        if let Some(digest) = by_engine.digest(name).await
            && by_engine.is_digest_of(id, name, &digest).await?
        {
            return Ok(Pushed::present(digest, self.image.layers.len()));
        }
        let Some((told, pushed)) = by_engine.push(id, name, step).await? else {
            return self.immutable(name).await;
        };
        step.update("reading the digest back");
        let told = told.ok_or_else(|| {
            let what = "the push ended without a digest".to_owned();
            Error::Engine(slipway_engine::Error::Protocol { what }).about(name)
        })?;
        by_engine.proved(id, name, &told).await?;
        Ok(Pushed { via: Some("engine"), compression: Some(Compression::Gzip), ..pushed })
    }

    /// imgpush itself sends what is missing.
    async fn directly(
        &mut self,
        name: &Reference,
        direct: Direct,
        step: &Step,
    ) -> Result<Pushed, Error> {
        let Direct { there, store } = direct;
        let mut sent = self.sent(&there, store, step).await.map_err(|error| error.about(name))?;
        let mut layers = sent.layers.clone();
        layers.extend(there.layers);
        let assembled = if sent.blobs.is_empty() {
            let config = match sent.config.take() {
                Some(config) => config,
                None => assemble::config(&sent.documents)?,
            };
            // With containerd's store the id is that of the manifest.
            let ids = assemble::diff_ids(&config.body).unwrap_or_default();
            if ids != self.image.layers {
                return Err(Error::Export("its configuration is not the image's"));
            }
            assemble::build(config, &layers)?
        } else {
            let own = (self.image.os.as_str(), self.image.architecture.as_str());
            let wanted = (!self.plan.all_platforms).then_some(own);
            let there = Blobs { same: &sent.blobs, compressed: &layers };
            assemble::as_it_is(&sent.documents, wanted, &there)?
        };
        if self.plan.all_platforms && assembled.manifests.is_empty() {
            return Err(Error::OnePlatform { image: self.image.id.as_str().into() });
        }
        let manifest = self.put(name, assembled).await?;
        let Some(remote) = &mut self.remote else { return Err(Error::NoTag) };
        remote.learn_sent(&self.image, &manifest.digest, layers.iter());
        let compression = Remote::compression(layers.values());
        let pushed = self.tag(name, manifest).await?;
        let uploaded = sent.layers.len() + sent.blobs.values().filter(|size| **size > 0).count();
        Ok(Pushed {
            uploaded: count(uploaded),
            existing: count(self.image.layers.len().saturating_sub(uploaded)),
            bytes: sent.bytes,
            via: Some("direct"),
            compression: Some(compression),
            ..pushed
        })
    }

    /// Reads and sends until all is there: again where that may help, without what was sent whole.
    /// What the store does not give is exported.
    async fn sent(
        &self,
        there: &There,
        mut store: Option<Store>,
        step: &Step,
    ) -> Result<Sent, Error> {
        let Some(remote) = &self.remote else { return Err(Error::NoTag) };
        let (engine, ui) = (self.by_engine.engine, &self.by_engine.context.ui);
        let what = direct::What {
            image: &self.image.id,
            layers: &self.image.layers,
            repository: &remote.repository,
            compression: self.plan.compression,
        };
        let (mut there, mut sent, mut tries) = (there.clone(), Sent::default(), 0);
        loop {
            tries += 1;
            let progress = |read| step.update(format!("{} read", megabytes(read)));
            let end = match &store {
                Some(store) => direct::read(store, what, &there, &mut sent, progress).await,
                None => direct::send(engine, what, &there, &mut sent, progress).await,
            };
            match end {
                Ok(()) if !sent.missed => return Ok(sent),
                // A layer that the registry has not is as large as one that it has.
                Ok(()) => (there.trust_sizes, sent.missed) = (false, false),
                Err(error @ Error::Unreadable(_)) => {
                    ui.warn(&format!("{error}; having the engine export the image"));
                    (store, sent.config, tries) = (None, None, 0);
                }
                Err(error) if error.transient() && tries < EXPORTS => {
                    ui.warn(&format!("{error}; trying again"));
                }
                Err(error) => return Err(error),
            }
            there.layers.extend(sent.layers.clone());
        }
    }

    /// Puts what the manifest names that is not there yet; answers the manifest that tags are to name.
    async fn put(&self, name: &Reference, assembled: Assembled) -> Result<Typed, Error> {
        let Some(remote) = &self.remote else { return Err(Error::NoTag) };
        let about = |error: slipway_registry::Error| Error::from(error).about(name);
        for small in assembled.blobs {
            if remote.repository.blob_size(&small.digest).await.map_err(about)?.is_none() {
                let put = remote.repository.put_blob(&small.digest, small.body).await;
                put.map_err(about)?;
            }
        }
        for manifest in assembled.manifests {
            let Typed { digest, media_type, body } = manifest;
            let put = remote.repository.put_manifest(&digest, &media_type, body).await;
            put.map_err(about)?;
        }
        Ok(assembled.root)
    }
}
