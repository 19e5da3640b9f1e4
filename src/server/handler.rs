//! Handles one connection: reads a request, sends the response, and so on until either side closes it.

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::{set_socket_linger, set_socket_send_buffer_size};

use super::Responder;
use super::connections::{ClientConnection, Phase};
use super::request::{RequestBuffer, RequestError, RequestHead};
use super::response::Response;

/// From the connection, or from a request's first byte, to the end of its head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Between a response and the next request. A client that scrapes every 5 s keeps its connection.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(7);

/// A client that takes nothing of its response for this long is gone.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// From the first to the last byte of a response. Prometheus itself gives up earlier.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the server waits for the client to close the connection after the last response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// What the client may send meanwhile.
const MAX_LINGER_BYTES: usize = 256 * 1024;

/// What the client may send before a head is complete, empty lines included.
const MAX_READ_BYTES: usize = 32 * 1024;

const READ_CHUNK_BYTES: usize = 2048;

/// Answers a client's requests. If it fails, dropping the connection resets it.
///
/// # Errors
/// The operating system's, and `TimedOut` if the client is too slow.
pub(super) fn handle(connection: &ClientConnection, responder: &Responder) -> io::Result<()> {
    let client = connection.client();
    client.set_nonblocking(true)?;
    let mut buffer = RequestBuffer::default();
    let mut timeout = HEAD_TIMEOUT;
    while let Some(request) = read_request(client, &mut buffer, timeout)? {
        connection.set_phase(Phase::Processing);
        // The client may have reset the connection: then there is no one to answer.
        if let Some(error) = client.take_error()? {
            return Err(error);
        }
        // While others wait for a place, each connection gets one response only.
        let keeps_alive = request.as_ref().is_ok_and(|it| it.keeps_alive);
        let keeps_alive = keeps_alive && !connection.is_full();
        send(connection, responder.respond(request, keeps_alive)?)?;
        if !keeps_alive {
            break;
        }
        connection.set_phase(Phase::Reading);
        timeout = KEEPALIVE_TIMEOUT;
    }
    close(connection)
}

/// Reads the next request; `None` if the client left, or sent nothing before the timeout.
fn read_request(
    client: &TcpStream,
    buffer: &mut RequestBuffer,
    timeout: Duration,
) -> io::Result<Option<Result<RequestHead, RequestError>>> {
    let mut chunk = [0; READ_CHUNK_BYTES];
    let mut has_begun = false;
    let mut bytes = 0;
    let mut deadline = Instant::now() + timeout;
    loop {
        if let Some(request) = buffer.take().transpose() {
            return Ok(Some(request));
        }
        if bytes > MAX_READ_BYTES {
            return Ok(Some(Err(RequestError::TooLarge)));
        }
        if !has_begun && !buffer.is_empty() {
            has_begun = true;
            deadline = Instant::now() + HEAD_TIMEOUT;
        }
        match wait_for(client, PollFlags::IN, deadline) {
            Err(error) if error.kind() == ErrorKind::TimedOut && !has_begun => return Ok(None),
            waited => waited?,
        }
        match (&*client).read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(count) => {
                bytes += count;
                buffer.push(&chunk[..count]);
            }
            Err(error) if is_retryable(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends a response as fast as the client takes it.
fn send(connection: &ClientConnection, mut response: Response) -> io::Result<()> {
    let deadline = Instant::now() + RESPONSE_TIMEOUT;
    loop {
        connection.set_phase(Phase::Writing);
        match response.send(connection.client()) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if is_retryable(&error) => {
                let stalled = Instant::now() + WRITE_STALL_TIMEOUT;
                wait_for(connection.client(), PollFlags::OUT, deadline.min(stalled))?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Closes a connection as soon as the client has taken the response, all but some 3 KB that the kernel
/// still holds.
fn close(connection: &ClientConnection) -> io::Result<()> {
    let client = connection.client();
    // poll() reports a socket writable when a third of its buffer is free. Ever smaller buffers show
    // whether the client makes progress.
    for size in [64, 32, 16, 8, 0] {
        connection.set_phase(Phase::Writing);
        set_socket_send_buffer_size(client, size * 1024)?;
        wait_for(client, PollFlags::OUT, Instant::now() + WRITE_STALL_TIMEOUT)?;
    }
    client.shutdown(Shutdown::Write)?;
    // Closing with unread bytes would reset the connection, and the client would lose the response.
    connection.set_phase(Phase::Writing);
    let deadline = Instant::now() + LINGER_TIMEOUT;
    let mut chunk = [0; READ_CHUNK_BYTES];
    let mut unread = 0;
    while unread < MAX_LINGER_BYTES && wait_for(client, PollFlags::IN, deadline).is_ok() {
        match (&*client).read(&mut chunk) {
            // Evicted before it took everything: dropping the connection resets it.
            Ok(0) if connection.was_evicted() => return Ok(()),
            // The client closed in good order: no reset.
            Ok(0) => return Ok(set_socket_linger(client, None)?),
            Ok(count) => unread += count,
            Err(error) if is_retryable(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_retryable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Waits until the socket can be read or written, or the client is gone.
fn wait_for(client: &TcpStream, readiness: PollFlags, deadline: Instant) -> io::Result<()> {
    let ready = retry_on_intr(|| {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        poll(&mut [PollFd::new(client, readiness)], left.as_ref())
    })?;
    if ready == 0 || Instant::now() > deadline {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(())
}
