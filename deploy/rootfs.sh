#!/usr/bin/env bash
# The content of the image: deploy/rootfs.sh BINARY FOLDER FOLDER/rootfs has the stripped program, the
# libraries that it loads and the roots of certificates, FOLDER/state is copied to /var/lib: an empty folder,
# which the program owns. Wants binutils and ca-certificates.
set -euo pipefail

binary=$1 folder=$2/rootfs
mkdir -p "$folder/usr/local/bin" "$folder/etc/ssl/certs" "$folder/etc/thalweg"
strip -o "$folder/usr/local/bin/thalweg" "$binary"
chmod 0755 "$folder/usr/local/bin/thalweg"
# Each line of ldd with a path: the C library, the compiler's, and the loader.
for library in $(ldd "$binary" | grep -oE '/[^ ]+'); do
    install -D -m 0755 "$library" "$folder$library"
done
install -m 0644 /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
install -d -m 0755 "$folder/var/lib"
install -d -m 0700 "$2/state/thalweg"
