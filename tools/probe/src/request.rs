//! What is asked.

use std::time::Duration;

use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method};
use http_body_util::Empty;

use crate::target::path_of;
use crate::{FormError, Url};

/// One GET request, and how long it may take. `Debug` shows no value that was marked sensitive.
#[derive(Clone, Debug)]
pub struct Request {
    path: String,
    headers: HeaderMap,
    /// How long the whole try may take: connecting, TLS, the answer's head and its body.
    pub timeout: Duration,
}

/// Why a request cannot be made.
pub type RequestError = FormError;

impl Request {
    /// A request for `path` (with its query, if it has one), with the Host header given.
    ///
    /// # Errors
    /// When `host` or `path` cannot stand in a request.
    pub fn new(host: &str, path: &str, timeout: Duration) -> Result<Self, RequestError> {
        let path = path_of(path).map_err(FormError)?;
        let host = HeaderValue::from_str(host)
            .map_err(|_| FormError(format!("\"{host}\" cannot be sent as the Host header")))?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host);
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("slipway-probe/", env!("CARGO_PKG_VERSION"))),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        Ok(Self { path, headers, timeout })
    }

    /// The request for a URL.
    ///
    /// # Errors
    /// When its host or path cannot stand in a request.
    pub fn of_url(url: &Url, timeout: Duration) -> Result<Self, RequestError> {
        Self::new(&url.host_header(), &url.path, timeout)
    }

    /// Sets a header in the place of what was there, Host and User-Agent included. The value is
    /// taken for a secret: `Debug` does not show it.
    ///
    /// # Errors
    /// When name or value cannot stand in a request. The message holds the name only.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, RequestError> {
        let parsed = HeaderName::try_from(name)
            .map_err(|_| FormError(format!("\"{name}\" is not a header's name")))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            FormError(format!("the value of header {name} has characters that cannot be sent"))
        })?;
        value.set_sensitive(true);
        self.headers.insert(parsed, value);
        Ok(self)
    }

    pub(crate) fn build(&self) -> http::Request<Empty<bytes::Bytes>> {
        let mut request = http::Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        if let Ok(uri) = self.path.parse() {
            *request.uri_mut() = uri;
        }
        *request.headers_mut() = self.headers.clone();
        // Each try shall reach the service as a newcomer does.
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_replaces_what_was_there_and_is_not_shown() {
        let request = Request::new("a:1", "health?x=1", Duration::from_secs(1)).unwrap();
        let request = request.header("host", "b").unwrap().header("X-Key", "hunter2").unwrap();
        let built = request.build();
        assert_eq!(built.uri(), "/health?x=1");
        assert_eq!(built.headers()["host"], "b");
        assert_eq!(built.headers()["connection"], "close");
        assert!(!format!("{request:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_its_value() {
        let request = || Request::new("a", "/", Duration::from_secs(1)).unwrap();
        let error = request().header("x-key", "hun\nter2").unwrap_err().to_string();
        assert!(error.contains("x-key") && !error.contains("ter2"), "{error}");
        assert!(request().header("x key", "v").is_err());
        assert!(Request::new("a\r\nb", "/", Duration::from_secs(1)).is_err());
        assert!(Request::new("a", "/ x", Duration::from_secs(1)).is_err());
    }
}
