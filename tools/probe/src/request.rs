//! What is asked.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use http_body_util::Full;

use crate::target::path_of;
use crate::{FormError, Login, Url};

/// One request, and how long it may take. `Debug` shows neither the body nor a value that was
/// marked sensitive.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Hidden,
    /// How long the whole try may take: connecting, TLS, the answer's head and its body.
    pub timeout: Duration,
}

/// Bytes that may hold a secret.
#[derive(Clone, Default)]
pub(crate) struct Hidden(pub(crate) Bytes);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Why a request cannot be made.
pub type RequestError = FormError;

impl Request {
    /// A GET request for `path` (with its query, if it has one), with the Host header given.
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
        Ok(Self { method: Method::GET, path, headers, body: Hidden::default(), timeout })
    }

    /// The request for a URL, with the user and password that it holds (RFC 7617).
    ///
    /// # Errors
    /// When its host or path cannot stand in a request.
    pub fn of_url(url: &Url, timeout: Duration) -> Result<Self, RequestError> {
        let mut request = Self::new(&url.host_header(), &url.path, timeout)?;
        if let Some(login) = url.login.as_ref().and_then(Login::header) {
            request.headers.insert(AUTHORIZATION, login);
        }
        Ok(request)
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

    /// Sets another method than GET.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets a body. It is taken for a secret, too.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Hidden(body.into());
        self
    }

    /// As HTTP/1.1 has it: the path in the first line, the host in a header.
    pub(crate) fn build(&self) -> http::Request<Full<Bytes>> {
        let mut request = self.bare();
        if let Ok(uri) = self.path.parse() {
            *request.uri_mut() = uri;
        }
        // Each try shall reach the service as a newcomer does.
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        request
    }

    /// As a proxy has it: the whole URL in the first line.
    pub(crate) fn for_proxy(
        &self,
        url: &Url,
        login: Option<&HeaderValue>,
    ) -> http::Request<Full<Bytes>> {
        let mut request = self.build();
        let whole = format!("http://{}{}", url.address, self.path);
        if let Ok(uri) = whole.parse() {
            *request.uri_mut() = uri;
        }
        if let Some(login) = login {
            request.headers_mut().insert(http::header::PROXY_AUTHORIZATION, login.clone());
        }
        request
    }

    /// As HTTP/2 has it: scheme and host are fields of their own, and there is nothing to say of the
    /// connection (RFC 9113, section 8.3.1).
    pub(crate) fn build_http2(&self, url: &Url) -> http::Request<Full<Bytes>> {
        let mut request = self.bare();
        let host = request.headers_mut().remove(HOST);
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scheme = if url.scheme == crate::Scheme::Https { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(self.path.as_str());
        if let Ok(uri) = uri.build() {
            *request.uri_mut() = uri;
        }
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]
        {
            request.headers_mut().remove(name);
        }
        request
    }

    fn bare(&self) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(self.body.0.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
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

    fn url(text: &str) -> Url {
        let Ok(crate::Target::Http(url)) = text.parse() else { panic!("{text}") };
        url
    }

    #[test]
    fn the_login_of_a_url_is_sent_and_not_shown() {
        let url = url("http://me:hunter2@a/");
        let request = Request::of_url(&url, Duration::from_secs(1)).unwrap();
        // printf me:hunter2 | base64
        assert_eq!(request.build().headers()["authorization"], "Basic bWU6aHVudGVyMg==");
        let told = format!("{request:?} {url:?} {url}");
        assert!(!told.contains("hunter2") && !told.contains("bWU6"), "{told}");
    }

    #[test]
    fn http2_has_no_host_and_no_connection() {
        let of = url("h2c://a:81/x?y");
        let request = Request::of_url(&of, Duration::from_secs(1)).unwrap();
        let request = request.header("Host", "b.example").unwrap().header("Upgrade", "x").unwrap();
        let built = request.build_http2(&of);
        assert_eq!(built.uri(), "http://b.example/x?y");
        assert!(!built.headers().contains_key("host") && !built.headers().contains_key("upgrade"));
    }
}
