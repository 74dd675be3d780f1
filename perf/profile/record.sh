#!/bin/sh
# Records what a release build runs most under the workloads of perf/run.sh, for the compiler that is
# installed: a .profdata file of its version in this folder, which rustc.sh hands to the compiler. Takes some
# 15 minutes; needs rustup for llvm-profdata, and what perf/run.sh needs. Answers of providers are read from
# the folder TRANSCRIPTS (its full path), or from ../shared/transcripts.
set -eu
cd "$(dirname "$0")/../.."
own=$PWD/target/profile
rustup component add llvm-tools
version=$(rustc --version | cut -d " " -f 2)
rm -rf "$own/data"
# The rig and the client; what they run is not recorded.
cargo build --release --workspace --locked
THALWEG_PROFILE=record:$own/data cargo build --release --locked --target-dir "$own"
export THALWEG_BIN="$own/release/thalweg" THALWEG_NO_BUILD=1 LITELLM_BIN=none
for workload in many first burst flood-100 flood-1024 transports coalesce cachehit watched translate short; do
    echo "$workload" && perf/run.sh --smoke --repeats 1 --workload "$workload" >/dev/null
done
perf/run.sh --quick --repeats 1 --workload short >/dev/null
transcripts=${TRANSCRIPTS:-$PWD/../shared/transcripts}
if [ -d "$transcripts" ]; then (cd perf && python3 -m bench.replay "$transcripts"); else echo "no recorded answers"; fi
"$(rustc --print target-libdir)/../bin/llvm-profdata" merge -o "perf/profile/$version.profdata" "$own/data"
# A build has to read the new profile; cargo does not see that it changed.
cargo clean --release
ls -l "perf/profile/$version.profdata"
