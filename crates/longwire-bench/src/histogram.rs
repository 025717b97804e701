//! Latencies in logarithmic buckets: constant memory, constant time, and a bounded relative error.
//!
//! Values below 128 have a bucket each. Above, every power of two is cut into 64 equal buckets, so that a bucket is at
//! most 1/64 of its value wide: the middle of the bucket, which is what comes out, is wrong by less than 0.8 %.

const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;
/// The largest value told apart, in nanoseconds (about 18 minutes); larger ones count as this one.
const VALUE_MAX: u64 = (1 << 40) - 1;
const BUCKETS: usize = (40 - SUB_BITS as usize + 1) * SUB;

/// A histogram of nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS].into_boxed_slice(), count: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        (self.count, self.sum, self.min, self.max) = (0, 0, u64::MAX, 0);
    }

    #[inline]
    pub(crate) fn record(&mut self, value: u64) {
        let value = value.min(VALUE_MAX);
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The smallest value recorded; 0 when there is none.
    pub(crate) fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    pub(crate) fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The value that the given share (0 to 1) of the recorded ones do not exceed, to within the width of a bucket.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let wanted = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        if wanted == self.count {
            return self.max;
        }
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(index).clamp(self.min, self.max);
            }
        }
        0
    }
}

/// The bucket of a value: the position of its highest bit, then the six bits after it.
#[inline]
fn bucket(value: u64) -> usize {
    let octave = (64 - (value | (SUB as u64 - 1)).leading_zeros()) - SUB_BITS;
    octave as usize * SUB + (value >> octave.saturating_sub(1)) as usize - if octave == 0 { 0 } else { SUB }
}

/// The middle of a bucket's values.
fn middle(index: usize) -> u64 {
    let (octave, sub) = (index / SUB, (index % SUB) as u64);
    if octave == 0 {
        return sub;
    }
    let shift = octave - 1;
    ((SUB as u64 + sub) << shift) + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_their_middles_are_in_them() {
        let mut last = 0;
        for value in (0..100_000).chain((17..40).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1])) {
            let index = bucket(value);
            if value < 100_000 {
                assert!(index == last || index == last + 1, "a gap at {value}");
                last = index;
            }
            let error = middle(index).abs_diff(value) as f64;
            assert!(error <= value as f64 / 127.0, "{value} comes out as {}", middle(index));
        }
        assert_eq!(bucket(VALUE_MAX), BUCKETS - 1);
    }

    #[test]
    fn small_values_are_exact() {
        for value in 0..128 {
            assert_eq!(middle(bucket(value)), value);
        }
    }

    #[test]
    fn quantiles_of_a_uniform_distribution() {
        let mut histogram = Histogram::new();
        for value in 1..=100_000 {
            histogram.record(value);
        }
        for (share, exact) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
            let got = histogram.quantile(share) as f64;
            assert!((got / exact - 1.0).abs() < 0.008, "{share}: {got}");
        }
        assert_eq!((histogram.min(), histogram.max(), histogram.count()), (1, 100_000, 100_000));
        assert_eq!(histogram.quantile(1.0), 100_000);
        assert!((histogram.mean() - 50_000.5).abs() < 1e-6);
    }

    #[test]
    fn nothing_recorded_gives_zeros() {
        let mut histogram = Histogram::new();
        histogram.record(5);
        histogram.clear();
        assert_eq!((histogram.min(), histogram.max(), histogram.quantile(0.5)), (0, 0, 0));
        assert_eq!(histogram.mean(), 0.0);
    }

    #[test]
    fn one_value_is_every_quantile_and_giants_are_held() {
        let mut histogram = Histogram::new();
        histogram.record(1_234_567);
        assert_eq!(histogram.quantile(0.0), 1_234_567);
        assert_eq!(histogram.quantile(0.999), 1_234_567);
        histogram.record(u64::MAX);
        assert_eq!(histogram.max(), VALUE_MAX);
    }
}
