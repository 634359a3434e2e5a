#!/usr/bin/env python3
"""RDB files to measure with, written by a real redis-server.

  make-data.py [--out bench-data] [--small] [--redis PROGRAM] [NAME ...]

NAME (all of them by default):
  small-strings  5 million short strings, a quarter of them with an expiry
  mixed          1.4 million keys of all types, packed and not, JSON documents, streams with groups
  big-values     20 thousand strings of 16 to 64 KiB: JSON, which compresses, and bytes, which do not
  big-keys       7 keys of 1 to 3 million elements

--small makes them ten times smaller, as NAME-s.rdb.

The content comes from a fixed seed and is the same on every run: NAME.json, beside NAME.rdb, has its
DEBUG DIGEST, keys and elements by type, and the file's size and SHA-256. The order of keys in the file is
not the same, since the server seeds its hash function at random. Expiries lie between 2035 and 2039.

Takes target/servers/redis-7.0 where it is (tests/servers/get-servers puts it there), so that files from
different machines are alike; else the redis-server in PATH.
"""

import argparse
import hashlib
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
EXPIRIES = (2051222400000, 2177452800000)  # 2035-01-01 to 2039-01-01, in ms


class Chance(random.Random):
    """The standard generator, with the kinds of data that servers hold."""

    LETTERS = bytes(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"[i % 64] for i in range(256))
    WORDS = (
        "account active address amount basket billing cancelled carrier category channel checkout city color comment "
        "country coupon created currency customer delivered delivery device discount email expires gender gift group "
        "invoice item language locale method mobile name note number open order origin owner page payment pending "
        "phone postal price product profile quantity rating refund region returned sale score session shipped state "
        "status stock street tax total updated user vendor visit voucher weight"
    ).split()

    def __init__(self, seed):
        super().__init__(seed)
        self.pool, self.at = b"", 0

    def upto(self, n):
        return int(self.random() * n)

    def word(self):
        return self.WORDS[self.upto(len(self.WORDS))]

    def token(self, n):
        """n characters that do not compress."""
        if self.at + n > len(self.pool):
            self.pool, self.at = self.randbytes(1 << 20).translate(self.LETTERS), 0
        self.at += n
        return self.pool[self.at - n : self.at]

    def expiry(self):
        return b"%d" % (EXPIRIES[0] + self.upto(EXPIRIES[1] - EXPIRIES[0]))

    def document(self, size):
        """About `size` bytes of JSON, with escapes and letters beyond ASCII; compresses to about a half."""
        parts, length = [], 0
        while length < size:
            name, kind = self.word(), self.random()
            if kind < 0.35:
                part = f'"{name}_{len(parts)}":{self.upto(1_000_000)}'
            elif kind < 0.7:
                part = f'"{name}":"{self.word()} {self.word()} {self.token(6).decode()}"'
            elif kind < 0.8:
                part = f'"{name}":"K\u00f6ln, rue de l\u2019\u00c9glise {len(parts)}"'
            elif kind < 0.9:
                part = f'"{name}":{self.random() * 1e4:.2f}'
            else:
                part = f'"{name}":"first line\\nand \\"{self.word()}\\""'
            parts.append(part)
            length += len(part) + 1
        return ("{" + ",".join(parts) + "}").encode()


# A data set yields (type, how it is kept, elements, commands), a key at a time. `of(n)` scales a number of keys.


def small_strings(c, of):
    for i in range(of(5_000_000)):
        match i % 8:
            case 0 | 1 | 2:
                key, value = b"session:%b" % c.token(32), c.token(24 + c.upto(36))
            case 3 | 4:
                key = b"user:%010d:profile:name" % i
                value = b"%b-%b" % (c.word().encode(), c.token(12 + c.upto(40)))
            case 5:
                key = b"cache:item:%b:%d" % (c.token(10), i)
                value = b'{"id":%d,"v":"%b"}' % (i, c.token(10 + c.upto(30)))
            case 6:
                key, value = b"counter:page:%09d:views:daily" % i, b"%d" % (10**11 + c.upto(10**12))
            case _:
                key, value = b"tok:%b" % c.token(40), c.token(12 + c.upto(48))
        command = [b"SET", key, value]
        if i % 4 == 0:
            command += [b"PXAT", c.expiry()]
        yield "string", "string", 1, [command]


def mixed(c, of):
    def expiring(key, share, command):
        return [command, [b"PEXPIREAT", key, c.expiry()]] if c.random() < share else [command]

    def skewed(n):
        return c.random() ** 2 * n

    for i in range(of(360_000)):
        key = b"doc:order:%08d" % i
        yield "string", "json", 1, expiring(key, 0.3, [b"SET", key, c.document(200 + c.random() ** 3 * 3800)])

    for i in range(of(500_000)):
        number = c.upto(10 ** (1 + i % 12)) * (-1 if i % 3 == 0 else 1)
        yield "string", "integer", 1, [[b"SET", b"stat:%04d:%x" % (i % 1000, i), b"%d" % number]]

    for i in range(of(300_000)):
        key, n = b"user:%08d" % i, 6 + c.upto(18)
        command = [b"HSET", key]
        for j in range(n):
            command.append(b"%b_%d" % (c.WORDS[(i + j * 7) % len(c.WORDS)].encode(), j))
            command.append(b"%d" % c.upto(10**7) if j % 3 == 0 else c.token(4 + c.upto(20)))
        yield "hash", "listpack", n, expiring(key, 0.15, command)

    for i in range(of(3_000)):
        n = 200 + int(skewed(2400))
        command = [b"HSET", b"cart:index:%06d" % i]
        for j in range(n):
            command += [b"f:%06d:%b" % (j, c.token(4)), c.token(8 + c.upto(60))]
        yield "hash", "hashtable", n, [command]

    for i in range(of(60_000)):
        key, n = b"queue:%07d" % i, 5 + int(skewed(200))
        items = [b"%d" % c.upto(10**9) if i % 4 == 0 else b"job:%b:%d" % (c.token(8 + c.upto(24)), j) for j in range(n)]
        yield "list", "quicklist", n, expiring(key, 0.05, [b"RPUSH", key, *items])

    for i in range(of(60_000)):
        n, first = 10 + c.upto(120), c.upto((10**4, 10**6, 10**12)[i % 3])
        yield "set", "intset", n, [[b"SADD", b"ids:%07d" % i, *(b"%d" % (first + j * 7) for j in range(n))]]

    for i in range(of(40_000)):
        n = 8 + int(skewed(150))
        yield "set", "hashtable", n, [[b"SADD", b"tags:%07d" % i, *(b"%b:%d" % (c.token(10), j) for j in range(n))]]

    def scored(i, n, whole, real, member):
        for j in range(n):
            yield b"%d" % c.upto(whole) if i % 2 else repr(c.random() * real).encode()
            yield member(j)

    for i in range(of(80_000)):
        key, n = b"rank:small:%07d" % i, 5 + c.upto(60)
        pairs = scored(i, n, 10**5, 1e4, lambda j: b"m:%d:%b" % (j, c.token(6)))
        yield "zset", "listpack", n, expiring(key, 0.1, [b"ZADD", key, *pairs])

    for i in range(of(3_000)):
        n = 300 + int(skewed(3000))
        pairs = scored(i, n, 10**9, 1e6, lambda j: b"member:%06d:%b" % (j, c.token(8)))
        yield "zset", "skiplist", n, [[b"ZADD", b"rank:big:%06d" % i, *pairs]]

    for i in range(of(2_500)):
        key, n, ms, commands = b"events:%05d" % i, 50 + c.upto(500), 1700000000000 + i * 1000, []
        for j in range(n):
            ms += c.upto(50)
            command = [b"XADD", key, b"%d-%d" % (ms, j), b"type", c.WORDS[j % 9].encode(), b"id", b"%d" % j]
            command += [b"payload", c.token(20 + c.upto(40))]
            if j % 10 == 9:
                command += [b"extra", b"%.3f" % c.random()]
            commands.append(command)
        if i % 5 == 0:
            commands.append([b"XDEL", key, commands[-1][2]])
        for g in range(i % 3):
            group = b"group-%d" % g
            commands.append([b"XGROUP", b"CREATE", key, group, b"0"])
            for consumer in (b"consumer-0", b"consumer-1"):
                commands.append([b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"25", b"STREAMS", key, b">"])
        yield "stream", "stream", n, commands


def big_values(c, of):
    for i in range(of(20_000)):
        size = 16384 + c.upto(49152)
        if i % 2:
            value, block = bytearray(), c.document(3000)  # documents repeat themselves
            while len(value) < size:
                value += block[: 1500 + c.upto(1500)] + c.document(400)
            value = bytes(value[:size])
        else:
            value = c.randbytes(size)
        yield "string", "string", 1, [[b"SET", b"blob:%b:%06d" % (c.token(6), i), value]]


def big_keys(c, of):
    def key(kind, name, command, n, element):
        n = of(n)
        commands = ([command, name, *(x for i in range(at, min(at + 500, n)) for x in element(i))] for at in range(0, n, 500))
        return kind, name.decode(), n, commands

    yield key("hash", b"big:hash:1", b"HSET", 3_000_000, lambda i: (b"field:%08d" % i, c.token(8 + c.upto(24))))
    yield key("hash", b"big:hash:2", b"HSET", 1_000_000, lambda i: (b"%d" % (i * 17), b"%d" % c.upto(10**9)))
    yield key("zset", b"big:zset:1", b"ZADD", 2_000_000, lambda i: (repr(c.random() * 1e6).encode(), b"member:%08d" % i))
    yield key("zset", b"big:zset:2", b"ZADD", 1_000_000, lambda i: (b"%d" % c.upto(10**7), b"m:%x" % i))
    yield key("list", b"big:list:1", b"RPUSH", 3_000_000, lambda i: (b"item:%b:%d" % (c.token(8), i),))
    yield key("set", b"big:set:1", b"SADD", 2_000_000, lambda i: (b"%b:%d" % (c.token(12), i),))
    yield key("set", b"big:set:2", b"SADD", 1_000_000, lambda i: (b"%d" % (i * 1000003),))


SETS = {"small-strings": small_strings, "mixed": mixed, "big-values": big_values, "big-keys": big_keys}


class Server:
    """A redis-server of our own in a directory of its own; gone at the end of the `with`."""

    def __init__(self, program, under):
        self.dir = Path(tempfile.mkdtemp(prefix="server-", dir=under))
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        self.version = re.search(r"v=([\d.]+)", version)[1]
        settings = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(self.dir), "--save", "", "--appendonly", "no"]
        if int(self.version.split(".")[0]) >= 7:
            settings += ["--enable-debug-command", "local"]
        self.process = subprocess.Popen([program, *settings], stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        else:
            self.process.kill()
        if not hasattr(self, "socket"):
            sys.exit(f"make-data: {program} does not start")
        self.answers = self.socket.makefile("rb")
        self.buffer, self.sent = bytearray(), 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir)

    def send(self, *argv):
        self.buffer += b"*%d\r\n" % len(argv)
        for arg in argv:
            self.buffer += b"$%d\r\n%b\r\n" % (len(arg), arg)
        if len(self.buffer) > 1 << 20:
            self.flush()

    def flush(self):
        self.socket.sendall(self.buffer)
        self.sent += len(self.buffer)
        self.buffer.clear()

    def ask(self, *argv):
        """Sends a command that is answered by one line or one string, and returns that as text."""
        self.send(*argv)
        self.flush()
        line = self.answers.readline()
        if line[:1] == b"$":
            return self.answers.read(int(line[1:]) + 2)[:-2].decode()
        if line[:1] not in (b"+", b":"):
            sys.exit(f"make-data: {argv[0].decode()}: the server says {line!r}")
        return line[1:-2].decode()


def make(name, small, program, out):
    began = time.monotonic()
    scale = 10 if small else 1
    keys, elements, expiring = {}, {}, 0
    with Server(program, out) as server:
        server.send(b"CLIENT", b"REPLY", b"OFF")
        # A seed by name, so that a data set is the same whichever others are made.
        for kind, form, count, commands in SETS[name](Chance(f"rdbtool {name}"), lambda n: n // scale):
            keys[kind] = keys.get(kind, 0) + 1
            form = form if form == kind or ":" in form else f"{kind} {form}"
            elements[form] = elements.get(form, 0) + count
            for command in commands:
                expiring += command[0] == b"PEXPIREAT" or command[-2] == b"PXAT"
                server.send(*command)
        server.send(b"CLIENT", b"REPLY", b"ON")
        server.flush()
        if server.answers.readline() != b"+OK\r\n":
            sys.exit(f"make-data: {name}: the server closed the connection; is there memory enough?")
        if "errorstat_" in (errors := server.ask(b"INFO", b"errorstats")):
            sys.exit(f"make-data: {name}: errors while loading: {errors}")
        if int(server.ask(b"DBSIZE")) != sum(keys.values()):
            sys.exit(f"make-data: {name}: {server.ask(b'DBSIZE')} keys instead of {keys}")
        digest = server.ask(b"DEBUG", b"DIGEST")
        server.ask(b"SAVE")
        path = out / f"{name}{'-s' if small else ''}.rdb"
        shutil.move(server.dir / "dump.rdb", path)
        resp_bytes, version = server.sent, server.version
    with open(path, "rb") as f:
        sha256 = hashlib.file_digest(f, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(f.read())
    manifest = {
        "name": name,
        "redis": version,
        "keys": sum(keys.values()),
        "with_expiry": expiring,
        "types": keys,
        "elements": elements,
        "digest": digest,
        "bytes": path.stat().st_size,
        "sha256": sha256.hexdigest(),
        "resp_bytes": resp_bytes,
    }
    # Written last: a manifest means that the file is whole.
    path.with_suffix(".json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(f"make-data: {path}: {manifest['keys']} keys, {manifest['bytes'] / 1e6:.0f} MB, {time.monotonic() - began:.0f} s")


def main():
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--out", type=Path, default=TOP / "bench-data")
    cli.add_argument("--small", action="store_true", help="ten times smaller, as NAME-s.rdb")
    cli.add_argument("--redis", metavar="PROGRAM")
    cli.add_argument("names", nargs="*", metavar="NAME")
    o = cli.parse_args()
    for name in o.names:
        if name not in SETS:
            cli.error(f"no data set {name}; there are {', '.join(SETS)}")
    own = TOP / "target/servers/redis-7.0/bin/redis-server"
    program = o.redis or (str(own) if own.exists() else shutil.which("redis-server"))
    if not program:
        sys.exit("make-data: no redis-server; `tests/servers/get-servers target/servers redis-7.0` brings one")
    o.out.mkdir(parents=True, exist_ok=True)
    for name in o.names or SETS:
        make(name, o.small, program, o.out)


if __name__ == "__main__":
    main()
