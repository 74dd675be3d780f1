#!/usr/bin/env bash
# Builds the image of deploy/Dockerfile without a container engine, by Debian's buildah:
#
#   apt-get install buildah binutils ca-certificates
#   deploy/image.sh [--binary FILE] [--output thalweg.tar]
#
# The image is localhost/thalweg in buildah's storage; --output writes an archive that `docker load` and
# `podman load` read. Without --binary the program is built here first. The machine's C library goes into the
# image, so it is one on which the program was built, or a newer one.
set -euo pipefail
cd "$(dirname "$0")/.."

binary= output=
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$2 ;;
        --output) output=$2 ;;
        *) echo "usage: deploy/image.sh [--binary FILE] [--output FILE]" >&2; exit 2 ;;
    esac
    shift 2
done
if [ -z "$binary" ]; then
    cargo build --release --locked --package thalweg
    binary=target/release/thalweg
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
deploy/rootfs.sh "$binary" "$folder/image"
# The second stage, which copies from the folder instead of the first stage.
sed -n '/^FROM scratch/,$p' deploy/Dockerfile | sed 's/--from=build //' >"$folder/Dockerfile"
# Docker's format, because OCI's has no health check.
buildah build --format docker --isolation chroot --tag localhost/thalweg "$folder"
[ -z "$output" ] || buildah push localhost/thalweg "docker-archive:$output:thalweg:latest"
