//! The exporter's core against a model of an Engine, in simulated time: thousands of histories that
//! nobody would think of, of each of which the truth is known.
//!
//! `SIMULATION=1000000` has so many of them made up, and `SEED=…` plays one again:
//!
//! ```text
//! SIMULATION=1000000 cargo test --release --test it simulation::
//! SEED=4711 cargo test --test it simulation:: -- --nocapture
//! ```

mod adapter;
mod campaign;
mod check;
mod dice;
mod driver;
mod generate;
mod history;
mod life;
mod model_tests;
mod network;
mod reasons;
mod render;
mod rows;
mod subject;
mod trace;
mod truth;
mod world;

use adapter::Adapter;

#[test]
fn histories() {
    campaign::run(Adapter::new);
}

/// Histories that failed once, beyond the first thousands that are always played. Who changes how
/// histories are made up looks for others.
const MENDED: [u64; 108] = [
    8_860, 10_831, 17_818, 22_475, 26_022, 26_388, 26_908, 28_005, 28_926, 31_239, 31_585, 33_086,
    36_043, 40_396, 41_187, 49_723, 49_834, 52_729, 53_668, 56_042, 56_275, 57_169, 58_531, 67_086,
    72_519, 74_316, 79_616, 81_427, 83_936, 84_273, 84_762, 88_756, 91_658, 95_309, 104_995,
    105_564, 110_639, 110_802, 116_304, 128_055, 149_094, 150_073, 150_196, 150_490, 158_780,
    171_367, 175_940, 180_715, 184_439, 188_493, 189_227, 196_065, 199_414, 209_128, 213_519,
    245_668, 260_814, 273_705, 276_304, 285_649, 294_478, 300_437, 321_739, 329_429, 331_679,
    332_043, 347_671, 360_987, 366_419, 367_520, 373_365, 391_200, 398_574, 410_925, 419_338,
    430_506, 432_957, 458_746, 479_398, 494_483, 498_020, 498_051, 506_752, 513_452, 514_295,
    525_903, 526_529, 559_042, 623_614, 678_513, 699_040, 699_580, 723_361, 727_590, 750_250,
    780_185, 791_141, 798_723, 870_688, 871_071, 887_415, 895_328, 900_229, 900_874, 936_803,
    954_543, 960_637, 966_786,
];

#[test]
fn mended() {
    campaign::replay(&MENDED, Adapter::new);
}

#[test]
fn rows() {
    let mut wrong = 0;
    for row in rows::all() {
        let result = rows::play(&row, Adapter::new);
        let why = result
            .as_ref()
            .err()
            .map_or("right", |why| why.lines().next().unwrap_or(""));
        println!("{:>2} {}: {}", row.number, row.name, why);
        wrong += u32::from(result.is_err());
    }
    assert_eq!(wrong, 0);
}
