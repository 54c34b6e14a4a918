//! The TCP stream below TLS, on both sides of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::limits;

/// Bytes read ahead. rustls asks for 4 KiB at a time (0.23, `DeframerVecBuffer`), which would make
/// 350 system calls of 1 MiB of contents.
const READ_AHEAD_SIZE: usize = 64 << 10;

/// A TCP stream that reads ahead, and on which a write fails if the peer takes nothing for longer than
/// a limit, or so little that it comes to the same: waiting uses the patience up, and what the peer
/// takes at [`limits::BODY_RATE_MIN`] gives as much back.
#[derive(Debug)]
pub(super) struct Socket {
    stream: BufReader<TcpStream>,
    limit: Duration,
    /// What is left of the patience.
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    /// Since when the timer runs, because the last write had to wait.
    waiting: Option<Instant>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, limit: Duration) -> Self {
        let stream = BufReader::with_capacity(READ_AHEAD_SIZE, stream);
        let timer = Box::pin(tokio::time::sleep(limit));
        Self { stream, limit, patience: limit, timer, waiting: None }
    }

    fn watch(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = &progress {
            self.went_on(outcome.as_ref().copied().unwrap_or(0));
            return progress;
        }
        if self.waiting.is_none() {
            let now = Instant::now();
            self.waiting = Some(now);
            self.timer.as_mut().reset(now + self.patience);
        }
        match self.timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the peer does not take what is sent, or too slowly",
            ))),
        }
    }

    /// A write has taken so many bytes.
    fn went_on(&mut self, bytes: usize) {
        if let Some(since) = self.waiting.take() {
            self.patience = self.patience.saturating_sub(since.elapsed());
        }
        if self.patience < self.limit {
            let earned_us = bytes as u64 * 1_000_000 / limits::BODY_RATE_MIN;
            self.patience = (self.patience + Duration::from_micros(earned_us)).min(self.limit);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watch(context, progress)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        this.watch(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
