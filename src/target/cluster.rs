//! Which node has which slots.
//!
//! By CLUSTER SLOTS, which all releases know, and then by what single commands are told.

use super::retry::node_at;
use crate::cluster::slot::SLOTS;
use crate::cluster::topology::read::slot_ranges;
use crate::net::Address;
use crate::resp::Reply;

/// The masters, and which of them has a slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub(super) masters: Vec<Address>,
    /// Of each slot, the number of its master and one: 0 for none.
    slots: Vec<u16>,
    /// All nodes, to be asked.
    pub(super) nodes: Vec<Address>,
}

impl Map {
    /// One server that has all slots.
    pub(super) fn of_one(address: Address) -> Map {
        Map {
            masters: vec![address.clone()],
            slots: vec![1; usize::from(SLOTS)],
            nodes: vec![address],
        }
    }

    /// Out of the answer of the node at `asked` to CLUSTER SLOTS.
    pub(super) fn read(reply: &Reply, asked: &Address) -> Option<Map> {
        let mut map = Map {
            slots: vec![0; usize::from(SLOTS)],
            ..Map::default()
        };
        for range in slot_ranges(reply)? {
            for (i, &(host, port, _)) in range.nodes.iter().enumerate() {
                let address = node_at(host, port, asked)?;
                if !map.nodes.contains(&address) {
                    map.nodes.push(address.clone());
                }
                if i == 0 {
                    for s in range.first..=range.last {
                        map.set(s, &address);
                    }
                }
            }
        }
        Some(map)
    }

    /// A slot has been found at another node.
    pub(super) fn set(&mut self, slot: u16, address: &Address) {
        let at = match self.masters.iter().position(|m| m == address) {
            Some(at) => at,
            None => {
                self.masters.push(address.clone());
                self.masters.len() - 1
            }
        };
        if let Some(s) = self.slots.get_mut(usize::from(slot)) {
            *s = u16::try_from(at + 1).unwrap_or(0);
        }
    }

    /// The number of the master that has a slot.
    #[inline]
    pub(super) fn master(&self, slot: u16) -> Option<usize> {
        let n = *self.slots.get(usize::from(slot))?;
        usize::from(n).checked_sub(1)
    }

    /// The first slot that nobody has.
    pub(super) fn hole(&self) -> Option<usize> {
        self.slots.iter().position(|&s| s == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_as_servers_tell_them() {
        let bytes = b"*2\r\n\
            *4\r\n:0\r\n:8000\r\n*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*2\r\n$9\r\n127.0.0.1\r\n:7001\r\n\
            *3\r\n:8001\r\n:16383\r\n*4\r\n$-1\r\n:7002\r\n$2\r\nid\r\n*0\r\n";
        let reply = Reply::read(bytes, 0).unwrap().unwrap();
        let asked = Address::Tcp("h".into(), 9);
        let mut map = Map::read(&reply, &asked).unwrap();
        let tcp = |h: &str, p| Address::Tcp(h.into(), p);
        assert_eq!(map.masters, [tcp("127.0.0.1", 7000), tcp("h", 7002)]);
        assert_eq!(map.nodes.len(), 3);
        assert_eq!((map.master(8000), map.master(8001)), (Some(0), Some(1)));
        assert_eq!((map.master(16384), map.hole()), (None, None));
        map.set(5, &tcp("127.0.0.1", 7001));
        assert_eq!((map.master(5), map.master(6)), (Some(2), Some(0)));

        let short = Reply::read(b"*1\r\n*3\r\n:1\r\n:5\r\n*2\r\n$1\r\na\r\n:7\r\n", 0);
        let map = Map::read(&short.unwrap().unwrap(), &asked).unwrap();
        assert_eq!(map.hole(), Some(0));
        for bad in [
            &b":1\r\n"[..],
            b"*1\r\n*1\r\n:1\r\n",
            b"*1\r\n*3\r\n:0\r\n:16384\r\n*0\r\n",
        ] {
            let reply = Reply::read(bad, 0).unwrap().unwrap();
            assert!(Map::read(&reply, &asked).is_none(), "{reply}");
        }
    }
}
