//! One try, from the name to the answer.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::connect::{Deadline, Dial, Direct, Place, Stream};
use crate::exchange::{by_http1, by_http2};
use crate::json::cut;
use crate::{Address, Answer, FormError, Phase, ProbeError, Proxies, Request, Scheme, Tls, Url};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How services are asked.
pub struct Prober {
    /// The way that connections go.
    pub dial: Box<dyn Dial>,
    /// The proxies that are in between, if any.
    pub proxies: Option<Proxies>,
    /// What TLS trusts and shows.
    pub tls: Tls,
    /// The only version of HTTP to speak; otherwise TLS settles it, and without TLS the scheme does.
    pub version: Option<Version>,
    /// How many redirects are followed.
    pub follow: u8,
}

/// A connection that was opened, and closed at once.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// How long that took.
    pub elapsed: Duration,
    /// When the server's certificate ends, where there is TLS.
    pub certificate_not_after: Option<SystemTime>,
}

impl Default for Prober {
    /// From this machine, with the system's authorities, without proxies and redirects.
    fn default() -> Self {
        Self {
            dial: Box::new(Direct::default()),
            proxies: None,
            tls: Tls::default(),
            version: None,
            follow: 0,
        }
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}

impl FromStr for Version {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        match text {
            "1.1" => Ok(Self::Http1),
            "2" => Ok(Self::Http2),
            _ => Err(FormError(format!("\"{text}\" is none of 1.1 and 2"))),
        }
    }
}

impl Prober {
    /// Asks a URL through a connection of its own, and as many more as there are redirects.
    ///
    /// # Errors
    /// When no whole answer comes within the request's timeout.
    pub async fn http(&self, url: &Url, request: &Request) -> Result<Answer, ProbeError> {
        let deadline = Deadline::new(request.timeout);
        // The certificate of this side is for where the asking begins, as the headers are.
        let mut identified = true;
        let mut answer = self.ask(url, request, identified, &deadline).await?;
        let (mut url, mut request) = (url.clone(), request.clone());
        for _ in 0..self.follow {
            match request.redirected(&url, answer.status, &answer.headers)? {
                Some((to, next)) => {
                    identified &= url.shares_origin(&to);
                    (url, request) = (to, next);
                }
                None => return Ok(answer),
            }
            answer = self.ask(&url, &request, identified, &deadline).await?;
        }
        match request.redirected(&url, answer.status, &answer.headers) {
            Ok(Some((to, _))) if self.follow > 0 => {
                Err(ProbeError::Redirects { limit: self.follow, to: cut(&to.to_string()) })
            }
            _ => Ok(answer),
        }
    }

    async fn ask(
        &self,
        url: &Url,
        request: &Request,
        identified: bool,
        deadline: &Deadline,
    ) -> Result<Answer, ProbeError> {
        if url.scheme == Scheme::Https {
            return self.ask_secured(url, request, identified, deadline).await;
        }
        let http2 = url.scheme == Scheme::H2c || self.version == Some(Version::Http2);
        if let (None, false, Some(proxies)) = (&url.socket, http2, &self.proxies)
            && let Some(proxy) = proxies.of(&url.address, false)?
        {
            let stream = proxy.open(&*self.dial, deadline).await?;
            let asked = request.for_proxy(url, proxy.login.as_ref());
            return by_http1(stream, asked, deadline).await;
        }
        let stream = match &url.socket {
            Some(socket) => self.dial.open(Place::Socket(socket), deadline).await?,
            None => self.stream(&url.address, false, deadline).await?,
        };
        if http2 {
            by_http2(stream, request.build_http2(url), deadline).await
        } else {
            by_http1(stream, request.build(), deadline).await
        }
    }

    async fn ask_secured(
        &self,
        url: &Url,
        request: &Request,
        identified: bool,
        deadline: &Deadline,
    ) -> Result<Answer, ProbeError> {
        let offer: &[&[u8]] = match self.version {
            None => &[b"h2", b"http/1.1"],
            Some(Version::Http1) => &[b"http/1.1"],
            Some(Version::Http2) => &[b"h2"],
        };
        let stream = self.stream(&url.address, true, deadline).await?;
        let secured = self.tls.connect(&url.address.host, stream, offer, identified);
        let secured = deadline.within(Phase::Handshake, secured).await??;
        let http2 = secured.protocol.as_deref() == Some(b"h2");
        let answer = if http2 {
            by_http2(secured.stream, request.build_http2(url), deadline).await
        } else if self.version == Some(Version::Http2) {
            // The server has left the question open.
            return Err(ProbeError::NoHttp2);
        } else {
            by_http1(secured.stream, request.build(), deadline).await
        };
        match (answer, secured.asked) {
            (Ok(answer), _) => Ok(Answer { certificate_not_after: secured.not_after, ..answer }),
            (Err(error @ (ProbeError::Closed { .. } | ProbeError::Broken { .. })), Some(shown)) => {
                Err(ProbeError::Unidentified { reason: error.to_string(), shown })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// A stream to an address, through a proxy where one is in between.
    async fn stream(
        &self,
        address: &Address,
        tls: bool,
        deadline: &Deadline,
    ) -> Result<Stream, ProbeError> {
        if let Some(proxies) = &self.proxies
            && let Some(proxy) = proxies.of(address, tls)?
        {
            return proxy.tunnel(address, &*self.dial, deadline).await;
        }
        self.dial.open(Place::Port(address), deadline).await
    }

    /// Connects to a port, and closes at once.
    ///
    /// # Errors
    /// When nothing accepts the connection within `limit`.
    pub async fn tcp(&self, address: &Address, limit: Duration) -> Result<Opened, ProbeError> {
        let deadline = Deadline::new(limit);
        self.stream(address, false, &deadline).await?;
        Ok(Opened { elapsed: deadline.elapsed(), certificate_not_after: None })
    }

    /// Does a TLS handshake with a port, and closes.
    ///
    /// # Errors
    /// When no certificate that is trusted is shown within `limit`.
    pub async fn tls(&self, address: &Address, limit: Duration) -> Result<Opened, ProbeError> {
        let deadline = Deadline::new(limit);
        let stream = self.stream(address, true, &deadline).await?;
        let secured = self.tls.connect(&address.host, stream, &[], true);
        let secured = deadline.within(Phase::Handshake, secured).await??;
        Ok(Opened { elapsed: deadline.elapsed(), certificate_not_after: secured.not_after })
    }

    /// Connects to a Unix socket, and closes at once.
    ///
    /// # Errors
    /// When nothing accepts the connection within `limit`.
    pub async fn unix(&self, socket: &Path, limit: Duration) -> Result<Opened, ProbeError> {
        let deadline = Deadline::new(limit);
        self.dial.open(Place::Socket(socket), &deadline).await?;
        Ok(Opened { elapsed: deadline.elapsed(), certificate_not_after: None })
    }
}
