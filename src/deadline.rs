//! Byte streams with an absolute deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A connected socket with timeouts for single reads and writes.
pub trait Transport: Read + Write {
    /// Sets the timeout of the next reads; `None` means no timeout.
    ///
    /// # Errors
    /// The operating system's.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Sets the timeout of the next writes; `None` means no timeout.
    ///
    /// # Errors
    /// The operating system's.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
}

impl Transport for UnixStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        UnixStream::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        UnixStream::set_write_timeout(self, timeout)
    }
}

impl Transport for TcpStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        TcpStream::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        TcpStream::set_write_timeout(self, timeout)
    }
}

/// A stream whose reads and writes all fail after one absolute deadline. A slow drip of bytes does
/// not extend it.
#[derive(Debug)]
pub struct DeadlineStream<S> {
    stream: S,
    deadline: Option<Instant>,
}

impl<S: Transport> DeadlineStream<S> {
    /// Wraps a stream, without a deadline at first.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            deadline: None,
        }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Replaces the deadline; `None` removes it.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// The time left: `None` without a deadline, an error after it.
    fn time_left(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else {
            return Ok(None);
        };
        match deadline.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl<S: Transport> Read for DeadlineStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.time_left()?)?;
        self.stream.read(buffer)
    }
}

impl<S: Transport> Write for DeadlineStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.time_left()?)?;
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
        let mut stream = DeadlineStream::new(ours);
        stream.set_deadline(Some(Instant::now() + Duration::from_millis(30)));
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
        let mut stream = DeadlineStream::new(ours);
        stream.set_deadline(Some(Instant::now() + Duration::from_millis(20)));
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
