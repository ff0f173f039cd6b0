//! What is asked.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT,
};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::Full;

use crate::target::path_of;
use crate::{FormError, ProbeError, Url};

/// One request, and how long it may take. `Debug` shows neither the body nor a value that was
/// marked sensitive.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Hidden,
    /// How long the whole try may take: connecting, TLS, the answer's head and its body.
    pub timeout: Duration,
}

/// Bytes that may hold a secret.
#[derive(Clone, Default)]
struct Hidden(Bytes);

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

    /// The request that follows a redirect, as far as the answer is one (RFC 9110, section 15.4).
    ///
    /// What was meant for one origin is not told to another: there only the headers go that say
    /// nothing of it.
    pub(crate) fn redirected(
        &self,
        from: &Url,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<(Url, Self)>, ProbeError> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(location) = headers.get(LOCATION) else { return Ok(None) };
        let location = String::from_utf8_lossy(location.as_bytes());
        let to = joined(from, &location)
            .ok_or_else(|| ProbeError::BadRedirect { to: crate::json::cut(&location) })?;
        let mut next = Self { path: to.path.clone(), ..self.clone() };
        let keeps = matches!(status.as_u16(), 307 | 308)
            || matches!(self.method, Method::GET | Method::HEAD);
        if !keeps {
            next.method = Method::GET;
            next.body = Hidden::default();
            next.headers.remove(CONTENT_TYPE);
        }
        let same =
            (from.scheme, &from.address, &from.socket) == (to.scheme, &to.address, &to.socket);
        if !same {
            next.headers.clear();
            let body = (!next.body.0.is_empty()).then_some(CONTENT_TYPE);
            for name in [USER_AGENT, ACCEPT].into_iter().chain(body) {
                if let Some(value) = self.headers.get(&name) {
                    next.headers.insert(name, value.clone());
                }
            }
            let host = HeaderValue::from_str(&to.host_header());
            let host = host.map_err(|_| ProbeError::BadRedirect { to: to.to_string() })?;
            next.headers.insert(HOST, host);
        }
        Ok(Some((to, next)))
    }
}

/// Where a redirect leads, whole or relative to where it came from.
fn joined(from: &Url, location: &str) -> Option<Url> {
    // The crate reads URLs as browsers do; `h2c` is a scheme of ours.
    let scheme = if from.scheme == crate::Scheme::Https { "https" } else { "http" };
    let base = url::Url::parse(&format!("{scheme}://{}{}", from.address, from.path)).ok()?;
    let joined = base.join(location).ok()?;
    let crate::Target::Http(mut to) = joined.as_str().parse().ok()? else { return None };
    if joined.origin() == base.origin() {
        to.scheme = from.scheme;
        to.socket.clone_from(&from.socket);
    }
    Some(to)
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

    /// Where a redirect of a request with a secret leads, and what is sent there.
    fn follow(from: &str, status: u16, to: &'static str) -> Option<(String, Request)> {
        let from = url(from);
        let request = Request::of_url(&from, Duration::from_secs(1)).unwrap();
        let request = request.header("authorization", "hunter2").unwrap();
        let request = request.header("host", "other.example").unwrap();
        let request = request.method(Method::POST).body("x=1");
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(to))]);
        let status = StatusCode::from_u16(status).unwrap();
        let followed = request.redirected(&from, status, &headers).unwrap();
        followed.map(|(to, request)| (to.to_string(), request))
    }

    #[test]
    fn a_redirect_is_followed_as_http_has_it() {
        let (to, request) = follow("http://a:8000/x/y?z", 302, "../w?q=1").unwrap();
        assert_eq!(to, "http://a:8000/w?q=1");
        assert_eq!((request.method.clone(), request.body.0.len()), (Method::GET, 0));
        let (_, request) = follow("http://a/", 307, "/b").unwrap();
        assert_eq!((request.method.clone(), request.body.0.len()), (Method::POST, 3));
        assert_eq!(request.headers["authorization"], "hunter2");
        assert_eq!(request.headers["host"], "other.example");
        let (to, _) = follow("http+unix:///run/a.sock:/x", 301, "http://localhost/y").unwrap();
        assert_eq!(to, "http+unix:///run/a.sock:/y");
        assert!(follow("http://a/", 304, "/b").is_none());
    }

    #[test]
    fn another_origin_is_told_no_secret() {
        for to in ["http://b/", "https://a/", "//a:81/", "http://a.example/"] {
            let (_, request) = follow("http://a/", 308, to).unwrap();
            assert_eq!(request.headers.get("authorization"), None, "{to}");
            assert_ne!(request.headers["host"], "other.example", "{to}");
        }
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
