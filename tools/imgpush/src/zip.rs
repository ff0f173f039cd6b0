//! An archive that is compressed on its way: its blocks become the members of one gzip stream.
//!
//! Engines unpack an archive that they load (gzip since ever, zstd not before Docker 23), and the
//! network between two hosts is seldom as fast as that.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::compress::{BLOCK, Compressing, Pool};
use crate::options::Compression;

/// A part of the archive, or why there are no more.
pub(crate) type Piece = Result<Bytes, io::Error>;

/// The stream in the making.
pub(crate) struct Zip {
    pool: Pool,
    held: BytesMut,
    /// In their order.
    compressing: VecDeque<Compressing>,
    out: mpsc::Sender<Piece>,
}

/// Nobody takes it any more; whoever took it tells why.
pub(crate) struct Gone;

impl Zip {
    pub(crate) fn new(out: mpsc::Sender<Piece>) -> Self {
        let pool = Pool::new(Compression::Gzip);
        Self { pool, held: BytesMut::new(), compressing: VecDeque::new(), out }
    }

    /// Takes further bytes; waits while too much is on its way. `sent` counts what has left.
    pub(crate) async fn put(&mut self, mut data: Bytes, sent: &AtomicU64) -> Result<(), Gone> {
        while !data.is_empty() {
            let take = (BLOCK - self.held.len()).min(data.len());
            self.held.extend_from_slice(&data.split_to(take));
            if self.held.len() == BLOCK {
                self.flush(sent).await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self, sent: &AtomicU64) -> Result<(), Gone> {
        let block = std::mem::replace(&mut self.held, BytesMut::with_capacity(BLOCK));
        self.compressing.push_back(self.pool.compress(block.freeze()));
        if self.compressing.len() > self.pool.blocks {
            self.next(sent).await?;
        }
        Ok(())
    }

    async fn next(&mut self, sent: &AtomicU64) -> Result<(), Gone> {
        let Some(compressing) = self.compressing.pop_front() else { return Ok(()) };
        let member = compressing.await.map_err(|_| io::Error::other("the compression failed"));
        sent.fetch_add(member.as_ref().map_or(0, Vec::len) as u64, Ordering::Relaxed);
        self.out.send(member.map(Bytes::from)).await.map_err(|_| Gone)
    }

    /// The archive is complete.
    pub(crate) async fn end(mut self, sent: &AtomicU64) -> Result<(), Gone> {
        if !self.held.is_empty() {
            self.flush(sent).await?;
        }
        while !self.compressing.is_empty() {
            self.next(sent).await?;
        }
        Ok(())
    }

    /// The archive must not look whole.
    pub(crate) async fn broken(self) {
        let _ = self.out.send(Err(io::Error::other("the export broke"))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn members_are_one_stream_in_its_order() {
        let data: Vec<u8> = (0..3 * BLOCK + 7).map(|n| (n / 1000) as u8).collect();
        let (sender, mut receiver) = mpsc::channel(64);
        let (mut zip, sent) = (Zip::new(sender), AtomicU64::new(0));
        for piece in data.chunks(100_000) {
            assert!(zip.put(Bytes::copy_from_slice(piece), &sent).await.is_ok());
        }
        assert!(zip.end(&sent).await.is_ok());
        let (mut back, mut size) = (Vec::new(), 0);
        let mut gunzip = libdeflater::Decompressor::new();
        while let Some(member) = receiver.recv().await {
            let member = member.unwrap();
            size += member.len();
            let mut block = vec![0; BLOCK];
            let length = gunzip.gzip_decompress(&member, &mut block).unwrap();
            back.extend_from_slice(&block[..length]);
        }
        assert!(back == data);
        assert_eq!(sent.into_inner(), size as u64);
    }

    #[tokio::test]
    async fn what_breaks_does_not_end_like_a_whole_one() {
        let (sender, mut receiver) = mpsc::channel(1);
        Zip::new(sender).broken().await;
        assert!(receiver.recv().await.unwrap().is_err());
    }
}
