//! A small HTTP/1.1 client for one peer: the Docker Engine, or this exporter itself in `healthcheck`.
//!
//! Supported: `GET`, keep-alive, `Content-Length`, `Transfer-Encoding: chunked` (extensions and
//! trailers are skipped), bodies that end with the connection, interim `1xx` answers.
//!
//! Not supported, on purpose: any other method (nothing here could change anything in Docker),
//! request bodies, redirects, compression, pipelining, TLS, upgrades.
//!
//! Every length is bounded by a constant in [`limits`], every wait by an absolute deadline that a
//! drip of bytes does not extend. The code is generic over [`Stream`](crate::deadline::Stream), so that tests use
//! `UnixStream::pair()` and recorded bytes.

mod body;
mod connection;
mod error;
mod head;

pub use body::Body;
pub use connection::Connection;
pub use error::{Error, Limit};
pub use head::Head;

/// The bounds on what a peer may send, each with its reason.
pub mod limits {
    /// Status line and headers of one answer, in bytes. Engines send about 300.
    pub const HEAD_BYTES: usize = 32 * 1024;
    /// Headers of one answer. Engines send about 10, proxies a few more.
    pub const HEADERS: usize = 100;
    /// A chunk's size line with its extensions, or a trailer line, in bytes.
    pub const LINE_BYTES: usize = 4 * 1024;
    /// Lines of trailers after the last chunk. Engines send none.
    pub const TRAILERS: usize = 100;
    /// Interim answers (`1xx`) before the final one. Engines send none.
    pub const INTERIM_ANSWERS: usize = 10;
    /// One body that is read whole, in bytes: 100,000 containers with many labels are about 150 MB.
    pub const BODY_BYTES: usize = 256 * 1024 * 1024;
}
