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

# Damage every sample at every place, not only at some; takes minutes
damage:
    RDBTOOL_DAMAGE=full cargo test --release --test damage

# Fuzz one parser (a target in fuzz/) for some seconds; takes cargo-fuzz and a nightly toolchain
fuzz target seconds="60":
    cargo +nightly fuzz run {{target}} -- -max_total_time={{seconds}}

# Measure rdbtool beside other tools, in one run; --help tells the options
bench *args:
    benches/peers {{args}}
