//! A Prometheus exporter for the exit codes of stopped Docker containers.
//!
//! Data flows one way:
//!
//! ```text
//! socket bytes → http → engine (JSON) → ledger → exposition (text) → publication → server
//!                       │               └─────────── collector ─────┘
//!                       └ events → watcher ────────────┘
//! ```
//!
//! The [`collector`]'s thread owns all that is known of containers, in a [`ledger`]; it asks the
//! [`engine`] and publishes a finished text, of which it makes only those pieces anew in which
//! something has changed, and a small [`page::Snapshot`]. The [`watcher`]'s thread follows the
//! Engine's events and sends them to the collector. The [`server`]'s threads answer with the
//! published text, or a [`page`] of the snapshot, whatever Docker is doing at that moment: a gate
//! that hostile clients do not get past, and `tiny_http` behind it, which reads the requests and
//! writes the heads of the answers. What is compressed is kept with the text. [`exporter`] starts them all.
//! What decides (which state, which [`reason`], which [`labels`], which text) is pure functions of
//! plain values.
//!
//! It never sends Docker anything but `GET`: there is no code that could. It has no async runtime,
//! no `unsafe` of its own, and it opens no other connection.

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
pub mod page;
pub mod privileges;
mod process;
pub mod publication;
pub mod queue;
pub mod reason;
pub mod server;
pub mod telemetry;
pub mod watcher;
