//! A Prometheus exporter for the exit codes of stopped Docker containers.
//!
//! ```text
//! socket bytes → http → engine → collector → exposition → publication → server
//!                                    │ owns    page ──────────┘
//!                                  ledger
//! ```
//!
//! Data flows one way. `docs/architecture.md` describes the parts, and says where to put something new.
//! The program sends Docker nothing but `GET` requests. It has no async runtime and no `unsafe` code of its own.

pub mod cgroup;
pub mod collector;
pub mod config;
pub mod credentials;
pub mod deadline;
pub mod engine;
pub mod exporter;
pub mod exposition;
pub mod healthcheck;
pub mod http;
pub mod labels;
pub mod ledger;
pub mod logging;
pub mod one_line;
pub mod page;
pub mod privileges;
mod process;
pub mod publication;
pub mod reason;
pub mod server;
pub mod telemetry;
