//! Which node has which slots, as anybody may have written it down.

use crate::cluster::slot::SLOTS;
use crate::cluster::topology::read;

/// A topology of any form. If it is one, every slot has one node and every node has slots; an error is one line and lies within the bytes.
pub fn topology(bytes: &[u8]) {
    for asked in [None, Some("10.0.0.1")] {
        let t = match read::topology(bytes, asked) {
            Ok(t) => t,
            Err(e) => {
                assert!(e.offset().is_some_and(|at| at <= bytes.len() as u64), "{e}");
                assert_eq!(e.to_string().lines().count(), 1, "{e}");
                continue;
            }
        };
        let mut owners = vec![None; usize::from(SLOTS)];
        for (number, node) in (0u16..).zip(t.nodes()) {
            assert!(node.slots.count() > 0);
            for (first, last) in node.slots.iter() {
                for slot in first..=last {
                    assert_eq!(owners[usize::from(slot)].replace(number), None);
                    assert_eq!(t.owner(slot), number);
                }
            }
            // What it says of itself is on one line, and so fit for a report.
            assert!(!node.to_string().contains(char::is_control));
        }
        assert!(owners.iter().all(Option::is_some));
    }
}
