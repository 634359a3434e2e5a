//! Which node has which slots: evenly, by weight, or as an existing cluster has it.
//!
//! ```text
//!   even(3)             0-5460  5461-10922  10923-16383          as `redis-cli --cluster create` deals them out
//!   by_weight(3, w)     0-211   212-9000    9001-16383           so that the heaviest node is as light as can be
//!   read::topology      nodes.conf, CLUSTER NODES, SLOTS, SHARDS as servers and their CLIs print them, JSON
//! ```
//!
//! Every slot has exactly one node, and every node has slots: a master without any holds no keys and is left out.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::panic
    )
)]

mod balance;
pub mod read;

use super::slot::SLOTS;
use std::fmt;

/// What keys a cluster node has: its slots, and where it is, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its id: 40 digits in hex.
    pub id: Option<String>,
    /// Host name or IP address, without brackets, and port.
    pub address: Option<(String, u16)>,
    /// Its slots.
    pub slots: Ranges,
}

/// By its address, or else its id.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, &self.id) {
            (Some((host, port)), _) if host.contains(':') => write!(f, "[{host}]:{port}"),
            (Some((host, port)), _) => write!(f, "{host}:{port}"),
            (None, Some(id)) => f.write_str(id),
            (None, None) => write!(f, "the node of slots {}", self.slots),
        }
    }
}

/// Slots: ranges in ascending order, first and last included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u16, u16)>);

impl Ranges {
    /// Each range: its first and its last slot.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.0.iter().copied()
    }

    /// How many slots there are.
    pub fn count(&self) -> u32 {
        self.iter().map(|(a, b)| u32::from(b - a) + 1).sum()
    }

    /// The lowest slot.
    pub fn first(&self) -> Option<u16> {
        self.0.first().map(|r| r.0)
    }

    /// Adds a slot above all others.
    fn push(&mut self, slot: u16) {
        match self.0.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(slot) => *last = slot,
            _ => self.0.push((slot, slot)),
        }
    }
}

/// As `0-5460,7000`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// Nodes that have all slots among them.
#[derive(Clone, PartialEq, Eq)]
pub struct Topology {
    nodes: Vec<Node>,
    owners: Box<[u16]>,
}

/// Without the table.
impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.nodes).finish()
    }
}

impl Topology {
    /// `n` nodes, 1 to 16384, with as many slots each as `redis-cli --cluster create` gives them; a number outside that is taken for
    /// the nearest that can be.
    ///
    /// ```
    /// use rdbtool::cluster::topology::Topology;
    /// let slots: Vec<_> = Topology::even(3).nodes().iter().map(|n| n.slots.to_string()).collect();
    /// assert_eq!(slots, ["0-5460", "5461-10922", "10923-16383"]);
    /// ```
    pub fn even(n: u16) -> Topology {
        let n = n.clamp(1, SLOTS);
        // In doubles, and with their rounding, as redis-cli computes it.
        let width = f64::from(SLOTS) / f64::from(n);
        let (mut cursor, mut first) = (0.0f64, 0u16);
        let ends = (1..=n).map(|i| {
            let last = (cursor + width - 1.0).round();
            let last = match i == n || last > f64::from(SLOTS - 1) {
                true => SLOTS - 1,
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a slot
                false => (last as u16).max(first),
            };
            first = last.saturating_add(1);
            cursor += width;
            last
        });
        Topology::ending(ends)
    }

    /// `n` nodes with contiguous ranges such that the heaviest is as light as can be, by the weight of each slot.
    pub fn by_weight(n: u16, weights: &[u64]) -> Topology {
        Topology::ending(balance::ends(n.clamp(1, SLOTS), weights))
    }

    /// Contiguous ranges that end at these slots, the last at the very last.
    fn ending(ends: impl IntoIterator<Item = u16>) -> Topology {
        let mut owners = vec![0; usize::from(SLOTS)].into_boxed_slice();
        let (mut nodes, mut first, mut number) = (Vec::new(), 0u16, 0u16);
        for last in ends {
            let range = usize::from(first)..=usize::from(last);
            if let Some(slots) = owners.get_mut(range) {
                slots.fill(number);
            }
            nodes.push(Node {
                slots: Ranges(vec![(first, last)]),
                ..Node::default()
            });
            (first, number) = (last.saturating_add(1), number.saturating_add(1));
        }
        Topology { nodes, owners }
    }

    /// The nodes. At least one.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The number of the node that has a slot.
    #[inline]
    pub fn owner(&self, slot: u16) -> u16 {
        // The mask lets the compiler see that no slot is above the last.
        self.owners
            .get(usize::from(slot & (SLOTS - 1)))
            .copied()
            .unwrap_or_default()
    }

    /// Gives the nodes these addresses, of which there must be as many.
    pub fn place(&mut self, addresses: Vec<(String, u16)>) -> Result<(), String> {
        if addresses.len() != self.nodes.len() {
            return Err(format!(
                "{} addresses for {} nodes",
                addresses.len(),
                self.nodes.len()
            ));
        }
        for (node, address) in self.nodes.iter_mut().zip(addresses) {
            node.address = Some(address);
        }
        Ok(())
    }
}

/// What a topology is gathered in while it is read.
#[derive(Debug)]
struct Gather {
    /// Of each slot, the number of its node and one: 0 for none.
    owners: Vec<u16>,
    nodes: Vec<Node>,
}

/// More masters than slots cannot be told apart by them.
const MOST: usize = SLOTS as usize;

impl Gather {
    fn new() -> Self {
        Gather {
            owners: vec![0; usize::from(SLOTS)],
            nodes: Vec::new(),
        }
    }

    /// The number of a node, which may have been named before.
    fn node(&mut self, id: Option<&str>, address: Option<(&str, u16)>) -> Result<u16, String> {
        let address = address.map(|(host, port)| (host.to_owned(), port));
        let same = |n: &Node| match (&n.id, id) {
            (Some(a), Some(b)) => a == b,
            _ => address.is_some() && n.address == address,
        };
        // Of a cluster with a thousand ranges the one before is mostly the one.
        if let Some(at) = self.nodes.iter().rposition(same) {
            return u16::try_from(at).map_err(|e| e.to_string());
        }
        self.add(Node {
            id: id.map(str::to_owned),
            address,
            slots: Ranges::default(),
        })
    }

    /// A node that has not been named before.
    fn add(&mut self, node: Node) -> Result<u16, String> {
        if self.nodes.len() >= MOST {
            return Err(format!("more than {MOST} nodes"));
        }
        self.nodes.push(node);
        u16::try_from(self.nodes.len() - 1).map_err(|e| e.to_string())
    }

    fn give(&mut self, first: u16, last: u16, node: u16) -> Result<(), String> {
        if first > last || last >= SLOTS {
            return Err(format!("{first}-{last} is no range of slots, 0 to 16383"));
        }
        for slot in first..=last {
            if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
                if let Some(other) = owner.checked_sub(1) {
                    let name = |n: u16| {
                        let node = self.nodes.get(usize::from(n));
                        match node {
                            Some(node) if node.address.is_some() || node.id.is_some() => {
                                node.to_string()
                            }
                            _ => format!("node {}", n + 1),
                        }
                    };
                    return Err(match other == node {
                        true => format!("slot {slot} is given to {} twice", name(node)),
                        false => format!(
                            "slot {slot} is given to {} and to {}",
                            name(other),
                            name(node)
                        ),
                    });
                }
                *owner = node + 1;
            }
        }
        Ok(())
    }

    /// The nodes that have slots. `by_slot` says that they come in the order of their lowest slots, or else in that of their naming.
    fn finish(mut self, by_slot: bool) -> Result<Topology, String> {
        let mut holes = Ranges::default();
        for (slot, &owner) in (0..SLOTS).zip(&self.owners) {
            match owner
                .checked_sub(1)
                .and_then(|n| self.nodes.get_mut(usize::from(n)))
            {
                Some(node) => node.slots.push(slot),
                None => holes.push(slot),
            }
        }
        if holes.count() == u32::from(SLOTS) {
            return Err("no node has any slot".to_owned());
        }
        if holes.count() > 0 {
            let shown = Ranges(holes.iter().take(5).collect());
            let more = if holes.0.len() > 5 { " ..." } else { "" };
            return Err(format!(
                "{} of 16384 slots have no node: {shown}{more}",
                holes.count()
            ));
        }
        self.nodes.retain(|n| n.slots.count() > 0);
        if by_slot {
            self.nodes.sort_by_key(|n| n.slots.first());
        }
        let mut owners = vec![0; usize::from(SLOTS)].into_boxed_slice();
        for (number, node) in (0u16..).zip(&self.nodes) {
            for (first, last) in node.slots.iter() {
                if let Some(slots) = owners.get_mut(usize::from(first)..=usize::from(last)) {
                    slots.fill(number);
                }
            }
        }
        Ok(Topology {
            nodes: self.nodes,
            owners,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each slot with exactly one node, each node with slots, and both tell the same.
    fn sound(t: &Topology) {
        let mut seen = vec![false; usize::from(SLOTS)];
        for (number, node) in (0u16..).zip(t.nodes()) {
            assert!(node.slots.count() > 0);
            for (first, last) in node.slots.iter() {
                for slot in first..=last {
                    assert!(!std::mem::replace(&mut seen[usize::from(slot)], true));
                    assert_eq!(t.owner(slot), number);
                }
            }
        }
        assert!(seen.iter().all(|&s| s));
    }

    /// What the CLIs of Redis 5.0 to 8.0 and Valkey 9.1 gave.
    #[test]
    fn as_the_cli_deals_them_out() {
        let rows: [(u16, &[&str]); 4] = [
            (3, &["0-5460", "5461-10922", "10923-16383"]),
            (4, &["0-4095", "4096-8191", "8192-12287", "12288-16383"]),
            (
                5,
                &[
                    "0-3276",
                    "3277-6553",
                    "6554-9829",
                    "9830-13106",
                    "13107-16383",
                ],
            ),
            (
                6,
                &[
                    "0-2730",
                    "2731-5460",
                    "5461-8191",
                    "8192-10922",
                    "10923-13652",
                    "13653-16383",
                ],
            ),
        ];
        for (n, want) in rows {
            let got: Vec<_> = Topology::even(n)
                .nodes
                .iter()
                .map(|n| n.slots.to_string())
                .collect();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn any_number_of_nodes() {
        for n in (1..40).chain([100, 1000, 1001, 8191, 8192, 16383, 16384]) {
            let t = Topology::even(n);
            assert_eq!(t.nodes().len(), usize::from(n));
            sound(&t);
            let (least, most) = t.nodes().iter().fold((u32::MAX, 0), |(a, b), n| {
                (a.min(n.slots.count()), b.max(n.slots.count()))
            });
            assert!(most - least <= 2, "{n}: {least} to {most}");
        }
    }

    #[test]
    fn by_weight() {
        let mut weights = vec![1u64; usize::from(SLOTS)];
        let of = |t: &Topology, weights: &[u64]| -> Vec<u64> {
            let sum = |(a, b): (u16, u16)| -> u64 {
                weights[usize::from(a)..=usize::from(b)].iter().sum()
            };
            t.nodes()
                .iter()
                .map(|n| n.slots.iter().map(sum).sum())
                .collect()
        };
        let t = Topology::by_weight(4, &weights);
        sound(&t);
        assert_eq!(of(&t, &weights), [4096; 4]);
        // One slot as heavy as all others.
        weights[10_000] = 16_384;
        let t = Topology::by_weight(3, &weights);
        sound(&t);
        let got = of(&t, &weights);
        assert_eq!(got.iter().max(), Some(&16_384), "{got:?}");
        // Nothing anywhere, or all in one place.
        for weights in [
            vec![0; 16384],
            {
                let mut w = vec![0; 16384];
                w[0] = 9;
                w
            },
            {
                let mut w = vec![0; 16384];
                w[16383] = u64::MAX;
                w
            },
        ] {
            for n in [1, 2, 3, 16, 1000, 16384] {
                let t = Topology::by_weight(n, &weights);
                assert_eq!(t.nodes().len(), usize::from(n));
                sound(&t);
            }
        }
    }

    #[test]
    fn nodes_are_shown() {
        let mut t = Topology::even(1);
        assert_eq!(t.nodes()[0].to_string(), "the node of slots 0-16383");
        assert!(t.place(Vec::new()).is_err());
        t.place(vec![("::1".to_owned(), 7000)]).unwrap();
        assert_eq!(t.nodes()[0].to_string(), "[::1]:7000");
    }
}
