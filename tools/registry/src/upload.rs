//! An upload in parts, which goes on where it was when a connection breaks.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};

use crate::answer::Answer;
use crate::error::{Detour, Error};
use crate::origin::{Origin, Place};
use crate::repository::Repository;
use crate::retry;
use crate::transport::{Call, query};

const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// Amazon ECR takes no part below 5 MiB but the last one, and none above 20 MiB (Amazon ECR API
/// Reference, UploadLayerPart).
const PART: usize = 6 * 1024 * 1024;
const PART_MAX: usize = 20 * 1024 * 1024;

/// An upload that was begun.
pub struct Upload {
    repository: Repository,
    path: String,
    sent: u64,
    part: usize,
}

impl Upload {
    pub(crate) fn at(repository: &Repository, location: &str) -> Result<Self, Error> {
        let path = follow(repository.origin(), location)?;
        Ok(Self { repository: repository.clone(), path, sent: 0, part: PART })
    }

    /// How large a part has to be at least, but for the last one.
    #[must_use]
    pub fn part(&self) -> usize {
        self.part
    }

    /// Sends the next part.
    ///
    /// # Errors
    /// What the registry refuses; [`Error::UploadLost`] when it has forgotten more than this part.
    pub async fn send(&mut self, part: Bytes) -> Result<(), Error> {
        let begin = self.sent;
        let end = begin + part.len() as u64;
        let mut tries = 0;
        while self.sent < end {
            tries += 1;
            let skipped = usize::try_from(self.sent - begin).unwrap_or(0);
            let error = match self.patch(part.slice(skipped..)).await {
                Ok(()) => continue,
                Err((error, asked)) => {
                    if !error.transient() || tries >= retry::TRIES {
                        return Err(error);
                    }
                    self.repository.pause(tries, asked).await;
                    error
                }
            };
            // What of it has arrived is only known to the registry.
            self.sent = self.arrived().await.map_err(|_| error)?;
            if self.sent < begin || self.sent > end {
                return Err(Error::UploadLost { registry: self.repository.registry().into() });
            }
        }
        Ok(())
    }

    async fn patch(&mut self, body: Bytes) -> Result<(), (Error, Option<Duration>)> {
        let end = self.sent + body.len() as u64;
        let range = format!("{}-{}", self.sent, end - 1);
        let call = Call::new(Method::PATCH, self.path.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .and_then(|call| call.header(CONTENT_RANGE, &range))
            .and_then(|call| call.header(CONTENT_LENGTH, &body.len().to_string()))
            .map_err(|error| (error, None))?
            .body(body);
        let answer = self.repository.once(&call).await;
        let answer = answer.map_err(|error| (error, None))?;
        if !answer.status.is_success() {
            let asked = answer.retry_after();
            return Err((answer.refusal(&self.repository.registry(), "a part of a layer"), asked));
        }
        self.moved(&answer).map_err(|error| (error, None))?;
        self.sent = end;
        Ok(())
    }

    /// Asks how much has arrived.
    async fn arrived(&mut self) -> Result<u64, Error> {
        let call = Call::new(Method::GET, self.path.clone());
        let answer = self.repository.call(&call).await?;
        let answer = answer.good(&self.repository.registry(), "to tell of an upload")?;
        self.moved(&answer)?;
        let range = answer.header(RANGE).unwrap_or("0-0");
        arrived(range)
            .ok_or_else(|| Error::Protocol { what: format!("the range \"{range}\"").into() })
    }

    /// Each answer tells where the next request has to go.
    fn moved(&mut self, answer: &Answer) -> Result<(), Error> {
        if let Some(location) = answer.header(LOCATION) {
            self.path = follow(self.repository.origin(), location)?;
        }
        let least = answer.header(MIN_LENGTH).and_then(|least| least.parse().ok());
        self.part = self.part.max(least.unwrap_or(0)).min(PART_MAX);
        Ok(())
    }

    /// Ends the upload: all parts together have this digest.
    ///
    /// # Errors
    /// What the registry refuses.
    pub async fn finish(self, digest: &str) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Err((error, asked)) = self.put(digest, Bytes::new()).await else { return Ok(()) };
            if !error.transient() || tries >= retry::TRIES {
                return Err(error);
            }
            self.repository.pause(tries, asked).await;
        }
    }

    /// Puts the rest of a blob and ends the upload, once.
    pub(crate) async fn put(
        &self,
        digest: &str,
        body: Bytes,
    ) -> Result<(), (Error, Option<Duration>)> {
        let joint = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{joint}{}", self.path, query([("digest", digest)]));
        let call = Call::new(Method::PUT, path)
            .header(CONTENT_TYPE, "application/octet-stream")
            .and_then(|call| call.header(CONTENT_LENGTH, &body.len().to_string()))
            .map_err(|error| (error, None))?
            .body(body);
        let (error, asked) = match self.repository.once(&call).await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            Ok(answer) => {
                let asked = answer.retry_after();
                (answer.refusal(&self.repository.registry(), "a blob"), asked)
            }
            Err(error) => (error, None),
        };
        // An answer may be lost while the blob is there.
        if error.transient() && matches!(self.repository.blob_size(digest).await, Ok(Some(_))) {
            return Ok(());
        }
        Err((error, asked))
    }

    /// Gives the upload up, as far as the registry lets it.
    pub(crate) async fn abandon(self) {
        let call = Call::new(Method::DELETE, self.path);
        let _ = self.repository.once(&call).await;
    }
}

/// Where the upload goes on: at the registry itself, to which layers and credentials are sent.
fn follow(origin: &Origin, location: &str) -> Result<String, Error> {
    let place = Place::of(origin, location)?;
    if place.origin == *origin {
        return Ok(place.path);
    }
    let (detour, why) = if place.origin.host != origin.host {
        (Detour::Host, ", which is another host")
    } else if place.origin.scheme != origin.scheme {
        (Detour::Scheme, ", which speaks TLS")
    } else {
        (Detour::Port, ", which is another port")
    };
    Err(place.elsewhere(origin, "an upload", detour, why))
}

/// How many bytes `0-N` means: the last one's number is told. A registry that has nothing yet says
/// `0-0`, which would also be one byte; an upload never has one byte only.
pub(crate) fn arrived(range: &str) -> Option<u64> {
    let (_, last) = range.trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    if last == 0 { Some(0) } else { last.checked_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_tells_the_last_byte() {
        assert_eq!(arrived("0-0"), Some(0));
        assert_eq!(arrived("0-99"), Some(100));
        assert_eq!(arrived("bytes=0-99"), Some(100));
        assert_eq!(arrived("x"), None);
        assert_eq!(arrived(&format!("0-{}", u64::MAX)), None);
    }
}
