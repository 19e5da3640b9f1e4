//! Plays many histories, and makes one that fails as short as it can.

use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::check::Check;
use super::driver::{self, Played};
use super::generate::generate;
use super::history::{self, History};
use super::network::Network;
use super::subject::Subject;
use super::world::World;

/// So many histories without `SIMULATION`.
const USUAL: u64 = 5_000;
const THREADS: u64 = 2;
/// So many shorter histories are tried at most.
const SHORTENED: usize = 2_000;

/// Plays one history.
pub(crate) fn play<S: Subject>(
    history: &History,
    new: impl Fn(&History) -> S,
    traced: bool,
) -> (Played, Result<(), String>) {
    let world = World::of(history);
    let network = Network::of(history, &world);
    let mut subject = new(history);
    let played = driver::play(history, &world, &network, &mut subject, traced);
    let check = Check {
        history,
        world: &world,
        network: &network,
        played: &played,
    };
    let result = check.run();
    (played, result)
}

/// Leaves out what is not needed to make it fail.
pub(crate) fn shorten<S: Subject>(history: &History, new: impl Fn(&History) -> S) -> History {
    let mut tries = 0;
    let wanted = play(history, &new, false).1.err().map(|why| kind(&why));
    let mut fails = |history: &History| {
        tries += 1;
        let why = || play(history, &new, false).1.err();
        tries <= SHORTENED && why().map(|why| kind(&why)) == wanted
    };
    let mut shortest = history.clone();
    let mut chunk = shortest.steps.len().max(1);
    while chunk > 0 {
        let mut at = 0;
        let mut any = false;
        while at < shortest.steps.len() {
            let mut shorter = shortest.clone();
            let end = (at + chunk).min(shorter.steps.len());
            shorter.steps.drain(at..end);
            if fails(&shorter) {
                (shortest, any) = (shorter, true);
            } else {
                at += chunk;
            }
        }
        if !any {
            chunk /= 2;
        }
    }
    plainer(shortest, &mut fails)
}

/// Makes a history plainer in one way.
type Change = Box<dyn Fn(&mut History)>;

/// Takes the settings back to the usual ones, as far as it fails all the same.
fn plainer(mut shortest: History, fails: &mut impl FnMut(&History) -> bool) -> History {
    let mut changes: Vec<Change> = vec![
        Box::new(|it| it.setting.apart = 0),
        Box::new(|it| it.setting.flavour = history::Flavour::Docker),
        Box::new(|it| it.setting.interval = 15),
        Box::new(|it| it.setting.queue = 1024),
        Box::new(|it| it.setting.refuses_inspects = false),
        Box::new(|it| it.setting.socket_waits = false),
    ];
    for number in 0..shortest.specs.len() {
        changes.push(Box::new(move |it| it.specs[number].labels.clear()));
        changes.push(Box::new(move |it| {
            it.specs[number].policy = history::Policy::No;
        }));
        changes.push(Box::new(move |it| it.specs[number].rm = false));
        changes.push(Box::new(move |it| it.specs[number].stop_signal = None));
        changes.push(Box::new(move |it| it.specs[number].health = false));
        changes.push(Box::new(move |it| it.specs[number].tag_moved = false));
        changes.push(Box::new(move |it| it.specs[number].attached = false));
    }
    for change in changes {
        let mut plainer = shortest.clone();
        change(&mut plainer);
        if fails(&plainer) {
            shortest = plainer;
        }
    }
    shortest
}

/// Says what is wrong with a history, in as few steps as it takes.
pub(crate) fn explain<S: Subject>(history: &History, new: impl Fn(&History) -> S) -> String {
    let shortest = shorten(history, &new);
    // With a seed, what was said is of interest, too.
    let traced = number("SEED").is_some();
    let why = play(&shortest, &new, traced).1.err().unwrap_or_default();
    format!("{shortest}{why}\nplay it again with SEED={}", history.seed)
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// Plays those histories again that have failed before, and were mended.
pub(crate) fn replay<S: Subject>(seeds: &[u64], new: impl Fn(&History) -> S) {
    for seed in seeds {
        let history = generate(*seed);
        let right = play(&history, &new, false).1.is_ok();
        assert!(right, "{}", explain(&history, &new));
    }
}

/// Plays as many histories as are asked for.
pub(crate) fn run<S: Subject>(new: impl Fn(&History) -> S + Sync) {
    if let Some(seed) = number("SEED") {
        let history = generate(seed);
        println!("{history}");
        let (played, result) = play(&history, &new, false);
        println!("{:#?}", played.outcome);
        assert!(result.is_ok(), "{}", explain(&history, &new));
        return;
    }
    let count = number("SIMULATION").unwrap_or(USUAL);
    // SKIP leaves out histories with one of these words in them, as in `SKIP=Stall,Podman`.
    let words = env::var("SKIP").unwrap_or_default();
    let words: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
    let skips = |history: &History| {
        !words.is_empty() && {
            let text = history.to_string();
            words.iter().any(|word| text.contains(word))
        }
    };
    // SURVEY goes on after a failure, and says how many there are of each kind, and which.
    let goes_on = number("SURVEY").is_some();
    let found = Mutex::new(BTreeMap::<String, (Vec<u64>, History)>::new());
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while goes_on || !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        break;
                    }
                    let history = generate(seed);
                    if skips(&history) {
                        continue;
                    }
                    if let Err(why) = play(&history, &new, false).1 {
                        failed.store(true, Ordering::Relaxed);
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        let kind = found
                            .entry(kind(&why))
                            .or_insert_with(|| (Vec::new(), history.clone()));
                        kind.0.push(seed);
                        if kind.1.steps.len() > history.steps.len() {
                            kind.1 = history;
                        }
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (kind, (seeds, history)) in &found {
        let some = &seeds[..seeds.len().min(20)];
        println!(
            "{:>7} × {kind} {some:?}\n{}\n",
            seeds.len(),
            explain(history, &new)
        );
    }
    assert!(found.is_empty(), "there are histories that fail");
}

/// The words of a failure without its numbers.
fn kind(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    let line = line.split([';', '{', '[']).next().unwrap_or_default();
    let words = line.split(' ');
    let words = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}
