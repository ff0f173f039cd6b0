//! The direct way: layers are read as streams, from the engine's export or its store, and compressed,
//! hashed and uploaded as they come.

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt as _;
use slipway_engine::{Engine, Request};
use slipway_registry::{Digester, Repository};
use slipway_untrusted::limit::TAR_JSONS;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::Error;
use crate::assemble::{Documents, Small};
use crate::cache::Layer;
use crate::compress::{Hashing, Pool};
use crate::export::{self, Blob, Entry};
use crate::feed::{Bounds, Feed, Uploaded, way};
use crate::options::Compression;
use crate::store::Store;
use crate::tar::{Event, Tar};
use crate::v1;

/// What need not be sent, since the registry has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct There {
    /// By the layer's id.
    pub(crate) layers: HashMap<String, Layer>,
    /// Exports of old engines do not tell a layer's id before its end; the size as an archive is a
    /// good guess, which the id proves or refutes in the end.
    pub(crate) trust_sizes: bool,
}

impl There {
    fn of_size(&self, size: u64) -> bool {
        self.trust_sizes && self.layers.values().any(|layer| layer.tar_size == Some(size))
    }
}

/// What is sent where.
#[derive(Clone, Copy)]
pub(crate) struct What<'a> {
    /// The image's id.
    pub(crate) image: &'a str,
    /// The ids of its layers, the base first.
    pub(crate) layers: &'a [String],
    pub(crate) repository: &'a Repository,
    pub(crate) compression: Compression,
}

/// What came of an export, or of several: what one that broke has sent whole stays.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) documents: Documents,
    /// The configuration, where it was read by itself.
    pub(crate) config: Option<Small>,
    /// Layers that were sent, by their ids.
    pub(crate) layers: BTreeMap<String, Layer>,
    /// Blobs that are at the registry as the engine has them, compressed; with their sizes.
    pub(crate) blobs: BTreeMap<String, u64>,
    /// Layers that were left out by their size and are not there.
    pub(crate) missed: bool,
    /// Bytes that were sent.
    pub(crate) bytes: u64,
}

/// Where the data of the present entry goes.
enum Sink {
    Nowhere,
    Document(String, BytesMut),
    /// A blob that is to be told by its head.
    Unknown {
        digest: String,
        size: u64,
        head: BytesMut,
    },
    /// A layer that is only hashed.
    Hashed(Digester),
    /// A layer that is compressed; its id, if it is known.
    Layer(Feed, Option<String>),
    /// A blob that goes as it is.
    AsItIs(Feed, String, Digester),
}

/// An export on its way.
struct Run<'a> {
    what: What<'a>,
    there: &'a There,
    pool: Pool,
    bounds: Bounds,
    hashing: Hashing,
    uploads: JoinSet<Result<Uploaded, Error>>,
    /// Sizes of the layers as archives, by their ids.
    tar_sizes: HashMap<String, u64>,
    /// Bytes of documents and their paths so far.
    held: u64,
    sent: &'a mut Sent,
}

/// Exports an image and sends what is not there. `progress` is told the bytes that were read.
///
/// # Errors
/// What the engine or the registry refused or broke; `sent` tells what was sent whole before.
pub(crate) async fn send(
    engine: &Engine,
    what: What<'_>,
    there: &There,
    sent: &mut Sent,
    progress: impl Fn(u64),
) -> Result<(), Error> {
    let request = Request::new(Method::GET, format!("/images/{}/get", what.image));
    let mut body = engine.send(request).await?.into_body();
    sent.documents.clear();
    let mut run = Run::new(what, there, sent);
    let (mut tar, mut sink, mut read) = (Tar::new(), Sink::Nowhere, 0);
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(slipway_engine::Error::from)?.into_data() else {
            continue;
        };
        read += data.len() as u64;
        while let Some(event) = tar.next(&mut data)? {
            sink = run.take(sink, event).await?;
        }
        progress(read);
    }
    if !tar.finished() {
        return Err(Error::Export("it was cut off"));
    }
    run.finish().await
}

/// Reads an image from the engine's store and sends what is not there, as [`send`] does.
///
/// # Errors
/// [`Error::Unreadable`] for what cannot be read, which an export may hold; what the registry refused or
/// broke.
pub(crate) async fn read(
    store: &Store,
    what: What<'_>,
    there: &There,
    sent: &mut Sent,
    progress: impl Fn(u64),
) -> Result<(), Error> {
    let body = store.config(what.image).map_err(Error::Unreadable)?;
    sent.config = Some(Small { digest: what.image.to_owned(), body });
    let mut run = Run::new(what, there, sent);
    let mut read = 0;
    for (at, (layer, chain)) in what.layers.iter().zip(v1::chains(what.layers)).enumerate() {
        if what.layers[..at].contains(layer) {
            continue;
        }
        let mut sink = run.layer(layer.clone()).await?;
        if matches!(sink, Sink::Nowhere) {
            continue;
        }
        let mut blocks = store.layer(&chain).map_err(Error::Unreadable)?;
        while let Some(block) = blocks.recv().await {
            let block = block.map_err(Error::Unreadable)?;
            read += block.len() as u64;
            sink = run.put(sink, block).await?;
            progress(read);
        }
        run.end(sink).await.map_err(|error| match error {
            Error::Export(what) => Error::Unreadable(std::io::Error::other(what)),
            other => other,
        })?;
    }
    run.finish().await
}

impl<'a> Run<'a> {
    fn new(what: What<'a>, there: &'a There, sent: &'a mut Sent) -> Self {
        let pool = Pool::new(what.compression);
        Self {
            what,
            there,
            bounds: Bounds::new(&pool),
            pool,
            hashing: Hashing::new(),
            uploads: JoinSet::new(),
            tar_sizes: HashMap::new(),
            held: 0,
            sent,
        }
    }

    async fn take(&mut self, sink: Sink, event: Event) -> Result<Sink, Error> {
        match event {
            Event::Entry { path, size, file: true } => self.begin(path, size).await,
            Event::Entry { .. } => Ok(Sink::Nowhere),
            Event::Data(data) => self.put(sink, data).await,
            Event::End => self.end(sink).await.map(|()| Sink::Nowhere),
        }
    }

    async fn begin(&mut self, path: String, size: u64) -> Result<Sink, Error> {
        Ok(match export::entry(&path, size) {
            Entry::Other => Sink::Nowhere,
            Entry::Document => Sink::Document(path, BytesMut::new()),
            Entry::Blob(digest) => Sink::Unknown { digest, size, head: BytesMut::new() },
            Entry::Layer(Some(id)) => self.layer(id).await?,
            Entry::Layer(None) if self.there.of_size(size) => Sink::Hashed(Digester::default()),
            Entry::Layer(None) => Sink::Layer(self.feed(true).await?, None),
        })
    }

    /// A layer whose id is known.
    async fn layer(&mut self, id: String) -> Result<Sink, Error> {
        if self.there.layers.contains_key(&id) || !self.what.layers.contains(&id) {
            return Ok(Sink::Nowhere);
        }
        Ok(Sink::Layer(self.feed(true).await?, Some(id)))
    }

    /// Begins an upload, once there is room for one more.
    async fn feed(&mut self, compress: bool) -> Result<Feed, Error> {
        let room = std::sync::Arc::clone(&self.bounds.blobs).acquire_owned().await;
        let room: OwnedSemaphorePermit = room.map_err(|_| Error::Compression)?;
        let (feed, fed) = way(&self.bounds, compress);
        let repository = self.what.repository.clone();
        self.uploads.spawn(async move {
            let uploaded = fed.upload(&repository).await;
            drop(room);
            uploaded
        });
        while let Some(ended) = self.uploads.try_join_next() {
            self.note(ended)?;
        }
        Ok(feed)
    }

    async fn put(&mut self, sink: Sink, data: Bytes) -> Result<Sink, Error> {
        match sink {
            Sink::Nowhere => Ok(Sink::Nowhere),
            Sink::Hashed(mut digester) => {
                digester.update(&data);
                Ok(Sink::Hashed(digester))
            }
            Sink::Document(path, mut body) => {
                body.extend_from_slice(&data);
                Ok(Sink::Document(path, body))
            }
            Sink::Unknown { digest, size, mut head } => {
                head.extend_from_slice(&data);
                if head.len() < export::HEAD {
                    return Ok(Sink::Unknown { digest, size, head });
                }
                let sink = self.known(digest, size, &head).await?;
                Box::pin(self.put(sink, head.freeze())).await
            }
            Sink::Layer(mut feed, id) => {
                match feed.put(data, &self.pool, |block| self.hashing.update(block)).await {
                    Ok(()) => Ok(Sink::Layer(feed, id)),
                    Err(_) => Err(self.failure().await),
                }
            }
            Sink::AsItIs(mut feed, digest, mut digester) => {
                digester.update(&data);
                match feed.put(data, &self.pool, |_| {}).await {
                    Ok(()) => Ok(Sink::AsItIs(feed, digest, digester)),
                    Err(_) => Err(self.failure().await),
                }
            }
        }
    }

    /// Where a blob goes whose head is known.
    async fn known(&mut self, digest: String, size: u64, head: &[u8]) -> Result<Sink, Error> {
        match export::blob(head, size) {
            Blob::Document => {
                let hex = digest.trim_start_matches("sha256:");
                Ok(Sink::Document(format!("blobs/sha256/{hex}"), BytesMut::new()))
            }
            Blob::Layer => self.layer(digest).await,
            Blob::Compressed => {
                if self.what.repository.blob_size(&digest).await?.is_some() {
                    self.sent.blobs.insert(digest, 0);
                    return Ok(Sink::Nowhere);
                }
                Ok(Sink::AsItIs(self.feed(false).await?, digest, Digester::default()))
            }
        }
    }

    async fn end(&mut self, sink: Sink) -> Result<(), Error> {
        match sink {
            Sink::Nowhere => Ok(()),
            Sink::Document(path, body) => self.document(path, body.freeze()),
            Sink::Unknown { digest, size, head } => {
                let sink = self.known(digest, size, &head).await?;
                let sink = self.put(sink, head.freeze()).await?;
                Box::pin(self.end(sink)).await
            }
            Sink::Hashed(digester) => {
                let id = digester.finish();
                self.sent.missed |=
                    self.what.layers.contains(&id) && !self.there.layers.contains_key(&id);
                Ok(())
            }
            Sink::Layer(mut feed, id) => {
                let flushed = feed.flush(&self.pool, |block| self.hashing.update(block)).await;
                let found = self.hashing.finish().await.ok_or(Error::Compression)?;
                if id.is_some_and(|id| id != found) || !self.what.layers.contains(&found) {
                    return Err(Error::Export("a layer is not what the image names"));
                }
                if flushed.is_err() {
                    return Err(self.failure().await);
                }
                match feed.end(found.clone()).await {
                    Ok(size) => {
                        self.tar_sizes.insert(found, size);
                        Ok(())
                    }
                    Err(_) => Err(self.failure().await),
                }
            }
            Sink::AsItIs(mut feed, digest, digester) => {
                if digester.finish() != digest {
                    return Err(Error::Export("a blob is not what its name says"));
                }
                if feed.flush(&self.pool, |_| {}).await.is_err() || feed.end(digest).await.is_err()
                {
                    return Err(self.failure().await);
                }
                Ok(())
            }
        }
    }

    fn document(&mut self, path: String, body: Bytes) -> Result<(), Error> {
        self.held += path.len() as u64 + body.len() as u64;
        TAR_JSONS.admit(self.held).map_err(|_| Error::Export("its documents are too long"))?;
        self.sent.documents.insert(path, body);
        Ok(())
    }

    /// Why an upload has ended in the middle.
    async fn failure(&mut self) -> Error {
        while let Some(ended) = self.uploads.join_next().await {
            if let Err(error) = self.note(ended) {
                return error;
            }
        }
        Error::Compression
    }

    fn note(
        &mut self,
        ended: Result<Result<Uploaded, Error>, tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let uploaded = ended.map_err(|_| Error::Compression)??;
        self.sent.bytes += uploaded.size;
        match self.tar_sizes.get(&uploaded.key) {
            Some(tar_size) => {
                let Uploaded { key, digest, size } = uploaded;
                let layer = Layer::new(digest, size, self.what.compression, Some(*tar_size));
                self.sent.layers.insert(key, layer);
            }
            None => {
                self.sent.blobs.insert(uploaded.digest, uploaded.size);
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<(), Error> {
        while let Some(ended) = self.uploads.join_next().await {
            self.note(ended)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
