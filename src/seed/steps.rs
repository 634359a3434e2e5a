//! What is put beside the files: how to go on, and what gives the nodes their slots.
//!
//! ```text
//!   NEXT-STEPS           for people: which file goes where, with which settings, and what goes wrong easily
//!   nodes-1.conf ...     a node's cluster configuration, when the addresses are known: then no command is needed
//!   assign-slots.sh      the same by commands, for running and empty nodes
//! ```
//!
//! Neither is `redis-cli --cluster create`: that deals the ranges out by host, one node of each in turn, so that a file need not
//! belong to the node of its number; and it wants three masters.

use super::{BASE, Format, INCR, MANIFEST, Seed, Written};
use crate::error::{ErrorKind, RdbError, Result};
use crate::rdb::release::Engine;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

/// What is known when the files have been written.
pub(super) struct Plan<'s> {
    pub(super) seed: &'s Seed,
    pub(super) written: &'s [Written],
    /// How many databases are needed.
    pub(super) databases: u64,
}

/// The ports of the bus are so much above those of the clients.
const BUS: u16 = 10_000;

impl Plan<'_> {
    /// Names and texts.
    pub(super) fn files(&self) -> Result<Vec<(String, String)>> {
        let mut files = Vec::new();
        if !self.seed.exists {
            if self.has_conf() {
                files = self.confs()?;
            }
            files.push(("assign-slots.sh".to_owned(), self.script()));
        }
        files.push(("NEXT-STEPS".to_owned(), self.steps()));
        Ok(files)
    }

    /// Whether the release is at least these, or is not known.
    fn since(&self, redis: (u16, u16), valkey: (u16, u16)) -> bool {
        self.seed
            .dump
            .release
            .is_none_or(|r| r.is_at_least(redis, valkey))
    }

    fn is_valkey(&self) -> bool {
        self.seed
            .dump
            .release
            .is_some_and(|r| r.engine == Engine::Valkey)
    }

    /// Whether all nodes are placed.
    fn has_conf(&self) -> bool {
        self.seed
            .topology
            .nodes()
            .iter()
            .all(|n| n.address.is_some())
    }

    /// nodes.conf of each node.
    fn confs(&self) -> Result<Vec<(String, String)>> {
        let nodes = self.seed.topology.nodes();
        let mut lines = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            let Some((host, port)) = &node.address else {
                continue;
            };
            if host.parse::<IpAddr>().is_err() {
                let what = format!("nodes.conf takes IP addresses, and {host:?} is none");
                return Err(RdbError::other(ErrorKind::Unsupported, what));
            }
            let Some(bus) = port.checked_add(BUS) else {
                let what =
                    format!("port {port}: the cluster's bus is {BUS} above it, which is no port");
                return Err(RdbError::other(ErrorKind::Unsupported, what));
            };
            let id = node.id.clone().unwrap_or_else(id);
            // The bus port stands there from 4.0 on.
            let bus = match self.since((4, 0), (0, 0)) {
                true => format!("@{bus}"),
                false => String::new(),
            };
            let slots = node.slots.to_string().replace(',', " ");
            lines.push((
                format!("{id} {host}:{port}{bus} "),
                format!("master - 0 0 {} connected {slots}\n", i + 1),
            ));
        }
        let n = lines.len();
        let conf = |own: usize| {
            let mut text = String::new();
            for (i, (head, tail)) in lines.iter().enumerate() {
                let me = if i == own { "myself," } else { "" };
                let _ = write!(text, "{head}{me}{tail}");
            }
            let _ = writeln!(text, "vars currentEpoch {n} lastVoteEpoch 0");
            (format!("nodes-{}.conf", own + 1), text)
        };
        Ok((0..n).map(conf).collect())
    }

    /// Commands for nodes that are running and empty.
    fn script(&self) -> String {
        let nodes = self.seed.topology.nodes();
        let mut ranges = String::new();
        for node in nodes {
            let _ = writeln!(ranges, "{}", node.slots);
        }
        let cli = if self.is_valkey() {
            "valkey-cli"
        } else {
            "redis-cli"
        };
        SCRIPT
            .replace("@CLI@", cli)
            .replace("@N@", &nodes.len().to_string())
            .replace("@RANGES@", ranges.trim_end())
    }

    fn steps(&self) -> String {
        let seed = self.seed;
        let nodes = seed.topology.nodes();
        let n = nodes.len();
        let keys: u64 = self.written.iter().map(|w| w.keys).sum();
        let stem = seed.format.stem();
        let cli = if self.is_valkey() {
            "valkey-cli"
        } else {
            "redis-cli"
        };
        let mut t = String::new();
        let servers = match seed.dump.release {
            Some(r) => format!("{r}"),
            None => "servers at least as new as the one that wrote the source".to_owned(),
        };
        let files = seed.files();
        let commands: u64 = self.written.iter().map(|w| w.commands).sum();
        let what = match commands {
            0 => format!("{keys} keys"),
            c => format!("{keys} keys and then {c} commands"),
        };
        let _ = writeln!(t, "{what} for a cluster of {n}, for {servers}.\n");
        let _ = writeln!(
            t,
            "{}",
            columns(["file", "slots", "keys", "bytes", "node"].map(str::to_owned))
        );
        for ((node, file), w) in nodes.iter().zip(&files).zip(self.written) {
            let at = match (&node.address, &node.id) {
                (Some(_), Some(id)) => format!("{node} ({id})"),
                (None, None) => format!("any; the same one for {file} throughout"),
                _ => node.to_string(),
            };
            let slots = node.slots.to_string();
            let row = [
                file.clone(),
                slots,
                w.keys.to_string(),
                w.size().to_string(),
                at,
            ];
            let _ = writeln!(t, "{}", columns(row));
        }
        let _ = writeln!(
            t,
            "\nEach file holds exactly its node's slots. {MANIFEST} says the same for programs; its \"cksum\" is what `cksum FILE` prints first.\n"
        );

        let mut step = 0;
        let mut next = |text: &str| {
            step += 1;
            let _ = writeln!(t, "{step}. {}\n", text.replace('\n', "\n   "));
        };
        let place = match seed.format {
            Format::Aof | Format::AofRdbPreamble => {
                format!("{stem}-K as DIR/appendonly.aof (the name of `appendfilename`)")
            }
            Format::Rdb => format!("{stem}-K as DIR/dump.rdb (the name of `dbfilename`)"),
            Format::AppendOnlyDir => format!(
                "the directory {stem}-K as DIR/appendonlydir (the name of `appenddirname`; the names in it are those of the default\n\
                 `appendfilename`, appendonly.aof: {BASE}{} and a manifest)",
                match self.written.iter().any(|w| w.apart.is_some()) {
                    true => format!(",\n{INCR} with the commands,"),
                    false => String::new(),
                }
            ),
            Format::Restore => String::new(),
        };
        let leftovers = match self.since((7, 0), (0, 0)) {
            true => "appendonlydir, appendonly.aof, dump.rdb",
            false => "appendonly.aof, dump.rdb",
        };
        let aof = if seed.format == Format::Rdb {
            "no"
        } else {
            "yes"
        };
        let mut settings = vec![
            "cluster-enabled yes".to_owned(),
            format!("appendonly {aof}"),
        ];
        if self.databases > 1 {
            settings.push(format!("cluster-databases {}", self.databases.max(16)));
        }
        let settings = settings.join(", ");
        let create = format!(
            "Start {n} empty nodes with `cluster-enabled yes`, `appendonly no`{}, and give them these slots:\n\
             \n    sh assign-slots.sh HOST:PORT ...     {n} of them, in the order of the files; REDIS_CLI=\"{cli} -a ...\" for options\n\
             \nNot `{cli} --cluster create`: it takes a node of each host in turn, so that {stem}-2 may not be of the second node{}.",
            if self.databases > 1 {
                format!(", `cluster-databases {}`", self.databases.max(16))
            } else {
                String::new()
            },
            if n < 3 {
                ", and it wants three masters"
            } else {
                ""
            },
        );
        let placing = |conf: &str| {
            format!(
                "In each node's directory DIR (its setting `dir`) delete what is there of {leftovers}; put {place}{conf}.\n\
             The user of the server must own all of it: it writes there."
            )
        };
        match (seed.format, seed.exists, self.has_conf()) {
            (Format::Restore, exists, _) => {
                if !exists {
                    next(&create);
                }
                next(&format!(
                    "Pipe each file into its node:\n\n    {cli} -h HOST -p PORT --pipe < {stem}-K\n\n\
                     It must say `errors: 0`. An error MOVED means that the slots have another owner than when the files were made."
                ));
            }
            (_, true, _) => {
                next(
                    "Stop every node of the cluster, replicas first, with SHUTDOWN NOSAVE: without NOSAVE a node may write its old data over the new.\nWhat the nodes hold now is given up. The slots must be those of the list above still.",
                );
                next(&placing(
                    ". Leave nodes.conf as it is. The directories of replicas: delete the same there, and put nothing",
                ));
                next(&format!(
                    "Start the masters with `{settings}`, and wait for `cluster_state:ok` (CLUSTER INFO) and `loading:0` (INFO persistence) on each.\nThen start the replicas: they copy their masters."
                ));
            }
            (_, false, true) => {
                next(&placing(
                    ",\nand nodes-K.conf as DIR/nodes.conf (the name of `cluster-config-file`)",
                ));
                next(&format!(
                    "Start all nodes, each on its port of the list above, with `{settings}`. They find each other within seconds.\n(Or without nodes-K.conf: start them empty, sh assign-slots.sh HOST:PORT ..., SHUTDOWN NOSAVE, and then as above.)"
                ));
            }
            (_, false, false) => {
                next(&create);
                next(
                    "Stop all nodes with SHUTDOWN NOSAVE: without NOSAVE a node may write an empty file where its data should be.",
                );
                next(&placing(". Leave nodes.conf as it is"));
                next(&format!(
                    "Start all nodes with `{settings}`, and wait for `cluster_state:ok` (CLUSTER INFO) on each."
                ));
            }
        }
        let check = format!(
            "{cli} --cluster check HOST:PORT     must say {} in {n} {}, all slots covered, and warn of nothing{}",
            // How many there are once the commands have been done nobody has counted.
            match commands {
                0 => format!("{keys} keys"),
                _ => "how many keys there are".to_owned(),
            },
            if self.is_valkey() {
                "primaries"
            } else {
                "masters"
            },
            if self.databases > 1 {
                "\n(it counts database 0 only)"
            } else {
                ""
            }
        );
        next(&format!(
            "Check:\n\n    {check}\n\nand DBSIZE of each node against the list. Keys that had expired are gone. No line of a node's log may have the word CRITICAL."
        ));
        if seed.format == Format::Rdb {
            next(
                "If append-only files are wanted: CONFIG SET appendonly yes on each node, wait for `aof_rewrite_in_progress:0` (INFO persistence), and only then write it into the configuration (CONFIG REWRITE).",
            );
        }
        if !seed.exists {
            next(&format!(
                "Add replicas ({cli} --cluster add-node NEW:PORT OLD:PORT --cluster-slave) when the masters are well: they copy them."
            ));
        }

        let _ = writeln!(t, "What goes wrong easily\n");
        let mut trap = |text: &str| {
            let _ = writeln!(t, "- {}", text.replace('\n', "\n  "));
        };
        if seed.format != Format::Restore {
            trap(match self.seed.dump.release {
                Some(r) if r.is_at_least((8, 4), (8, 0)) => {
                    "A file in the wrong node: keys of slots that are another node's are DELETED at the start, with no more than a line in the log."
                }
                Some(_) => {
                    "A file in the wrong node: keys of slots that are another node's stay there, unreachable, and `--cluster check` complains of open slots."
                }
                None => {
                    "A file in the wrong node: Redis from 8.4 on and Valkey from 8.0 on DELETE keys of slots that are another node's, with no more than a line in\nthe log; older ones keep them, unreachable, and `--cluster check` complains of open slots."
                }
            });
            trap(
                "Data before slots: a node that has keys and no slots takes the slots of its keys, and then belongs to no cluster that is made later.",
            );
        }
        match seed.format {
            Format::Aof | Format::AofRdbPreamble if self.since((7, 0), (0, 0)) => trap(
                "A leftover appendonlydir wins over appendonly.aof without a word. A node that fails to load appendonly.aof has already moved it into\nappendonlydir: delete that directory before trying again (from 7.0 on).",
            ),
            Format::AppendOnlyDir => trap(
                "A leftover appendonly.aof or appendonlydir of other names: only what the manifest names is loaded.",
            ),
            Format::Rdb => trap("With `appendonly yes` a node ignores dump.rdb and starts empty."),
            _ => {}
        }
        if seed.format != Format::Restore {
            trap(match seed.format {
                Format::Rdb => {
                    "SHUTDOWN without NOSAVE, or a `save` rule that comes due, before the start with the new file: it writes over it."
                }
                _ => {
                    "`appendonly yes` must be set before the start. Switched on afterwards it writes what the node has then: nothing."
                }
            });
        }
        if self.databases > 1 {
            trap(
                "`cluster-databases` cannot be changed while a node runs. Too small, and the keys of higher databases land in database 0.",
            );
        }
        if n < 3 {
            trap(
                "With fewer than three masters no majority is left when one fails, so there is no fail-over.",
            );
        }
        trap(
            "Clients' ports are not enough: the nodes speak to each other on port + 10000 (unless `cluster-port` says otherwise).",
        );
        t
    }
}

/// A row of a table.
fn columns([a, b, c, d, e]: [String; 5]) -> String {
    format!("  {a:<18} {b:<20} {c:>12} {d:>15}  {e}")
        .trim_end()
        .to_owned()
}

/// An id that no other node has, in this cluster or any other that it may ever meet.
fn id() -> String {
    let [a, b, c] = [(); 3].map(|()| RandomState::new().hash_one(b"node"));
    format!("{a:016x}{b:016x}{:08x}", c as u32)
}

const SCRIPT: &str = r#"#!/bin/sh
# Gives running, empty nodes the slots of the files beside this script, and joins them into a cluster.
#
#   sh assign-slots.sh HOST:PORT HOST:PORT ...        one for each file, in the order of the files
#
# REDIS_CLI is the program and its options, such as "redis-cli --tls -a secret". Releases before 7.0 want IP addresses.
set -eu
cli=${REDIS_CLI:-@CLI@}
if [ $# -ne @N@ ]; then
  echo "usage: sh $0 HOST:PORT ...    (@N@ of them)" >&2
  exit 2
fi

host() { h=${1%:*}; h=${h#\[}; echo "${h%\]}"; }
ask() { address=$1; shift; $cli -h "$(host "$address")" -p "${address##*:}" "$@" < /dev/null; }
must() {
  answer=$(ask "$@") || answer="no answer"
  [ "$answer" = OK ] || { echo "$1: $answer" >&2; exit 1; }
}

for address in "$@"; do
  size=$(ask "$address" DBSIZE)
  known=$(ask "$address" CLUSTER INFO | tr -d '\r' | sed -n 's/^cluster_known_nodes://p')
  [ "$size" = 0 ] && [ "$known" = 1 ] || { echo "$address: not an empty node of no cluster (keys: $size, nodes it knows: ${known:-none})" >&2; exit 1; }
done

n=0
for address in "$@"; do
  n=$((n + 1))
  must "$address" CLUSTER SET-CONFIG-EPOCH $n
  ranges=$(sed -n "${n}p" << 'END'
@RANGES@
END
  )
  complaints=$(echo "$ranges" | tr , '\n' |
    awk -F- '{ for (s = $1; s <= $NF; s++) print s }' |
    xargs -n 1000 $cli -h "$(host "$address")" -p "${address##*:}" CLUSTER ADDSLOTS | grep -v '^OK$' || true)
  [ -z "$complaints" ] || { echo "$address: $complaints" >&2; exit 1; }
done

for address in "$@"; do
  [ "$address" = "$1" ] || must "$1" CLUSTER MEET "$(host "$address")" "${address##*:}"
done

tries=0
for address in "$@"; do
  until ask "$address" CLUSTER INFO | tr -d '\r' | grep -q '^cluster_state:ok$' &&
    ask "$address" CLUSTER INFO | tr -d '\r' | grep -q '^cluster_known_nodes:@N@$'; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { echo "$address: the cluster is not well after $tries tries" >&2; exit 1; }
    sleep 0.2
  done
done
echo "@N@ nodes have their slots"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dump;
    use crate::cluster::topology::Topology;
    use crate::cluster::topology::read::topology;
    use std::path::PathBuf;

    fn seed(n: u16, format: Format, release: Option<&str>) -> Seed {
        Seed {
            dump: Dump {
                release: release.map(|r| r.parse().unwrap()),
                ..Dump::default()
            },
            topology: Topology::even(n),
            exists: false,
            format,
            databases: 1,
        }
    }

    fn files(seed: &Seed, databases: u64) -> Result<Vec<(String, String)>> {
        let written = Written {
            path: PathBuf::new(),
            bytes: 7,
            keys: 2,
            commands: 0,
            cksum: 1,
            apart: None,
        };
        let plan = Plan {
            seed,
            written: &vec![written; seed.topology.nodes().len()],
            databases,
        };
        plan.files()
    }

    #[test]
    fn configuration_reads_back() {
        let mut seed = seed(3, Format::Aof, Some("redis-7.0"));
        let addresses = ["10.0.0.1", "10.0.0.2", "::1"].map(|h| (h.to_owned(), 7000));
        seed.topology.place(addresses.to_vec()).unwrap();
        let all = files(&seed, 1).unwrap();
        let names: Vec<_> = all.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(
            names,
            [
                "nodes-1.conf",
                "nodes-2.conf",
                "nodes-3.conf",
                "assign-slots.sh",
                "NEXT-STEPS"
            ]
        );
        let mut ids = Vec::new();
        for (i, (_, text)) in all.iter().take(3).enumerate() {
            let read = topology(text.as_bytes(), None).unwrap();
            for (a, b) in read.nodes().iter().zip(seed.topology.nodes()) {
                assert_eq!((&a.address, &a.slots), (&b.address, &b.slots));
            }
            ids.push(
                read.nodes()
                    .iter()
                    .map(|n| n.id.clone())
                    .collect::<Vec<_>>(),
            );
            let own: Vec<_> = text.lines().map(|l| l.contains("myself,master")).collect();
            assert_eq!(own.iter().position(|&o| o), Some(i));
            assert_eq!(own.iter().filter(|&&o| o).count(), 1);
        }
        assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[0][0] != ids[0][1]);
        for (host, port, what) in [
            ("host", 7000, "IP addresses"),
            ("10.0.0.1", 60000, "is no port"),
        ] {
            seed.topology
                .place(vec![(host.to_owned(), port); 3])
                .unwrap();
            let e = files(&seed, 1).unwrap_err();
            assert!(e.to_string().contains(what), "{e}");
        }
    }

    /// What is said depends on what is asked for.
    #[test]
    fn steps_are_of_the_release_and_the_format() {
        let rows: [(Format, Option<&str>, &[&str], &[&str]); 6] = [
            (
                Format::Aof,
                Some("redis-6.2"),
                &[
                    "appendonly yes",
                    "aof-K as DIR/appendonly.aof",
                    "unreachable",
                ],
                &["appendonlydir", "DELETED", "cluster-databases"],
            ),
            (
                Format::Aof,
                Some("redis-8.6"),
                &["A leftover appendonlydir wins", "DELETED at the start"],
                &["valkey"],
            ),
            (
                Format::AofRdbPreamble,
                None,
                &[
                    "A leftover appendonlydir wins",
                    "Redis from 8.4 on and Valkey",
                ],
                &[],
            ),
            (
                Format::Rdb,
                Some("valkey-9.0"),
                &[
                    "`cluster-enabled yes, appendonly no`",
                    "DIR/dump.rdb",
                    "valkey-cli --cluster check",
                    "CONFIG SET appendonly yes",
                ],
                &["redis-cli"],
            ),
            (
                Format::AppendOnlyDir,
                Some("redis-7.0"),
                &["the directory appendonlydir-K as DIR/appendonlydir"],
                &["DIR/dump.rdb"],
            ),
            (
                Format::Restore,
                Some("redis-7.0"),
                &["redis-cli -h HOST -p PORT --pipe < restore-K"],
                &["A file in the wrong node"],
            ),
        ];
        for (format, release, has, lacks) in rows {
            for n in [2, 3] {
                let all = files(&seed(n, format, release), 1).unwrap();
                assert_eq!(all.len(), 2);
                let (_, text) = &all[1];
                for word in has {
                    assert!(
                        text.contains(word),
                        "{format:?} {release:?}: no {word:?} in\n{text}"
                    );
                }
                for word in lacks {
                    assert!(
                        !text.contains(word),
                        "{format:?} {release:?}: {word:?} in\n{text}"
                    );
                }
                assert_eq!(text.contains("wants three masters"), n == 2);
                assert!(text.contains("sh assign-slots.sh"));
            }
        }
        let (_, text) = files(&seed(3, Format::Aof, Some("valkey-9.0")), 4)
            .unwrap()
            .remove(1);
        assert!(text.contains("cluster-databases 16"), "{text}");
        let mut existing = seed(3, Format::Aof, Some("redis-7.0"));
        existing.exists = true;
        let all = files(&existing, 1).unwrap();
        assert_eq!(all.len(), 1);
        assert!(
            all[0].1.contains("Leave nodes.conf as it is"),
            "{}",
            all[0].1
        );
    }
}
