//! What the tests, benchmarks, examples and `fuzz/` share: a fake Engine with made-up containers, and the properties that
//! are fuzzed.

// This is no library for strangers: a panic fails the test that caused it, and an unused result is seen there.
#![allow(clippy::missing_panics_doc)]
#![allow(clippy::must_use_candidate, clippy::return_self_not_must_use)]

pub mod container;
pub mod crowd;
pub mod fake_engine;
pub mod fuzz_targets;
