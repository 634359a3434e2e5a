//! Reads RDB files, the snapshots of Redis and Valkey, and their append-only files: of every version, exactly, in parallel, in bounded memory.
//!
//! The command line tool of the same name is this library and a few hundred lines; `docs/architecture.md` tells how the rooms
//! hang together. There are three levels, and a lower one does less work.
//!
//! # 1. Scan
//!
//! [`Scanner`](rdb::scan::Scanner) gives the items of a file one after the other. Values are passed over, not decoded: an
//! [`Entry`](rdb::entry::Entry) knows its key, type, expiry and place, and has the value as the bytes it is in the file.
//!
//! ```
//! use rdbtool::rdb::scan::{Item, Scanner};
//! use rdbtool::rdb::string::Scratch;
//!
//! # let path = std::env::temp_dir().join(format!("rdbtool-doc-{}.rdb", std::process::id()));
//! # std::fs::write(&path, b"REDIS0004\xfe\x00\x00\x05hello\x05world\x04\x04user\x01\x04name\x03Ann\xff")?;
//! # let mut printed = String::new();
//! # macro_rules! println { ($($t:tt)*) => { printed += &format!("{}\n", format_args!($($t)*)) } }
//! let file = std::fs::read(&path)?;
//! let mut scratch = Scratch::new();
//! for item in Scanner::new(&file)? {
//!     if let Item::Key(entry) = item? {
//!         let key = entry.key.as_bytes(&mut scratch)?;
//!         let what = entry.value_type.logical();
//!         println!("{}: {what}, {} bytes", key.escape_ascii(), entry.body.len());
//!     }
//! }
//! # assert_eq!(printed, "hello: string, 6 bytes\nuser: hash, 10 bytes\n");
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # 2. Entries and values
//!
//! [`rdb::value`] walks a value, whichever of its encodings the file has, and hands its elements to a function of yours. An element
//! borrows from the file or, where it was compressed, from buffers that are used again for the next: nothing is allocated for it.
//!
//! ```
//! use rdbtool::rdb::scan::{Item, Scanner};
//! use rdbtool::rdb::value::{Elements, Scratches, hash};
//! use rdbtool::rdb::{LogicalType, packed::Element};
//!
//! let file = b"REDIS0004\xfe\x00\x04\x04user\x02\x04name\x03Ann\x03age\xc0\x29\xff";
//! let mut scanner = Scanner::new(file)?;
//! let mut scratches = Scratches::default();
//! let mut pairs = Vec::new();
//! while let Some(item) = scanner.next_item()? {
//!     let Item::Key(entry) = item else { continue };
//!     if entry.value_type.logical() == LogicalType::Hash {
//!         let (elements, _) = Elements::of(&entry)?;
//!         hash::each(&elements, scanner.templates(), &mut scratches, |field, value, _expire_at_ms| {
//!             let (mut f, mut v) = (Vec::new(), Vec::new());
//!             field.append_to(&mut f);
//!             value.append_to(&mut v);
//!             // A number may stand in the file as one; its digits are the value.
//!             if let Element::Int(age) = value {
//!                 assert_eq!(age, 41);
//!             }
//!             pairs.push((f, v));
//!             Ok(())
//!         })?;
//!     }
//! }
//! assert_eq!(pairs, [(b"name".into(), b"Ann".into()), (b"age".into(), b"41".into())]);
//! # Ok::<(), rdbtool::RdbError>(())
//! ```
//!
//! # 3. Decode
//!
//! [`Decode`] is the whole of `rdbtool decode`: any [`Source`](source::Source) (a file, a log, a pipe, gzip, zstd, JSON) through a
//! [`Filter`](filter::Filter), on all cores, as JSON into a [`Sink`](sink::Sink), in the order of the file and in bounded memory. Its
//! example is at [`Decode::run`]. With an [`Encode`](encode::Encode) of your own, [`pipeline::run`] does the same for any other output.
//!
//! # Errors
//!
//! Every byte is checked before it is used; there is no input that panics. An [`RdbError`] has a [kind](ErrorKind), the byte offset at
//! which the broken thing starts, and the key it was found in. What came before it has been given out.
//!
//! # The modules, in the order of reading
//!
//! | | |
//! |---|---|
//! | [`error`], [`cursor`] | what everything stands on: the one error; checked reads that know their place in the file |
//! | [`rdb`] | the format: bytes in, items and values out; no I/O, no threads |
//! | [`cluster`], [`filter`] | which slot a key belongs to, and which node a slot; which keys are wanted |
//! | [`loss`] | what could not be kept, counted by reason |
//! | [`command`], [`aof`] | commands: their keys, what passes a filter; the files they are logged in |
//! | [`resp`], [`net`], [`replication`] | the protocol of the servers; connections to them; a live server as a source |
//! | [`out`], [`ndjson`], [`encode`] | the buffer that is appended to; JSON as such; from items to bytes |
//! | [`source`] | where bytes come from: told apart, mapped or read, unpacked, made from JSON |
//! | [`sink`], [`pipeline`] | where bytes go; from a source through all of these to a sink, on all cores |
//! | [`target`] | a live server or cluster as a sink for commands |
//! | [`decode`], [`dump`], [`seed`], [`verify`] | the high level: files as JSON; for servers; for the nodes of a cluster; whether a file is whole |
//! | [`fuzz`] | an entry for fuzzers |

pub mod aof;
pub mod cluster;
pub mod command;
pub mod cursor;
pub mod decode;
pub mod dump;
pub mod encode;
pub mod error;
pub mod filter;
pub mod fuzz;
pub mod loss;
pub mod ndjson;
pub mod net;
pub mod out;
pub mod pipeline;
pub mod rdb;
pub mod replication;
pub mod resp;
pub mod seed;
pub mod sink;
pub mod source;
pub mod target;
pub mod verify;

pub use decode::Decode;
pub use dump::Dump;
pub use error::{ErrorKind, RdbError, Result, quote};
pub use pipeline::Progress;
pub use seed::Seed;
