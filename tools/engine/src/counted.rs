//! How much an engine may send as the answer to one request.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use slipway_untrusted::Limit;
use slipway_untrusted::limit::HTTP_HEAD;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The room for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Room {
    /// The answer is a stream that may go on for ever; whoever reads it bounds its parts.
    Stream,
    /// All of it, its head apart, is within this limit.
    Whole(&'static Limit),
}

/// What is left of a room.
#[derive(Debug, Clone)]
pub(crate) struct Left(Arc<Mutex<Option<Budget>>>);

#[derive(Debug, Clone, Copy)]
struct Budget {
    bytes: u64,
    limit: &'static Limit,
}

impl Left {
    fn new(room: Room) -> Self {
        Self(Arc::new(Mutex::new(match room {
            Room::Stream => None,
            // Chunks have lines of their own, which are not worth counting apart.
            Room::Whole(limit) => Some(Budget { bytes: limit.bytes + HTTP_HEAD.bytes, limit }),
        })))
    }

    /// From now on there is this much and not more.
    pub(crate) fn narrow(&self, limit: &'static Limit) {
        let mut budget = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *budget = Some(Budget { bytes: limit.bytes, limit });
    }

    fn take(&self, count: usize) -> io::Result<()> {
        let mut budget = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(budget) = budget.as_mut() else { return Ok(()) };
        let left = budget.bytes.checked_sub(count as u64);
        budget.bytes = left.ok_or_else(|| budget.limit.exceeded())?;
        Ok(())
    }
}

/// A stream of which no more is read than there is room for.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    stream: S,
    left: Left,
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S, room: Room) -> (Self, Left) {
        let left = Left::new(room);
        (Self { stream, left: left.clone() }, left)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.left.take(buffer.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_untrusted::TooLarge;
    use slipway_untrusted::limit::ENGINE_REFUSAL;
    use tokio::io::AsyncReadExt as _;

    async fn read(room: Room, narrow: bool) -> io::Result<u64> {
        let (stream, left) = Counted::new(tokio::io::repeat(b'x').take(1 << 20), room);
        if narrow {
            left.narrow(&ENGINE_REFUSAL);
        }
        let mut stream = stream;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    }

    #[tokio::test]
    async fn no_more_is_read_than_there_is_room_for() {
        assert_eq!(read(Room::Stream, false).await.unwrap(), 1 << 20);
        let too_large = |error: io::Error| {
            let inner = error.get_ref().unwrap().downcast_ref::<TooLarge>().unwrap();
            inner.bytes
        };
        for (room, narrow) in [(Room::Whole(&ENGINE_REFUSAL), false), (Room::Stream, true)] {
            assert_eq!(too_large(read(room, narrow).await.unwrap_err()), ENGINE_REFUSAL.bytes);
        }
    }
}
