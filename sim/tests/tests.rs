//! A few hundred seeds.

#[test]
fn every_invariant_holds_whatever_happens() {
    for seed in 1..=300 {
        if let Err(broken) = longwire_sim::run(seed, 1500, None) {
            panic!("{broken}");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || longwire_sim::run(7, 3000, None).unwrap();
    assert_eq!(run(), run());
}
