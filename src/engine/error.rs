//! What can go wrong between this program and the Engine, in words for a tired operator.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::credentials::{Credentials, Ownership, UserNamespace};
use crate::deadline::Transport;
use crate::http::{self, Body, Head};
use crate::one_line::OneLine;

use super::{Address, limits};

/// A request to the Engine that failed: what was asked, and why there is no good answer.
#[derive(Debug)]
pub struct Error {
    /// The path that was asked for.
    pub path: String,
    /// What went wrong.
    pub kind: Kind,
}

/// What went wrong with a request.
#[derive(Debug)]
pub enum Kind {
    /// No connection to the Engine.
    Unreachable {
        /// Why, with the remedy.
        why: String,
        /// The socket's mode, or that of a directory above it, does not let this process in.
        denied: bool,
    },
    /// The connection broke, or what came was not HTTP within the limits.
    Http(http::HttpError),
    /// The Engine, or a proxy before it, answered with an error.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the answer says, on one short line.
        message: String,
    },
    /// The answer is not the JSON that it should be.
    Json(String),
}

impl Error {
    /// Whether the container that was asked for is gone. Podman may say so with a 500 (podman
    /// `libpod/define/errors.go`, `ErrNoSuchCtr`).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match &self.kind {
            Kind::Refused { status: 404, .. } => true,
            Kind::Refused {
                status: 500,
                message,
            } => message.contains("no such container"),
            _ => false,
        }
    }

    /// Whether the answer did not come in time.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self.kind, Kind::Http(http::HttpError::DeadlinePassed))
    }

    /// Whether a proxy, or the Engine, does not allow what was asked for. A 5xx is no such answer: a
    /// proxy gives it while the Engine behind it starts.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::Refused { status, .. } if status < 500)
    }

    /// Whether there is no connection to an Engine at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self.kind, Kind::Unreachable { .. })
    }

    /// Whether no whole answer came, as opposed to one that is of no use.
    #[must_use]
    pub fn is_transport(&self) -> bool {
        matches!(self.kind, Kind::Unreachable { .. } | Kind::Http(_))
    }

    /// What an operator would have to do about it.
    #[must_use]
    pub fn complaint(&self) -> Complaint {
        match &self.kind {
            Kind::Unreachable { denied: true, .. } => Complaint::Denied,
            Kind::Unreachable { denied: false, .. }
            | Kind::Http(http::HttpError::Closed { .. }) => Complaint::Down,
            Kind::Http(_) | Kind::Refused { .. } | Kind::Json(_) => Complaint::BadAnswers,
        }
    }
}

/// Errors by their remedy: of several with the same one, an operator wants to read the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint {
    /// There is no Engine, or it goes down: it must be started, or its socket mounted.
    Down,
    /// This process may not connect to it.
    Denied,
    /// It answers, but not as it should.
    BadAnswers,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may have an id in it.
        let path = OneLine::new(&self.path);
        match &self.kind {
            Kind::Unreachable { why, .. } => f.write_str(why),
            Kind::Http(error) => write!(f, "GET {path}: {error}"),
            Kind::Refused { status, message } => {
                write!(f, "GET {path} was answered with {status}")?;
                if !message.is_empty() {
                    write!(f, ": {message}")?;
                }
                Ok(())
            }
            Kind::Json(why) => {
                let why = OneLine::new(why);
                write!(f, "GET {path}: the answer's JSON is bad: {why}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Says why a connection could not be made, and what to do about it.
pub(super) fn unreachable(address: &Address, error: &io::Error) -> Kind {
    let why = match address {
        Address::Tcp(_) => format!("cannot connect to {address}: {error}"),
        Address::Unix(path) => diagnose_socket(
            path,
            error,
            Ownership::of(path),
            &Credentials::current(),
            UserNamespace::current(),
        ),
    };
    Kind::Unreachable {
        why,
        denied: error.kind() == ErrorKind::PermissionDenied,
    }
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

/// An answer that is none, with what can be had of its message.
pub(super) fn refused<S: Transport>(head: &Head, mut body: Body<'_, S>) -> Kind {
    let mut text = Vec::new();
    let _ = body.read_to_end(&mut text, limits::ERROR_BYTES);
    Kind::Refused {
        status: head.status,
        message: message(&text),
    }
}

/// The message of an error's body: Docker's and Podman's JSON, or a proxy's text, on one line.
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
    fn a_socket_that_cannot_be_used_comes_with_its_remedy() {
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
            // There it is a group like any other.
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
