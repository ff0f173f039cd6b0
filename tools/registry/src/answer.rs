//! An answer that has been read to its end.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use crate::origin::shown;
use crate::{Error, fault, retry};

/// Status, headers and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header's text.
    pub(crate) fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers.get(name.into())?.to_str().ok()
    }

    /// How long the registry asks to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry::retry_after(self.header(RETRY_AFTER)?, Timestamp::now())
    }

    /// The answer, if it is a good one.
    pub(crate) fn good(self, registry: &str, action: &str) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(self.refusal(registry, action))
    }

    /// What an answer other than 2xx means.
    pub(crate) fn refusal(&self, registry: &str, action: &str) -> Error {
        if self.status.is_redirection()
            && let Some(to) = self.header(LOCATION)
        {
            let (registry, action, to) = (registry.into(), action.into(), shown(to).into());
            return Error::Redirected { registry, action, to };
        }
        let (fault, message) = fault::read(self.status.as_u16(), &self.body);
        let (registry, action, message) = (registry.into(), action.into(), message.into());
        Error::Refused { registry, fault, action, message }
    }
}
