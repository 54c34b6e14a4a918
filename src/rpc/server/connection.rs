//! The life of one connection: handshake, requests, farewell.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::limits;
use crate::rpc::registry::Caller;
use crate::rpc::server::Shared;
use crate::rpc::server::answer::answer;
use crate::rpc::server::answer_room::ConnectionRoom;
use crate::rpc::server::place::{Phase, Place};
use crate::rpc::server::places::Taken;
use crate::rpc::socket::Socket;

/// Most headers of a request; browsers send about twenty.
const HEADERS_MAX: usize = 64;

/// Largest head of a request that is kept, and largest piece of a body that is read at once, in
/// bytes.
const READ_BUFFER_SIZE: usize = 256 << 10;

/// How long a peer that sends a body nobody wants may go on, so that it reads the answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves a connection until either side ends it. Nothing that happens here concerns another.
pub(super) async fn serve(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    taken: Taken,
    shared: Arc<Shared>,
) {
    let taken = Arc::new(taken);
    let mut lifetime = pin!(live(stream, &shared, &taken));
    let outcome = tokio::select! {
        biased;
        outcome = &mut lifetime => outcome,
        () = shared.cut.cancelled() => Err("cut, because the server stops".to_owned()),
        () = taken.place().cut() => Err("it was slow while others waited for it".to_owned()),
    };
    if let Err(reason) = outcome {
        tracing::debug!(%peer, "connection ended: {reason}");
    }
}

async fn live(
    stream: std::net::TcpStream,
    shared: &Arc<Shared>,
    taken: &Arc<Taken>,
) -> Result<(), String> {
    let patience = &shared.limits;
    let stream = TcpStream::from_std(stream).map_err(|error| error.to_string())?;
    // Answers are written whole; waiting for more to send with them only delays them.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    // An idle connection may last for ever, but not longer than its peer's machine.
    sockopt::set_socket_keepalive(&stream, true).map_err(|error| error.to_string())?;
    sockopt::set_tcp_keepidle(&stream, limits::KEEPALIVE_IDLE)
        .map_err(|error| error.to_string())?;
    let guarded = Socket::new(stream, patience.stall_timeout);
    let handshake =
        tokio::time::timeout(patience.handshake_timeout, shared.acceptor.accept(guarded));
    let tls = tokio::select! {
        biased;
        () = shared.shutdown.cancelled() => return Ok(()),
        tls = handshake => tls
            .map_err(|_| "the TLS handshake took too long".to_owned())?
            .map_err(|error| format!("no TLS handshake: {error}"))?,
    };
    let is_body_refused = Arc::new(AtomicBool::new(false));
    let (mut tls, served) = requests(tls, shared, taken, &is_body_refused).await;
    let farewell = async {
        tls.shutdown().await?;
        if is_body_refused.load(Ordering::Relaxed) {
            // Closing with unread bytes would reset the connection, and the peer would lose the
            // answer that says why.
            tokio::io::copy(&mut tls, &mut tokio::io::sink()).await?;
        }
        std::io::Result::Ok(())
    };
    // The farewell of TLS is sent in any case, above all to a peer that was idle for too long: the
    // libraries of Python take a connection that ends without it for a failure of the next call.
    let farewell = tokio::time::timeout(LINGER_TIMEOUT, farewell).await;
    served?;
    match farewell {
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

/// Returns when the connection is to end after the request under way, if there is one.
async fn wanted(shared: &Shared, place: &Place) {
    tokio::select! {
        () = shared.shutdown.cancelled() => {}
        () = place.closed() => {}
    }
}

/// Returns when a connection that was told to leave while it was idle has had time for that, and still
/// does nothing else: its peer does not take the rest of an answer.
async fn overstayed(place: &Place) {
    tokio::time::sleep(LINGER_TIMEOUT).await;
    if place.is_in(Phase::Idle) {
        return;
    }
    place.stays();
    std::future::pending().await
}

/// Returns when the patience with a connection on which no request has begun is over.
async fn overdue(has_begun: &AtomicBool, head_timeout: Duration) {
    tokio::time::sleep(head_timeout).await;
    if has_begun.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// Answers requests until one side has enough.
async fn requests(
    tls: TlsStream<Socket>,
    shared: &Arc<Shared>,
    taken: &Arc<Taken>,
    is_body_refused: &Arc<AtomicBool>,
) -> (TlsStream<Socket>, Result<(), String>) {
    let place = taken.place();
    let room = Arc::new(ConnectionRoom::new(Arc::clone(shared), Arc::clone(taken)));
    let caller = Caller::new(place.peer(), Arc::<ConnectionRoom>::clone(&room));
    let has_begun = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        has_begun.store(true, Ordering::Relaxed);
        place.begin(Phase::Receiving);
        let (room, caller) = (Arc::clone(&room), caller.clone());
        let is_body_refused = Arc::clone(is_body_refused);
        Box::pin(async move {
            let (response, is_refused) = answer(request, &room, caller).await;
            is_body_refused.fetch_or(is_refused, Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        // The patience is our own: short before the first request, without end between two.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BUFFER_SIZE)
        // A peer that has sent its request and closes its side still gets the answer; and no
        // call is dropped half-way because its caller has gone.
        .half_close(true)
        .serve_connection(TokioIo::new(tls), service);
    let mut overdue = pin!(overdue(&has_begun, shared.limits.head_timeout));
    let mut overstayed = pin!(overstayed(place));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            biased;
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => {
                let tls = connection.into_parts().io.into_inner();
                return (tls, ended.map_err(|error| error.to_string()));
            }
            () = overdue.as_mut() => {
                let tls = connection.into_parts().io.into_inner();
                return (tls, Err("no request came".to_owned()));
            }
            () = overstayed.as_mut(), if place.is_leaving() => {
                let tls = connection.into_parts().io.into_inner();
                return (tls, Err("its place was needed, and it did not end".to_owned()));
            }
            // An answer that is still under way is sent before the end.
            () = wanted(shared, place), if !is_stopping => {
                is_stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
}
