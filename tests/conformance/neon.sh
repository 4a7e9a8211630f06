#!/bin/sh
# Runs the tests of the fast kernels for aarch64 under an emulator, so that the NEON kernels are held
# to the reference loops on a machine without an Arm CPU. Arguments go to `cargo test`.
#
#   tests/conformance/neon.sh
#
# It needs (Debian names)
#   rustup target add aarch64-unknown-linux-gnu
#   apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
# and builds into target/neon, which takes some minutes the first time.
set -eu
cd "$(dirname "$0")/../.."
for tool in cargo aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null || { echo "$tool is missing; the head of $0 says what to install" >&2; exit 1; }
done
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu"
# Without it a CPU that lacks the instructions would pass by testing nothing.
export TRUNKLINE_REQUIRE_KERNELS=neon-dot
exec cargo test --target aarch64-unknown-linux-gnu --target-dir target/neon --test fast_kernels --test fast_ops "$@"
