//! Tests of the ledger as a whole. Those of a single file stand below it.

mod events;
mod evidence;
mod failed_starts;
mod failures;
mod histories;
mod inspect;
mod labels;
mod listing;
mod options;
mod recordings;
mod removal;
mod replicas;
mod report;
mod revisions;
mod series;
mod superseded;
mod support;
