//! BuildKit's control API, spoken over the engine's `POST /grpc`.
//!
//! `POST /build` takes a part of what BuildKit can do; named contexts, caches
//! elsewhere and single stages built anew are asked for here only. The engine
//! runs the same code for both.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{
    ListWorkersRequest, SolveRequest, StatusRequest, StatusResponse,
};
use http::{HeaderName, Method, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use slipway_engine::{Engine, Request};
use slipway_untrusted::limit::BUILD_STATUS;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::error::Error;

/// How long the account of a build may go on after the build has ended.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// The label of a worker that tells the address for `host-gateway` (Docker 23 and later).
const HOST_GATEWAY: &str = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";

/// A connection to the control API. Dropping it ends what it asked for.
pub(crate) struct Control {
    client: ControlClient<Channel>,
}

/// Why a build ended without a result.
#[derive(Debug)]
pub(crate) enum SolveError {
    /// BuildKit's own words.
    Refused(String),
    /// Everything else.
    Other(Error),
}

impl Control {
    /// Opens a connection.
    pub(crate) async fn open(engine: &Engine) -> Result<Self, Error> {
        let request = Request::new(Method::POST, "/grpc")
            .header(HeaderName::from_static("connection"), "Upgrade")?
            .header(HeaderName::from_static("upgrade"), "h2c")?;
        let mut stream = Some(TokioIo::new(engine.upgrade(request).await?));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = stream.take();
            async move { stream.ok_or_else(|| io::Error::other("the connection was closed")) }
        });
        // A failure comes in a header, and may quote a whole instruction.
        let channel = Endpoint::from_static("http://buildkit")
            .http2_max_header_list_size(u32::try_from(BUILD_STATUS.bytes).unwrap_or(u32::MAX))
            .connect_with_connector(connector)
            .await
            .map_err(|error| broken(&error))?;
        let message_max = usize::try_from(BUILD_STATUS.bytes).unwrap_or(usize::MAX);
        Ok(Self { client: ControlClient::new(channel).max_decoding_message_size(message_max) })
    }

    /// Builds, hands every report to `each`, and answers what the exporter told.
    pub(crate) async fn solve(
        &self,
        request: SolveRequest,
        mut each: impl FnMut(StatusResponse),
    ) -> Result<HashMap<String, String>, SolveError> {
        let watched = StatusRequest { r#ref: request.r#ref.clone() };
        let (mut solver, mut watcher) = (self.client.clone(), self.client.clone());
        let mut solving = std::pin::pin!(solver.solve(request));
        let mut watching = std::pin::pin!(async {
            // The account is for people: one that breaks off ends nothing.
            let Ok(reports) = watcher.status(watched).await else { return };
            let mut reports = reports.into_inner();
            while let Ok(Some(report)) = reports.message().await {
                each(report);
            }
        });
        let solved = tokio::select! {
            solved = &mut solving => {
                let _late = tokio::time::timeout(LAST_WORDS, watching).await;
                solved
            }
            () = &mut watching => solving.await,
        };
        match solved {
            Ok(answer) => Ok(answer.into_inner().exporter_response),
            Err(status) => Err(refused(&status)),
        }
    }

    /// The address that `host-gateway` stands for: the engine's own on the network of its
    /// containers. The builder tells it from Docker 23 on; before, it is that of the bridge.
    pub(crate) async fn host_gateway(&self, engine: &Engine) -> Result<String, Error> {
        let workers = self.client.clone().list_workers(ListWorkersRequest::default()).await;
        let mut workers = workers.map(|answer| answer.into_inner().record).into_iter().flatten();
        let told = workers.find_map(|mut worker| worker.labels.remove(HOST_GATEWAY));
        // An engine without a bridge tells `<nil>`.
        if let Some(told) = told.filter(|told| told.parse::<IpAddr>().is_ok()) {
            return Ok(told);
        }
        let unknown = |why: &str| Error::EngineCannot {
            option: "--add-host",
            why: format!("it {why}, which host-gateway stands for"),
            hint: "give the address itself",
        };
        let asked = engine.json::<Network>(Request::new(Method::GET, "/networks/bridge")).await;
        let bridge = match asked {
            Err(slipway_engine::Error::NotFound { .. }) => return Err(unknown("has no bridge")),
            asked => asked?,
        };
        let mut ranges = bridge.ipam.config.into_iter().flatten();
        ranges.find_map(|range| range.gateway).ok_or_else(|| unknown("tells no bridge's address"))
    }
}

/// An excerpt of a network's description.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    #[serde(rename = "IPAM")]
    ipam: Ipam,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    config: Option<Vec<Range>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    gateway: Option<String>,
}

fn refused(status: &Status) -> SolveError {
    // A status of the engine's has no source: that is how one is known which the connection made.
    match std::error::Error::source(status) {
        Some(source) => SolveError::Other(broken(source)),
        None => SolveError::Refused(status.message().to_owned()),
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    slipway_engine::Error::Interrupted { why: deepest.to_string() }.into()
}
