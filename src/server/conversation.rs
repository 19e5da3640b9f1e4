//! What is said on one connection: a request, its answer, and so on, until either side ends it.

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::{set_socket_linger, set_socket_send_buffer_size};

use super::Site;
use super::answer::Answer;
use super::connections::Connection;
use super::request::{Input, Refusal, Request};

/// From the connection, or a request's first byte, to the end of its head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Between an answer and the next request. Whoever scrapes every 5 s keeps the connection.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(7);

/// A client that takes nothing of its answer for so long is gone.
const WRITE_STALL: Duration = Duration::from_secs(5);

/// From the first to the last byte of an answer. Prometheus itself gives up before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A client that has taken its last answer has so long to end the connection.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that it may send meanwhile.
const UNREAD: usize = 256 * 1024;

/// Bytes before the end of a head, empty lines included.
const MAX_READ: usize = 32 * 1024;

/// Answers a client's requests. After an error its connection is reset.
///
/// # Errors
/// The operating system's, and `TimedOut` if the client is too slow.
pub(super) fn converse(connection: &Connection, site: &Site) -> io::Result<()> {
    let client = connection.client();
    client.set_nonblocking(true)?;
    let mut input = Input::default();
    let mut patience = HEAD_TIMEOUT;
    while let Some(request) = read(client, &mut input, patience)? {
        connection.waits();
        // Who has reset the connection meanwhile is not answered.
        if let Some(error) = client.take_error()? {
            return Err(error);
        }
        // While others wait for a place, nobody keeps one for more than an answer.
        let keeps_alive = request.as_ref().is_ok_and(|it| it.keeps_alive);
        let goes_on = keeps_alive && !connection.is_crowded();
        send(connection, site.answer(request, goes_on)?)?;
        if !goes_on {
            break;
        }
        connection.asks();
        patience = KEEPALIVE_TIMEOUT;
    }
    end(connection)
}

/// The next request; `None` if the client left, or was silent for as long as `patience`.
fn read(
    client: &TcpStream,
    input: &mut Input,
    patience: Duration,
) -> io::Result<Option<Result<Request, Refusal>>> {
    let mut piece = [0; 2048];
    let mut begun = false;
    let mut bytes = 0;
    let mut deadline = Instant::now() + patience;
    loop {
        if let Some(request) = input.take().transpose() {
            return Ok(Some(request));
        }
        if bytes > MAX_READ {
            return Ok(Some(Err(Refusal::TooLarge)));
        }
        if !begun && !input.is_empty() {
            begun = true;
            deadline = Instant::now() + HEAD_TIMEOUT;
        }
        match wait_for(client, PollFlags::IN, deadline) {
            Err(error) if error.kind() == ErrorKind::TimedOut && !begun => return Ok(None),
            waited => waited?,
        }
        match (&*client).read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(count) => {
                bytes += count;
                input.push(&piece[..count]);
            }
            Err(error) if is_to_be_repeated(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends an answer, as fast as the client takes it.
fn send(connection: &Connection, mut answer: Answer) -> io::Result<()> {
    let end = Instant::now() + ANSWER_TIMEOUT;
    loop {
        connection.takes();
        match answer.send(connection.client()) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if is_to_be_repeated(&error) => {
                let stalled = Instant::now() + WRITE_STALL;
                wait_for(connection.client(), PollFlags::OUT, end.min(stalled))?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Ends a connection as soon as its client has taken what it was sent: what is left then, and is
/// left in the kernel, is some 3 KB at most.
fn end(connection: &Connection) -> io::Result<()> {
    let client = connection.client();
    // A socket can be written to when a third of its buffer is free. Smaller and smaller buffers
    // show that the client goes on.
    for size in [64, 32, 16, 8, 0] {
        connection.takes();
        set_socket_send_buffer_size(client, size * 1024)?;
        wait_for(client, PollFlags::OUT, Instant::now() + WRITE_STALL)?;
    }
    client.shutdown(Shutdown::Write)?;
    // To end it while something is left unread would take back the answer.
    connection.takes();
    let deadline = Instant::now() + LINGER;
    let mut piece = [0; 2048];
    let mut unread = 0;
    while unread < UNREAD && wait_for(client, PollFlags::IN, deadline).is_ok() {
        match (&*client).read(&mut piece) {
            // It was sent away: it has not taken all, and is reset.
            Ok(0) if connection.was_sent_away() => return Ok(()),
            // It has left in good order, and so do we.
            Ok(0) => return Ok(set_socket_linger(client, None)?),
            Ok(count) => unread += count,
            Err(error) if is_to_be_repeated(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_to_be_repeated(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Waits until the client has sent or taken something, or is gone.
fn wait_for(client: &TcpStream, what: PollFlags, deadline: Instant) -> io::Result<()> {
    let ready = retry_on_intr(|| {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        poll(&mut [PollFd::new(client, what)], left.as_ref())
    })?;
    if ready == 0 || Instant::now() > deadline {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(())
}
