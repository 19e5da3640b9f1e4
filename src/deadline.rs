//! Byte streams with an absolute deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A connected socket whose single reads and writes can be given a time limit.
pub trait Stream: Read + Write {
    /// Lets the next reads fail after `timeout`; `None` lets them wait for ever.
    ///
    /// # Errors
    /// The operating system's.
    fn read_within(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// The same for writes.
    ///
    /// # Errors
    /// The operating system's.
    fn write_within(&self, timeout: Option<Duration>) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn read_within(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }

    fn write_within(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_write_timeout(timeout)
    }
}

impl Stream for TcpStream {
    fn read_within(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }

    fn write_within(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_write_timeout(timeout)
    }
}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn read_within(&self, timeout: Option<Duration>) -> io::Result<()> {
        (**self).read_within(timeout)
    }

    fn write_within(&self, timeout: Option<Duration>) -> io::Result<()> {
        (**self).write_within(timeout)
    }
}

/// A stream whose every read and write ends at one moment, however the bytes trickle.
#[derive(Debug)]
pub struct Deadline<S> {
    stream: S,
    at: Option<Instant>,
}

impl<S: Stream> Deadline<S> {
    /// Wraps a stream; until [`Deadline::set`] it has no deadline.
    pub fn new(stream: S) -> Self {
        Self { stream, at: None }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Moves the deadline; `None` takes it away.
    pub fn set(&mut self, at: Option<Instant>) {
        self.at = at;
    }

    /// The time that is left: `None` without a deadline, an error once it has passed.
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(at) = self.at else {
            return Ok(None);
        };
        match at.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl<S: Stream> Read for Deadline<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read_within(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl<S: Stream> Write for Deadline<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write_within(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_of_bytes_does_not_extend_the_deadline() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let drip = std::thread::spawn(move || {
            while theirs.write_all(b".").is_ok() {
                std::thread::yield_now();
            }
        });
        let mut stream = Deadline::new(ours);
        stream.set(Some(Instant::now() + Duration::from_millis(30)));
        let error = loop {
            if let Err(error) = stream.read(&mut [0; 1]) {
                break error;
            }
        };
        assert!(is_timeout(&error), "{error}");
        drop(stream);
        drip.join().unwrap();
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut stream = Deadline::new(ours);
        stream.set(Some(Instant::now() + Duration::from_millis(20)));
        let error = stream.read(&mut [0; 1]).unwrap_err();
        assert!(is_timeout(&error), "{error}");
    }

    fn is_timeout(error: &io::Error) -> bool {
        matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        )
    }
}
