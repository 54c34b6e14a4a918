//! Making connections, in limited time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::limits;
use crate::rpc::socket::Socket;
use crate::rpc::tls::Trust;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Makes TLS connections to servers; each takes at most [`limits::CONNECT_TIMEOUT`].
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<Tcp>,
}

impl Connector {
    pub(super) fn new(trust: &Trust) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        // A peer that has gone without a word must not be waited for for ever.
        http.set_keepalive(Some(limits::KEEPALIVE_IDLE));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(trust.config())
            .https_only()
            .enable_http1()
            .wrap_connector(Tcp { http });
        Self { https }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<Socket>>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connecting = self.https.call(server);
        Box::pin(async move {
            match tokio::time::timeout(limits::CONNECT_TIMEOUT, connecting).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let limit = limits::CONNECT_TIMEOUT;
                    Err(format!("no connection within {limit:?}").into())
                }
            }
        })
    }
}

/// Makes the TCP connections below those.
#[derive(Clone)]
struct Tcp {
    http: HttpConnector,
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<Socket>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connecting = self.http.call(server);
        Box::pin(async move {
            let stream = connecting.await?.into_inner();
            Ok(TokioIo::new(Socket::new(stream, limits::STALL_TIMEOUT)))
        })
    }
}
