# What there is to run. Each recipe is one command that also works without just.

# List the recipes
default:
    @just --list

# Build the release binary
build:
    cargo build --release

# Run all tests, those against real servers included; arguments go to `cargo test`
test *args:
    tests/run {{args}}

# Everything CI checks: format, clippy, docs, tests
check:
    .ci/run

# Put real servers of eight releases into target/servers
servers *names:
    tests/servers/get-servers target/servers {{names}}

# Damage every sample at every place, not only at some; takes about an hour
damage:
    RDBTOOL_DAMAGE=full cargo test --release --test damage

# Fuzz a parser (a target in fuzz/; all of them if none is named) for some seconds; takes cargo-fuzz
fuzz seconds="60" *targets:
    fuzz/run {{seconds}} {{targets}}

# Measure rdbtool beside other tools, in one run; --help tells the options
bench *args:
    benches/peers {{args}}

# Measure each stage by itself (scan, containers, LZF, escaping ...); a name leaves out the others
stages *name:
    cargo bench --bench stages -- {{name}}

# Measure a restore into a live server beside redis-cli --pipe; --help tells the options
bench-live *args:
    benches/live {{args}}
