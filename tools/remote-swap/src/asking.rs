//! Asking a port of a container or of a host whether the application is healthy.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use slipway_probe::{ProbeError, Request};
use tokio::time::timeout;

use crate::host::{Ask, HealthAnswer, Probe, Result};
use crate::remote::Remote;

impl Remote {
    /// Asks through a forwarded port. The error is that of the way to the host.
    pub(crate) async fn ask_health(
        &self,
        ip: IpAddr,
        port: u16,
        ask: &Ask,
        limit: Duration,
    ) -> Result<HealthAnswer> {
        let stream = match timeout(limit, self.stream(ip, port)).await {
            Ok(opened) => match opened? {
                Ok(stream) => stream,
                Err(reason) => return Ok(silent(reason)),
            },
            Err(_) => {
                return Ok(silent(format!("no connection within {} s", limit.as_secs_f32())));
            }
        };
        let Ask::Http { path, tls } = ask else {
            return Ok(HealthAnswer { healthy: true, ..HealthAnswer::default() });
        };
        let place = SocketAddr::new(ip, port).to_string();
        let request = match Request::new(&place, path, limit) {
            Ok(request) => request,
            Err(error) => return Ok(silent(error.to_string())),
        };
        // A stream through a connection that is gone just ends; the next call finds out.
        let answer = match tls {
            true => slipway_probe::unverified(ip, stream, &request).await,
            false => slipway_probe::over(stream, &request).await,
        };
        Ok(match answer {
            Ok(answer) => {
                Probe::Answer { status: answer.status.as_u16(), body: answer.head() }.into()
            }
            Err(error) => HealthAnswer {
                not_http: matches!(error, ProbeError::NotHttp { .. }),
                ..silent(error.to_string())
            },
        })
    }
}

fn silent(reason: String) -> HealthAnswer {
    Probe::Silent { reason }.into()
}
