//! How the program is linked. Half a megabyte of addresses that the loader adds its base to is packed into a few kilobytes
//! (RELR): an idle process is mostly its own pages, and those are read at every start. Needs glibc 2.36 where it runs, as
//! the machine that builds it has; a linker that does not know the option says so and goes on.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, wanted: &str| env::var(name).is_ok_and(|value| value == wanted);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
