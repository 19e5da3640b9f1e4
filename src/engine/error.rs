//! The errors of requests to the Engine, with what an operator can do about them.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::credentials::{Credentials, Ownership, UserNamespace};
use crate::deadline::Transport;
use crate::http::{self, Body, Head};
use crate::one_line::OneLine;

use super::{Address, limits};
use EngineErrorKind::{Http, Json, Refused, Unreachable};

/// The result of a request to the Engine.
pub type EngineResult<T> = Result<T, EngineError>;

/// A failed request to the Engine.
#[derive(Debug)]
pub struct EngineError {
    /// The path of the request.
    pub path: String,
    /// What went wrong.
    pub kind: EngineErrorKind,
}

/// What went wrong with a request.
#[derive(Debug)]
pub enum EngineErrorKind {
    /// No connection to the Engine.
    Unreachable {
        /// The reason and the remedy.
        message: String,
        /// The error of `connect`.
        cause: io::Error,
    },
    /// The connection broke, or the response is not HTTP within the limits.
    Http(http::HttpError),
    /// The Engine, or a proxy before it, answered with an error status.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The message in the body, on one short line.
        message: String,
    },
    /// The response is not the expected JSON.
    Json(Box<dyn StdError + Send + Sync>),
}

impl EngineError {
    /// Whether the container is gone. Podman may answer 500 for that (podman
    /// `libpod/define/errors.go`, `ErrNoSuchCtr`).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match &self.kind {
            Refused { status: 404, .. } => true,
            Refused {
                status: 500,
                message,
            } => message.contains("no such container"),
            _ => false,
        }
    }

    /// Whether the request timed out.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self.kind, Http(http::HttpError::DeadlinePassed))
    }

    /// Whether a proxy or the Engine forbids the request. A 5xx does not count: a proxy sends it while
    /// the Engine behind it starts.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.kind, Refused { status, .. } if status < 500)
    }

    /// Whether no connection could be made.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self.kind, Unreachable { .. })
    }

    /// Whether no complete response came.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.is_unreachable() || matches!(self.kind, Http(_))
    }

    /// The error's class, by its remedy. The first error of each class is logged.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match &self.kind {
            Unreachable { cause, .. } if cause.kind() == ErrorKind::PermissionDenied => {
                ErrorClass::Denied
            }
            Unreachable { .. } | Http(http::HttpError::Closed { .. }) => ErrorClass::Down,
            Http(_) | Refused { .. } | Json(_) => ErrorClass::BadResponse,
        }
    }
}

/// Errors that have the same remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The Engine does not run, goes down, or its socket is not mounted.
    Down,
    /// This process may not connect to the Engine.
    Denied,
    /// The Engine does not answer as it should.
    BadResponse,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = OneLine::new(&self.path);
        match &self.kind {
            Unreachable { message, .. } => f.write_str(message),
            Http(error) => write!(f, "GET {path}: {error}"),
            Refused { status, message } => {
                write!(f, "GET {path} was answered with {status}")?;
                if !message.is_empty() {
                    write!(f, ": {message}")?;
                }
                Ok(())
            }
            Json(error) => {
                let error = error.to_string();
                let error = OneLine::new(&error);
                write!(f, "GET {path}: the answer's JSON is bad: {error}")
            }
        }
    }
}

impl StdError for EngineError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.kind {
            Unreachable { cause, .. } => Some(cause),
            Http(error) => Some(error),
            Json(error) => Some(&**error),
            Refused { .. } => None,
        }
    }
}

/// The error of a failed connection, with its remedy.
pub(super) fn unreachable(address: &Address, cause: io::Error) -> EngineErrorKind {
    let message = match address {
        Address::Tcp(_) => format!("cannot connect to {address}: {cause}"),
        Address::Unix(path) => diagnose_socket(
            path,
            &cause,
            Ownership::of(path),
            &Credentials::current(),
            UserNamespace::current(),
        ),
    };
    Unreachable { message, cause }
}

fn diagnose_socket(
    path: &Path,
    error: &io::Error,
    socket: Option<Ownership>,
    process: &Credentials,
    namespace: UserNamespace,
) -> String {
    let path = path.display();
    match (error.kind(), socket) {
        (ErrorKind::NotFound, _) => {
            format!("no Docker socket at {path}: is Docker running, and is its socket mounted?")
        }
        (_, Some(socket)) if !socket.is_socket => format!(
            "{path} is not a socket: Docker makes a directory where the mounted socket does not exist; \
             mount the right path"
        ),
        (ErrorKind::PermissionDenied, None) => {
            format!("no permission to connect to {path}: a directory on the way cannot be entered")
        }
        (ErrorKind::PermissionDenied, Some(socket)) => {
            let remedy = if socket.mode == 0 {
                "Docker opens it in a moment; else restart Docker, or chmod 0660 it".into()
            } else if namespace.is_unmapped(socket) && !socket.others_may_connect() {
                "its owner and group are not known in this user namespace; with userns-remap, run it with \
                 --userns host"
                    .into()
            } else if socket.allows(process) {
                "SELinux or AppArmor may forbid what the mode allows".into()
            } else if socket.group_may_connect() {
                format!("run it with --group-add {}", socket.gid)
            } else {
                format!("run it with --user {}", socket.uid)
            };
            format!(
                "no permission to connect to {path} ({socket}; this process has {process}): {remedy}"
            )
        }
        (ErrorKind::ConnectionRefused, _) => format!(
            "nobody listens on {path}: Docker is down, or it made its socket anew after this one was \
             mounted (mount the socket's directory instead)"
        ),
        _ => format!("cannot connect to {path}: {error}"),
    }
}

/// The error of a response with another status than 200.
pub(super) fn read_refusal<S: Transport>(head: &Head, mut body: Body<'_, S>) -> EngineErrorKind {
    let mut text = Vec::new();
    // A part of the message is better than none.
    let _ = body.read_to_end(&mut text, limits::ERROR_BYTES);
    Refused {
        status: head.status,
        message: message(&text),
    }
}

/// The message in the body of an error, on one line: Docker's and Podman's JSON, or a proxy's text.
fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    let text = message.unwrap_or(&text);
    if text.trim_start().starts_with('<') {
        return "a page of HTML, so a proxy's".into();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    OneLine::new(&line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_error_has_its_remedy() {
        use ErrorKind::{
            ConnectionRefused as Refused, NotFound, Other, PermissionDenied as Denied,
        };
        let owned = |uid, gid, mode| Ownership {
            uid,
            gid,
            mode,
            is_socket: true,
        };
        let socket = owned(0, 998, 0o660);
        let stranger = |mode| Some(owned(65534, 65534, mode));
        let directory = Ownership {
            is_socket: false,
            ..owned(0, 0, 0o755)
        };
        let host = UserNamespace::Host;
        let remapped = UserNamespace::Remapped {
            overflow_uid: 65534,
            overflow_gid: 65534,
        };
        let process = Credentials {
            uid: 65534,
            gid: 65534,
            groups: vec![27],
        };
        for (kind, socket, namespace, want) in [
            (NotFound, None, host, "no Docker socket at /s: is Docker"),
            (
                Denied,
                Some(socket),
                host,
                "(owner 0, group 998, mode 0660; this process has uid 65534, gid 65534, groups 27): run it with --group-add 998",
            ),
            (Denied, Some(socket), remapped, "--group-add 998"),
            (Denied, Some(owned(0, 27, 0o660)), host, ": SELinux"),
            (Denied, Some(owned(0, 998, 0o666)), host, ": SELinux"),
            (Denied, Some(owned(0, 998, 0o600)), host, "--user 0"),
            (Denied, Some(owned(0, 27, 0o600)), host, "--user 0"),
            (Denied, Some(owned(0, 998, 0)), host, "chmod 0660"),
            (Denied, stranger(0), remapped, "chmod 0660"),
            (Denied, stranger(0o660), remapped, "--userns host"),
            (Denied, stranger(0o600), remapped, "--userns host"),
            (Denied, stranger(0o666), remapped, ": SELinux"),
            // On the host it is an ordinary group.
            (Denied, stranger(0o660), host, ": SELinux"),
            (Denied, None, host, "a directory on the way"),
            (Refused, Some(socket), host, "nobody listens on /s"),
            (Refused, Some(directory), host, "/s is not a socket"),
            (Other, Some(socket), host, "cannot connect to /s"),
        ] {
            let text = diagnose_socket(Path::new("/s"), &kind.into(), socket, &process, namespace);
            assert!(text.contains(want), "{text}");
        }
    }

    #[test]
    fn messages_are_one_short_line() {
        for (body, want) in [
            (
                r#"{"message":"No such container: x"}"#,
                "No such container: x",
            ),
            ("page not found\n", "page not found"),
            ("<html><body>Forbidden", "a page of HTML, so a proxy's"),
            ("a\n\tb\r\n", "a b"),
            (r#"{"error":1}"#, r#"{"error":1}"#),
            ("", ""),
            ("\u{1b}[31mred\0\u{202e}", r"\u{1b}[31mred\u{0}\u{202e}"),
        ] {
            assert_eq!(message(body.as_bytes()), want);
        }
        assert_eq!(message("é".repeat(400).as_bytes()).chars().count(), 301);
    }
}
