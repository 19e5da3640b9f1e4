//! What a listing costs a program that does nothing else with it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use serde::de::IgnoredAny;

use crate::Fallible;
use crate::process::cpu_of;

/// So many bytes are enough to measure with.
const ENOUGH: usize = 500_000_000;

fn rounds(bytes: &[u8]) -> u32 {
    u32::try_from(ENOUGH / bytes.len()).map_or(u32::MAX, |rounds| rounds.clamp(3, 1000))
}

/// The CPU time of reading these bytes from a Unix socket, into memory that is there.
pub(crate) fn reading(bytes: &[u8]) -> Fallible<Duration> {
    let rounds = rounds(bytes);
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let mut into = vec![0; bytes.len()];
    thread::scope(|scope| {
        let writer = scope.spawn(move || (0..rounds).try_for_each(|_| theirs.write_all(bytes)));
        let mut read = Ok(());
        let took = cpu_of(|| read = (0..rounds).try_for_each(|_| ours.read_exact(&mut into)));
        drop(ours); // Then the writer ends in any case.
        read?;
        writer.join().expect("no panic")?;
        Ok(took? / rounds)
    })
}

/// The CPU time of going through this JSON and keeping nothing.
pub(crate) fn skipping(json: &str) -> Fallible<Duration> {
    let rounds = rounds(json.as_bytes());
    let mut result = Ok(IgnoredAny);
    let took = cpu_of(|| {
        for _ in 0..rounds {
            result = serde_json::from_str::<IgnoredAny>(std::hint::black_box(json));
        }
    });
    result?;
    Ok(took? / rounds)
}
