//! Going through an HTTP proxy.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Uri};
use http_body_util::Full;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;

use crate::connect::{Deadline, Dial, Place, Stream};
use crate::exchange::http1_builder;
use crate::{Address, FormError, Phase, ProbeError};

/// Which proxy a connection goes through: always the same, or what the variables of the environment
/// say (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`, as curl reads them).
#[derive(Clone)]
pub struct Proxies(Arc<Matcher>);

impl fmt::Debug for Proxies {
    /// Not what they are: there may be passwords in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("proxies")
    }
}

/// One proxy.
pub(crate) struct Proxy {
    pub(crate) address: Address,
    /// The value of the header that proves who asks.
    pub(crate) login: Option<HeaderValue>,
}

impl FromStr for Proxies {
    type Err = FormError;

    /// Reads `env`, or `[http://][USER:PASSWORD@]HOST:PORT`. What is wrong is told without the text,
    /// which may hold a password.
    fn from_str(text: &str) -> Result<Self, FormError> {
        if text == "env" {
            return Ok(Self(Arc::new(Matcher::from_env())));
        }
        let wrong = || FormError("write http://HOST:PORT, or env for what http_proxy says".into());
        let proxies = Self(Arc::new(Matcher::builder().all(text.to_owned()).build()));
        let any = Address { host: "any.invalid".to_owned(), port: 443 };
        match proxies.of(&any, true) {
            Ok(Some(_)) => Ok(proxies),
            _ => Err(wrong()),
        }
    }
}

impl Proxies {
    /// The proxy for an address, if it goes through one.
    pub(crate) fn of(&self, address: &Address, tls: bool) -> Result<Option<Proxy>, ProbeError> {
        let scheme = if tls { "https" } else { "http" };
        let Ok(uri) = format!("{scheme}://{address}/").parse::<Uri>() else { return Ok(None) };
        self.0.intercept(&uri).map(|found| proxy(&found)).transpose()
    }
}

fn proxy(found: &Intercept) -> Result<Proxy, ProbeError> {
    let uri = found.uri();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if uri.scheme_str() != Some("http") || host.is_empty() {
        let scheme = uri.scheme_str().unwrap_or("unknown");
        let reason = format!("a proxy of the kind {scheme} cannot be used, only http");
        return Err(ProbeError::Way { reason, local: true });
    }
    let address = Address { host, port: uri.port_u16().unwrap_or(80) };
    Ok(Proxy { address, login: found.basic_auth().cloned() })
}

impl Proxy {
    /// Opens a connection to the proxy itself.
    pub(crate) async fn open(
        &self,
        dial: &dyn Dial,
        deadline: &Deadline,
    ) -> Result<Stream, ProbeError> {
        let opened = dial.open(Place::Port(&self.address), deadline).await;
        opened.map_err(|error| self.failed(&error.to_string(), true))
    }

    /// Opens a tunnel to an address (RFC 9110, section 9.3.6).
    pub(crate) async fn tunnel(
        &self,
        to: &Address,
        dial: &dyn Dial,
        deadline: &Deadline,
    ) -> Result<Stream, ProbeError> {
        let stream = self.open(dial, deadline).await?;
        match deadline.within(Phase::Connecting, self.connect(to, stream)).await? {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(status)) => {
                // A gateway's errors are about the service, all others about the asking.
                let local = !matches!(status.as_u16(), 502..=504);
                let status = status.as_u16();
                Err(self.failed(&format!("status {status} to CONNECT {to}"), local))
            }
            Err(error) => {
                let error = ProbeError::from_hyper(&error, Phase::Connecting);
                Err(self.failed(&error.to_string(), true))
            }
        }
    }

    async fn connect(
        &self,
        to: &Address,
        stream: Stream,
    ) -> hyper::Result<Result<Stream, http::StatusCode>> {
        let mut request = http::Request::new(Full::new(Bytes::new()));
        *request.method_mut() = Method::CONNECT;
        let authority = to.to_string();
        if let Ok(uri) = Uri::builder().authority(authority.as_str()).build() {
            *request.uri_mut() = uri;
        }
        if let Ok(host) = HeaderValue::from_str(&authority) {
            request.headers_mut().insert(HOST, host);
        }
        if let Some(login) = &self.login {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login.clone());
        }
        let (mut sender, connection) = http1_builder().handshake(TokioIo::new(stream)).await?;
        let asking = async {
            let answer = sender.send_request(request).await?;
            if !answer.status().is_success() {
                return Ok(Err(answer.status()));
            }
            let stream = hyper::upgrade::on(answer).await?;
            Ok(Ok(Box::new(TokioIo::new(stream)) as Stream))
        };
        // The connection ends when it has handed the stream over.
        let mut asking = std::pin::pin!(asking);
        tokio::select! {
            biased;
            answer = &mut asking => answer,
            _ = connection.with_upgrades() => asking.await,
        }
    }

    fn failed(&self, reason: &str, local: bool) -> ProbeError {
        ProbeError::Way { reason: format!("the proxy {}: {reason}", self.address), local }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_its_login_and_never_shown() {
        let proxies: Proxies = "http://me:hunter2@proxy.example:3128".parse().unwrap();
        let any = Address { host: "a".to_owned(), port: 1 };
        for tls in [false, true] {
            let proxy = proxies.of(&any, tls).unwrap().unwrap();
            assert_eq!(proxy.address.to_string(), "proxy.example:3128");
            assert!(proxy.login.is_some());
        }
        for bad in ["socks5://me:hunter2@a:1", "", "http://", "http://me:hunter2@"] {
            let error = bad.parse::<Proxies>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
