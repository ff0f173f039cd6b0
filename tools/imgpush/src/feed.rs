//! One blob on its way from the export to the registry.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use slipway_registry::{Digester, Repository};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::Error;
use crate::compress::{BLOCK, Compressing, Pool};

/// How many parts of uploads are held at once, over all blobs.
const PARTS: usize = 4;

/// Blobs whose end is being awaited while the next ones are read.
const BLOBS: usize = 4;

/// What bounds the memory of a push.
#[derive(Clone)]
pub(crate) struct Bounds {
    blocks: Arc<Semaphore>,
    parts: Arc<Semaphore>,
    pub(crate) blobs: Arc<Semaphore>,
}

impl Bounds {
    pub(crate) fn new(pool: &Pool) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { blocks: semaphore(pool.blocks), parts: semaphore(PARTS), blobs: semaphore(BLOBS) }
    }
}

/// A block of the blob, in its order, with the right to be held.
enum Block {
    Compressing(Compressing, OwnedSemaphorePermit),
    AsItIs(Bytes, OwnedSemaphorePermit),
    /// The blob is complete; the key under which it is known.
    End(String),
}

/// Where a blob's bytes are put in.
pub(crate) struct Feed {
    held: BytesMut,
    blocks: mpsc::Sender<Block>,
    bounds: Bounds,
    compress: bool,
    size: u64,
}

/// The other end.
pub(crate) struct Fed {
    blocks: mpsc::Receiver<Block>,
    bounds: Bounds,
}

/// A blob that is at the registry.
pub(crate) struct Uploaded {
    /// What it was called at its end.
    pub(crate) key: String,
    pub(crate) digest: String,
    /// Bytes as they were sent.
    pub(crate) size: u64,
}

/// Both ends of a blob's way.
pub(crate) fn way(bounds: &Bounds, compress: bool) -> (Feed, Fed) {
    let (sender, receiver) = mpsc::channel(64);
    let feed =
        Feed { held: BytesMut::new(), blocks: sender, bounds: bounds.clone(), compress, size: 0 };
    (feed, Fed { blocks: receiver, bounds: bounds.clone() })
}

/// The upload has failed: it tells why itself.
pub(crate) struct Gone;

impl Feed {
    /// Takes further bytes; waits while too much is on its way. `each` gets every block.
    pub(crate) async fn put(
        &mut self,
        mut data: Bytes,
        pool: &Pool,
        each: impl Fn(Bytes),
    ) -> Result<(), Gone> {
        self.size += data.len() as u64;
        while !data.is_empty() {
            if self.held.capacity() == 0 {
                self.held.reserve(BLOCK);
            }
            let take = (BLOCK - self.held.len()).min(data.len());
            self.held.extend_from_slice(&data.split_to(take));
            if self.held.len() == BLOCK {
                self.flush(pool, &each).await?;
            }
        }
        Ok(())
    }

    /// Sends off what is held.
    pub(crate) async fn flush(&mut self, pool: &Pool, each: impl Fn(Bytes)) -> Result<(), Gone> {
        if self.held.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.held).freeze();
        let permit = Arc::clone(&self.bounds.blocks).acquire_owned().await.map_err(|_| Gone)?;
        each(block.clone());
        let block = if self.compress {
            Block::Compressing(pool.compress(block), permit)
        } else {
            Block::AsItIs(block, permit)
        };
        self.blocks.send(block).await.map_err(|_| Gone)
    }

    /// The blob is complete, and called this.
    pub(crate) async fn end(self, key: String) -> Result<u64, Gone> {
        self.blocks.send(Block::End(key)).await.map_err(|_| Gone)?;
        Ok(self.size)
    }
}

impl Fed {
    /// Uploads what comes, each part while the next one is filled. Without the blob's end, as when
    /// the export broke, the upload is left to the registry's own clearing.
    pub(crate) async fn upload(self, repository: &Repository) -> Result<Uploaded, Error> {
        let mut upload = repository.begin().await?;
        let (sender, mut parts) = mpsc::channel::<(Bytes, OwnedSemaphorePermit)>(1);
        let filling = self.fill(upload.part(), sender);
        let sending = async {
            while let Some((part, _held)) = parts.recv().await {
                upload.send(part).await?;
            }
            Ok(upload)
        };
        let (uploaded, upload) = tokio::try_join!(filling, sending)?;
        upload.finish(&uploaded.digest).await?;
        Ok(uploaded)
    }

    async fn fill(
        mut self,
        least: usize,
        parts: mpsc::Sender<(Bytes, OwnedSemaphorePermit)>,
    ) -> Result<Uploaded, Error> {
        let (mut digester, mut size) = (Digester::default(), 0);
        let (mut part, mut permit) = (BytesMut::new(), None);
        while let Some(block) = self.blocks.recv().await {
            let (bytes, _held) = match block {
                Block::AsItIs(bytes, held) => (bytes, held),
                Block::Compressing(compressing, held) => {
                    (compressing.await.map_err(|_| Error::Compression)?.into(), held)
                }
                Block::End(key) => {
                    if let Some(permit) = permit {
                        let _ = parts.send((part.freeze(), permit)).await;
                    }
                    return Ok(Uploaded { key, digest: digester.finish(), size });
                }
            };
            if permit.is_none() {
                let free = Arc::clone(&self.bounds.parts).acquire_owned().await;
                permit = Some(free.map_err(|_| Error::Compression)?);
                part.reserve(least + BLOCK);
            }
            digester.update(&bytes);
            size += bytes.len() as u64;
            part.extend_from_slice(&bytes);
            if part.len() >= least
                && let Some(permit) = permit.take()
            {
                // That nobody takes it is told by whoever sends.
                let _ = parts.send((std::mem::take(&mut part).freeze(), permit)).await;
            }
        }
        Err(Error::Export("it ends in the middle of a layer"))
    }
}
