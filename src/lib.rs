//! A Prometheus exporter for the exit codes of stopped Docker containers.
//!
//! Data flows one way:
//!
//! ```text
//! socket bytes → http → engine (JSON, events) → collector (messages → core → effects)
//!                                                             │ owns
//!                       ledger (runs) → exposition (text) → publication → server
//! ```
//!
//! The [`collector`] has threads that only ask the [`engine`]: one follows its events, and a few
//! wait for one answer each. What they learn comes as messages to one owner, the pure
//! [`collector::core`]: a step takes a message and the time, and says what is to be done. All that is
//! known of containers stands in its [`ledger`], where a run is a value. It publishes a finished text,
//! of which it makes only those pieces anew in which something has changed, and a [`page::Snapshot`]
//! in the same way. The [`server`]'s threads answer with the published text, or a view of the snapshot
//! as a [`page`], whatever Docker is doing at that moment: a gate that hostile clients do not get past,
//! and `tiny_http` behind it, which reads the requests and writes the heads of the answers. What is
//! compressed is kept with the text. [`exporter`] starts them all.
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
pub mod logging;
pub mod one_line;
pub mod page;
pub mod privileges;
mod process;
pub mod publication;
pub mod reason;
pub mod server;
pub mod telemetry;
