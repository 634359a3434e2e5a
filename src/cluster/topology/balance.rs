//! Contiguous ranges of slots with equal weight, as far as that is possible.
//!
//! ```text
//!   weights   5 1 1 9 1 1 1 5        3 nodes
//!             5 1 1|9|1 1 1 5        heaviest 9: no cut has less
//! ```
//!
//! First the least weight that the heaviest node can have, by halving; then, within that, each end as near to an equal share of what is
//! left as can be, so that the others are not needlessly unequal.

use crate::cluster::slot::SLOTS;

/// The last slot of each of `n` nodes, 1 to 16384.
pub(super) fn ends(n: u16, weights: &[u64]) -> Vec<u16> {
    // Sums of 16384 numbers of 64 bits.
    let mut before = vec![0u128];
    let mut sum = 0u128;
    for slot in 0..usize::from(SLOTS) {
        sum += u128::from(weights.get(slot).copied().unwrap_or_default());
        before.push(sum);
    }
    let before = |slot: usize| before.get(slot).copied().unwrap_or(sum);
    let (all, n) = (usize::from(SLOTS), usize::from(n));

    // needed[s]: how many nodes the slots from s on take, none above the limit; too many if a single slot is.
    let needed = |limit: u128| -> Vec<usize> {
        let mut needed = vec![0; all + 1];
        let mut end = all;
        for slot in (0..all).rev() {
            while end > slot && before(end) - before(slot) > limit {
                end -= 1;
            }
            let rest = match end > slot {
                true => needed.get(end).copied().unwrap_or_default() + 1,
                false => all + 1,
            };
            if let Some(to) = needed.get_mut(slot) {
                *to = rest;
            }
        }
        needed
    };
    let fits = |limit| needed(limit).first().is_some_and(|&k| k <= n);
    let (mut low, mut high) = (0u128, sum);
    while low < high {
        let middle = low + (high - low) / 2;
        match fits(middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    let limit = high;
    let needed = needed(limit);

    let mut ends = Vec::with_capacity(n);
    let mut first = 0;
    for left in (1..=n).rev() {
        // Not so far that the nodes behind have no slot, and not so near that they have too much.
        let most = all - (left - 1);
        let may = |end: usize| {
            before(end) - before(first) <= limit && needed.get(end).is_some_and(|&k| k < left)
        };
        let share = (sum - before(first)) / (left as u128);
        let off = |end: usize| (before(end) - before(first)).abs_diff(share);
        let end = (first + 1..=most)
            .filter(|&e| may(e))
            .min_by_key(|&e| off(e));
        let end = match left {
            1 => all,
            _ => end.unwrap_or(first + 1),
        };
        ends.push(u16::try_from(end - 1).unwrap_or(SLOTS - 1));
        first = end;
    }
    ends
}
