//! How long checks take, in a few dozen ranges: each is half of a doubling, from half a microsecond to some two seconds. Of two
//! processes they are added up, which no percentile can be.

use std::time::Duration;

/// How many ranges there are.
pub(super) const RANGES: usize = 44;
/// The first range ends above `2^SMALLEST` nanoseconds.
const SMALLEST: u32 = 9;

/// How many checks took how long.
pub(super) type Histogram = [u64; RANGES];

/// The range of a duration.
pub(super) fn range(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1 << SMALLEST);
    let doubling = nanos.ilog2();
    let half = (nanos >> (doubling - 1)) & 1;
    (2 * (doubling - SMALLEST) as usize + usize::from(half == 1)).min(RANGES - 1)
}

/// Where a range begins, in microseconds.
fn begin(range: usize) -> f64 {
    let doubling = f64::from(1_u32 << (range / 2).min(31));
    doubling * if range.is_multiple_of(2) { 0.512 } else { 0.768 }
}

/// For how long, in microseconds, this part of all checks took at most. `None` where there were none.
pub(super) fn percentile(histogram: &Histogram, part: f64) -> Option<f64> {
    let all: u64 = histogram.iter().fold(0, |all, count| all.saturating_add(*count));
    if all == 0 {
        return None;
    }
    let wanted = rounded(all) * part;
    let mut before = 0.0;
    for (at, count) in histogram.iter().map(|count| rounded(*count)).enumerate().filter(|(_, count)| *count > 0.0) {
        if before + count >= wanted {
            let within = ((wanted - before) / count).clamp(0.0, 1.0);
            return Some(begin(at) + (begin(at + 1) - begin(at)) * within);
        }
        before += count;
    }
    Some(begin(RANGES))
}

#[expect(clippy::cast_precision_loss, reason = "a part of it is all that is wanted")]
fn rounded(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_range_that_it_is_between_the_ends_of() {
        for nanos in (0..31).flat_map(|power| [(1_u64 << power), (1 << power) + (1 << power) / 2, (1 << power) * 2 - 1]) {
            let (at, micros) = (range(Duration::from_nanos(nanos)), rounded(nanos) / 1000.0);
            assert!(at == 0 || begin(at) <= micros, "{nanos}: {at}");
            assert!(at == RANGES - 1 || micros < begin(at + 1), "{nanos}: {at}");
        }
        assert_eq!((range(Duration::ZERO), range(Duration::MAX)), (0, RANGES - 1));
    }

    #[test]
    fn percentiles_lie_in_the_range_where_that_many_are() {
        let mut histogram = [0; RANGES];
        assert_eq!(percentile(&histogram, 0.5), None);
        histogram[range(Duration::from_micros(5))] = 98;
        histogram[range(Duration::from_millis(3))] = 2;
        let [half, most] = [0.5, 0.99].map(|part| percentile(&histogram, part).unwrap());
        assert!((4.0..6.2).contains(&half), "{half}");
        assert!((2_000.0..4_200.0).contains(&most), "{most}");
        assert!(percentile(&histogram, 1.0).unwrap() < 4_200.0);
        let last = std::array::from_fn(|at| if at == RANGES - 1 { u64::MAX } else { 1 });
        assert!(percentile(&last, 1.0).unwrap() > 1e6);
    }
}
