//! The HTTP clients by which AWS is asked: no answer is read without end, and what goes over the network
//! in clear is noted.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use aws_sdk_ecr::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;
use slipway_untrusted::clean_line;
use slipway_untrusted::limit::AWS_ANSWER;

/// The first host that was asked in clear, and is not this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct InClear(Arc<OnceLock<String>>);

impl InClear {
    /// What people should know of it.
    pub(crate) fn warning(&self) -> Option<String> {
        self.0.get().map(|host| {
            format!(
                "{} was asked without TLS: whoever is on the way can read the login, and use the \
                 signed request for some minutes",
                clean_line(host)
            )
        })
    }

    fn note(&self, url: &str) {
        if let Some(host) = host_in_clear(url) {
            // Another one is no news.
            let _first = self.0.set(host.to_owned());
        }
    }
}

/// The host of a URL without TLS, unless that is this machine.
fn host_in_clear(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    let here = host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (!here).then_some(host)
}

/// Goes through the proxies of the environment.
pub(crate) fn by_proxy(in_clear: InClear) -> SharedHttpClient {
    let inner = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        builder.tls_provider(rustls()).proxy_config(ProxyConfig::from_env()).build()
    });
    SharedHttpClient::new(Bounded { inner, in_clear: Some(in_clear) })
}

/// For what is on this machine or one hop away, where no proxy leads and nobody speaks TLS.
pub(crate) fn direct() -> SharedHttpClient {
    let inner = Builder::new().tls_provider(rustls()).build_https();
    SharedHttpClient::new(Bounded { inner, in_clear: None })
}

fn rustls() -> Provider {
    Provider::Rustls(CryptoMode::Ring)
}

/// A client whose answers end. The SDK itself reads bodies as long as they come.
#[derive(Debug)]
struct Bounded {
    inner: SharedHttpClient,
    in_clear: Option<InClear>,
}

impl HttpClient for Bounded {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(BoundedConnector {
            inner: self.inner.http_connector(settings, components),
            in_clear: self.in_clear.clone(),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

#[derive(Debug)]
struct BoundedConnector {
    inner: SharedHttpConnector,
    in_clear: Option<InClear>,
}

impl HttpConnector for BoundedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if let Some(in_clear) = &self.in_clear {
            in_clear.note(request.uri());
        }
        let answer = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let most = usize::try_from(AWS_ANSWER.bytes).unwrap_or(usize::MAX);
            Ok(answer.await?.map(|body| SdkBody::from_body_1_x(Limited::new(body, most))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_in_clear_is_told_by_its_host() {
        for (url, host) in [
            ("http://moto:5000/", Some("moto")),
            ("http://user:pw@10.0.0.1/x", Some("10.0.0.1")),
            ("HTTP://[2001:db8::1]:80/", Some("2001:db8::1")),
            ("http://localhost.evil.example", Some("localhost.evil.example")),
            ("http://127.0.0.1:1/", None),
            ("http://[::1]/", None),
            ("http://localhost:4566/", None),
            ("http://ecr.localhost/", None),
            ("https://api.ecr.eu-west-1.amazonaws.com/", None),
            ("", None),
        ] {
            assert_eq!(host_in_clear(url), host, "{url}");
        }
        let in_clear = InClear::default();
        in_clear.note("https://a/");
        assert_eq!(in_clear.warning(), None);
        in_clear.note("http://b/");
        in_clear.note("http://c/");
        assert!(in_clear.warning().unwrap().starts_with("b was asked"));
    }
}
