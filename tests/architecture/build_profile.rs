//! The script that cargo runs in place of rustc, with a compiler that prints its arguments.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::source_reader::repository;

/// Prints a version, or else its arguments.
fn compiler(folder: &Path, version: &str) -> String {
    let file = folder.join("rustc");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'rustc {version} (0123abcd 2026-01-01)' || echo \"$@\"\n"
    );
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file.display().to_string()
}

#[test]
fn release_builds_get_the_profile_of_their_compiler() {
    let profiles = repository().join("perf/profile");
    let known = fs::read_dir(&profiles)
        .unwrap()
        .find_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".profdata")?.to_owned()));
    let known = known.expect("a profile");
    let folder = std::env::temp_dir().join(format!("thalweg-build-profile-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let run = |version: &str, level: &str, setting: &str| {
        let mut script = Command::new(profiles.join("rustc.sh"));
        script.arg(compiler(&folder, version)).args(["--crate-name", "x", "-C", level]);
        let output = script.env("THALWEG_PROFILE", setting).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let plain = |level: &str| format!("--crate-name x -C {level}");
    let used = format!("-Cprofile-use={}/{known}.profdata", profiles.display());
    let release = plain("opt-level=3");
    let with_profile = run(&known, "opt-level=3", "");
    assert!(with_profile.starts_with(&format!("{release} {used} ")), "{with_profile}");
    assert_eq!(run("0.0.1", "opt-level=3", ""), release, "another compiler");
    assert_eq!(run(&known, "opt-level=3", "off"), release);
    assert_eq!(run(&known, "debuginfo=2", ""), plain("debuginfo=2"), "no release");
    assert_eq!(run(&known, "opt-level=3", "record:/x"), format!("{release} -Cprofile-generate=/x"));
    fs::remove_dir_all(&folder).unwrap();
}
