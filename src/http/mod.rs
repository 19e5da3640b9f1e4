//! A small HTTP/1.1 client for one peer: the Docker Engine, or this exporter itself in `healthcheck`.
//!
//! Supported: `GET`, keep-alive, `Content-Length`, `Transfer-Encoding: chunked` (extensions and
//! trailers are skipped), bodies that end with the connection, interim `1xx` responses.
//!
//! Not supported, on purpose: any other method (this client cannot change anything in Docker),
//! request bodies, redirects, compression, pipelining, TLS, upgrades.
//!
//! Every length is bounded by a constant in [`limits`], and every wait by an absolute deadline.
//! The code is generic over [`Transport`](crate::deadline::Transport), so tests can use
//! `UnixStream::pair()` and recorded bytes.

mod body;
mod connection;
mod error;
mod head;
mod reader;

pub use body::Body;
pub use connection::Connection;
pub use error::{HttpError, Limit};
pub use head::Head;

/// How much a peer may send.
pub mod limits {
    /// Bytes of one response head: status line and headers. Engines send about 300.
    pub const MAX_HEAD_BYTES: usize = 32 * 1024;
    /// Headers of one response. Engines send about 10, proxies a few more.
    pub const MAX_HEADERS: usize = 100;
    /// Bytes of a chunk's size line, extensions included, or of a trailer line.
    pub const MAX_LINE_BYTES: usize = 4 * 1024;
    /// Trailer lines after the last chunk. Engines send none.
    pub const MAX_TRAILERS: usize = 100;
    /// Interim responses (`1xx`) before the final one. Engines send none.
    pub const MAX_INTERIM_RESPONSES: usize = 10;
    /// Bytes of one body that is read whole. A listing of 100,000 containers with many labels is
    /// about 150 MB.
    pub const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;
}
