#!/usr/bin/env bash
# The image of deploy/image.sh, built and run by buildah: its size, its user, its state, its health check, and
# the port of a file (S4.4). tests/image.sh BINARY, a release build. Without buildah, or without the right to
# make namespaces, it says so and tests nothing. Ends with "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$1
passed=0 failed=0
check() {
    local name=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "image: $name: FAILED"; fi
}

if ! command -v buildah >/dev/null; then
    echo "no buildah here: the image is not tested"
    exit
fi
if ! unshare --mount true 2>/dev/null; then
    echo "no right to make a mount namespace here: the image is not tested"
    exit
fi

folder=$(mktemp -d)
# A storage of its own, on any file system.
mkdir "$folder/storage" "$folder/run"
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/storage"\nrunroot = "%s/run"\n' "$folder" "$folder" >"$folder/storage.conf"
export CONTAINERS_STORAGE_CONF=$folder/storage.conf BUILDAH_ISOLATION=chroot
container= gateway=
finish() {
    local status=$?
    if [ -n "$gateway" ]; then
        kill -- -"$gateway" 2>/dev/null || true
        # buildah's own processes outlive the one that was started, and still write into the storage.
        for _ in $(seq 100); do
            kill -0 -- -"$gateway" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- -"$gateway" 2>/dev/null || true
        wait "$gateway" 2>/dev/null || true
    fi
    [ -z "$container" ] || buildah rm "$container" >/dev/null 2>&1 || true
    # A file that is written meanwhile makes one pass fail; what stays behind is not a fault of the image.
    for _ in $(seq 20); do
        ! rm -rf "$folder" 2>/dev/null || break
        sleep 0.1
    done
    [ ! -e "$folder" ] || echo "image: $folder stays behind"
    exit "$status"
}
trap finish EXIT

deploy/image.sh --binary "$binary" --output "$folder/thalweg.tar" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
size=$(stat -c %s "$folder/thalweg.tar")
echo "image: $size bytes"
check "at most 30 MB" [ "$size" -le 30000000 ]
inspected=$(buildah inspect --type image localhost/thalweg)
has_line() { grep -qF "$1" <<<"$inspected"; }
check "runs as 65532" has_line '"User": "65532:65532"'
check "has a health check" has_line '\"Healthcheck\":{\"Test\":[\"CMD\",\"thalweg\",\"healthcheck\"]'

# A file with a port that the kernel has just had free.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$folder/config"
printf '{"port": %s, "tokens": ["tests|sk-image"]}' "$port" >"$folder/config/config.json"
chmod -R a+rX "$folder/config" && chmod a+x "$folder"
container=$(buildah from localhost/thalweg)
owner=$(stat -c '%u %a' "$(buildah mount "$container")/var/lib/thalweg")
check "owns its state" [ "$owner" = "65532 700" ]
# The state is in the volume that the image declares, a copy of its folder. Given another one for that path,
# buildah 1.28 mounts the two in an order that differs from run to run.
inside() { buildah run --volume "$folder/config:/etc/thalweg:ro" "$container" -- "$@"; }
check "is not healthy before it runs" sh -c '! "$@"' - buildah run "$container" -- thalweg healthcheck 2>/dev/null
# Job control gives it a process group of its own, because buildah does not pass a signal on.
set -m
inside thalweg >"$folder/out" 2>&1 &
gateway=$!
set +m
for _ in $(seq 200); do
    ! curl --silent --fail --output /dev/null "http://127.0.0.1:$port/livez" || break
    sleep 0.1
done
answer=$(curl --silent --max-time 10 "http://127.0.0.1:$port/v1/chat/completions" -H 'authorization: Bearer sk-image' \
    -H 'content-type: application/json' -d '{"model":"demo-text","messages":[{"role":"user","content":"Hello"}]}' || true)
check "answers" grep -q '"chat.completion"' <<<"$answer"
for _ in $(seq 100); do
    database=$(find "$folder/storage" -path '*/buildah-volumes/*/thalweg.db' -size +0)
    [ -z "$database" ] || break
    sleep 0.1
done
owner=$(stat -c '%u %a' "$database" || true)
check "writes its state" [ "$owner" = "65532 600" ]
# Last, because a second "buildah run" beside the first one can take its volumes away.
check "is healthy at its file's port" inside thalweg healthcheck
[ "$failed" -eq 0 ] || cat "$folder/out"
echo "image: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
