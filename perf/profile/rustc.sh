#!/bin/sh
# cargo runs this in place of rustc (.cargo/config.toml). Code that is compiled for speed gets the profile of
# this compiler's version, if there is one: it says which functions and branches run most
# (docs/PERFORMANCE.md). THALWEG_PROFILE=off leaves it out, and =record:FOLDER builds a program that records
# another.
case " $* " in
*" opt-level=3 "*) ;;
*) exec "$@" ;;
esac
case "${THALWEG_PROFILE:-}" in
off) exec "$@" ;;
record:*) exec "$@" "-Cprofile-generate=${THALWEG_PROFILE#record:}" ;;
esac
version=$("$1" --version)
version=${version#rustc }
profile=$(dirname "$0")/${version%% *}.profdata
[ -f "$profile" ] || exec "$@"
# A function that has changed since is compiled without it, and no warning says so.
exec "$@" "-Cprofile-use=$profile" -Cllvm-args=-no-pgo-warn-mismatch
