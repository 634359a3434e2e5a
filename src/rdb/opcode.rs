//! Opcodes: the first byte of every item that is not a key record, with the version that brought it.

/// End of the file; from version 5 on the checksum follows. RDB 1.
pub const EOF: u8 = 0xff;
/// LEN: database of the keys that follow. RDB 1.
pub const SELECTDB: u8 = 0xfe;
/// i32 LE: Unix seconds at which the next key expires; last written by 2.4. RDB 1.
pub const EXPIRETIME: u8 = 0xfd;
/// i64 LE: Unix milliseconds at which the next key expires. RDB 3.
pub const EXPIRETIME_MS: u8 = 0xfc;
/// LEN, LEN: keys and expiries of the database; a hint, never a size to allocate. RDB 7.
pub const RESIZEDB: u8 = 0xfb;
/// STR, STR: name and value of an auxiliary field. RDB 7.
pub const AUX: u8 = 0xfa;
/// u8: LFU counter of the next key. RDB 9.
pub const FREQ: u8 = 0xf9;
/// LEN: seconds the next key has been idle. RDB 9.
pub const IDLE: u8 = 0xf8;
/// LEN id, LEN 2, LEN when, module items: data of a module beside the keys. RDB 9.
pub const MODULE_AUX: u8 = 0xf7;
/// STR name, STR engine, LEN, \[STR\], STR code: a function as the 7.0 release candidates wrote it. RDB 10.
pub const FUNCTION_PRE_GA: u8 = 0xf6;
/// STR: source of a function library. RDB 10.
pub const FUNCTION2: u8 = 0xf5;
/// LEN, LEN, LEN: slot, keys, expiries; Redis 7.4 and later in cluster mode. RDB 12.
pub const SLOT_INFO: u8 = 0xf4;
/// Under the `REDIS` magic, LEN n, n × (u32, module items): metadata of the next key. RDB 13.
pub const KEY_META: u8 = 0xf3;
/// Under the `VALKEY` magic, STR job, LEN n, n × (LEN, LEN): slots being imported. RDB 80.
pub const SLOT_IMPORT: u8 = 0xf3;
/// LEN id, LEN n, n × STR: field names shared by template hashes. RDB 15.
pub const HASH_TEMPLATE: u8 = 0xf2;
/// LEN: slot; Redis Enterprise.
pub const SLOT_NUM: u8 = 0x79;
/// LEN: Redis Enterprise.
pub const RAM_LRU: u8 = 0x6b;
