//! The program and its parts from outside, one module for each promise. One crate, because each links the whole program.

mod bounds;
mod browser;
mod engine;
mod events;
mod exporter;
mod faults;
mod fuzz;
mod golden;
mod http_client;
mod licences;
mod packaging;
mod page;
mod siege;
mod simulation;
mod soak;
mod support;
