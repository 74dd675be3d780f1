//! Programs that the Rust tests start. `cargo test` runs on a bare Debian, so each of them is in a package
//! that every Debian has, or the test leaves itself out without it.

use std::fs;

use super::source_reader::{files_below, relative, repository};

/// Programs of packages marked essential: bash, coreutils, util-linux.
const ESSENTIAL: [&str; 6] = ["bash", "chown", "id", "mkfifo", "runuser", "setsid"];

/// Programs without which a test leaves itself out: the one of a full disk, those of the shared limits.
const OPTIONAL: [&str; 3] = ["mount", "umount", "redis-server"];

#[test]
fn tests_start_programs_that_every_debian_has() {
    let root = repository();
    let files = ["src", "tests"].iter().flat_map(|folder| files_below(&root.join(folder)));
    let mut foreign = Vec::new();
    for file in files.filter(|file| file.extension().is_some_and(|it| it == "rs")) {
        foreign.extend(foreign_programs(&relative(&root, &file), &fs::read_to_string(&file).unwrap()));
    }
    assert!(foreign.is_empty(), "{}", foreign.join("\n"));
}

/// Programs named by a literal that are on neither list.
fn foreign_programs(name: &str, text: &str) -> Vec<String> {
    let starts = text.split(concat!("Command::new", "(\"")).skip(1);
    let programs = starts.filter_map(|rest| rest.split('"').next());
    programs
        .filter(|program| !ESSENTIAL.contains(program) && !OPTIONAL.contains(program))
        .map(|program| format!("{name} starts `{program}`, which a bare Debian lacks"))
        .collect()
}

#[test]
fn a_program_of_another_package_is_found() {
    let text = concat!("Command::new", "(\"kill\"); Command::new", "(\"id\"); Command::new(path)");
    assert_eq!(foreign_programs("a.rs", text), ["a.rs starts `kill`, which a bare Debian lacks"]);
}
