//! Compressing blocks on all processors, and hashing beside.
//!
//! A layer is cut into blocks, each of which becomes a gzip member or a zstd frame of its own;
//! readers of both formats take their sequence for one stream (RFC 1952, section 2.2; RFC 8878,
//! section 3.1). So blocks of one layer are compressed at once, and no layer is ever held whole.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};
use slipway_registry::Digester;
use tokio::sync::oneshot;

use crate::options::Compression;

/// Small enough to keep all processors busy and memory low, large enough to compress well.
pub(crate) const BLOCK: usize = 512 * 1024;

/// The fastest levels: with any slower one the compression, not the network, is what is waited for.
const GZIP_LEVEL: i32 = 1;
const ZSTD_LEVEL: i32 = 1;

struct Job {
    block: Bytes,
    done: oneshot::Sender<Vec<u8>>,
}

enum Hash {
    Update(Bytes),
    Finish(oneshot::Sender<String>),
}

/// The threads; they end with it.
pub(crate) struct Pool {
    jobs: Sender<Job>,
    /// How many blocks may be on their way at once.
    pub(crate) blocks: usize,
}

/// A block that is being compressed.
pub(crate) type Compressing = oneshot::Receiver<Vec<u8>>;

impl Pool {
    pub(crate) fn new(compression: Compression) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            thread::spawn(move || work(compression, &queue));
        }
        Self { jobs, blocks: 2 * threads + 4 }
    }

    /// Begins to compress a block.
    pub(crate) fn compress(&self, block: Bytes) -> Compressing {
        let (done, compressing) = oneshot::channel();
        // The threads are there as long as this is.
        let _ = self.jobs.send(Job { block, done });
        compressing
    }
}

fn work(compression: Compression, queue: &Mutex<Receiver<Job>>) {
    let mut gzip = Compressor::new(level());
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, done }) = job else { return };
        let compressed = match compression {
            Compression::Gzip => member(&mut gzip, &block),
            Compression::Zstd => frame(&block),
        };
        // Without an answer whoever waits for it sees that the thread has failed.
        if let Some(compressed) = compressed {
            let _ = done.send(compressed);
        }
    }
}

fn level() -> CompressionLvl {
    CompressionLvl::new(GZIP_LEVEL).unwrap_or_else(|_| CompressionLvl::fastest())
}

fn member(gzip: &mut Compressor, block: &[u8]) -> Option<Vec<u8>> {
    let mut to = vec![0; gzip.gzip_compress_bound(block.len())];
    let size = gzip.gzip_compress(block, &mut to).ok()?;
    to.truncate(size);
    Some(to)
}

fn frame(block: &[u8]) -> Option<Vec<u8>> {
    let mut to = Vec::with_capacity(zstd_safe::compress_bound(block.len()));
    zstd_safe::compress(&mut to, block, ZSTD_LEVEL).ok()?;
    Some(to)
}

/// A digest that is made on a thread of its own.
pub(crate) struct Hashing(Sender<Hash>);

impl Hashing {
    pub(crate) fn new() -> Self {
        let (sender, queue) = channel();
        thread::spawn(move || {
            let mut digester = Digester::default();
            for next in queue {
                match next {
                    Hash::Update(bytes) => digester.update(&bytes),
                    Hash::Finish(done) => {
                        let _ = done.send(std::mem::take(&mut digester).finish());
                    }
                }
            }
        });
        Self(sender)
    }

    /// Takes further bytes in.
    pub(crate) fn update(&self, bytes: Bytes) {
        let _ = self.0.send(Hash::Update(bytes));
    }

    /// The digest of all bytes since the last one.
    pub(crate) async fn finish(&self) -> Option<String> {
        let (done, digest) = oneshot::channel();
        let _ = self.0.send(Hash::Finish(done));
        digest.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(data: &[u8], block: usize) -> Vec<Vec<u8>> {
        let mut gzip = Compressor::new(level());
        data.chunks(block).map(|block| member(&mut gzip, block).unwrap()).collect()
    }

    #[tokio::test]
    async fn blocks_come_back_in_the_order_in_which_they_are_asked_for() {
        let pool = Pool::new(Compression::Gzip);
        let blocks: Vec<_> = (0..50_u8).map(|n| pool.compress(vec![n; 1000].into())).collect();
        let mut gunzip = libdeflater::Decompressor::new();
        for (n, block) in (0_u8..).zip(blocks) {
            let mut data = vec![0; 1000];
            gunzip.gzip_decompress(&block.await.unwrap(), &mut data).unwrap();
            assert!(data.iter().all(|byte| *byte == n));
        }
    }

    #[tokio::test]
    async fn digests_follow_one_another() {
        let hashing = Hashing::new();
        hashing.update(Bytes::from_static(b"abc"));
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hashing.finish().await.as_deref(), Some(abc));
        let nothing = hashing.finish().await.unwrap();
        assert!(nothing.starts_with("sha256:e3b0c442"));
    }

    proptest! {
        #[test]
        fn every_block_can_be_read_back(data in proptest::collection::vec(any::<u8>(), 1..5000), block in 1usize..3000) {
            let mut gunzip = libdeflater::Decompressor::new();
            for (member, plain) in members(&data, block).iter().zip(data.chunks(block)) {
                let mut back = vec![0; plain.len()];
                prop_assert_eq!(gunzip.gzip_decompress(member, &mut back), Ok(plain.len()));
                prop_assert_eq!(back.as_slice(), plain);
            }
            let frames = data.chunks(block).flat_map(|block| frame(block).unwrap()).collect::<Vec<_>>();
            let mut back = vec![0; data.len()];
            let size = zstd_safe::decompress(back.as_mut_slice(), &frames).unwrap();
            prop_assert_eq!(&back[..size], data.as_slice());
        }
    }
}
