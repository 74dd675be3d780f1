//! The files of `deploy/`, which no test can run: a compose file whose commented lines are taken in, and the
//! systemd unit.

use std::{collections::BTreeSet, fs};

use super::source_reader::repository;

fn file(name: &str) -> String {
    fs::read_to_string(repository().join("deploy").join(name)).unwrap()
}

/// The text with its commented settings taken in: `#` before a word or an indented line. Prose has `# `.
fn taken_in(text: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => {
            format!("{}{rest}\n", &line[..line.len() - line.trim_start().len()])
        }
        Some(_) | None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Named volumes that a service mounts, and those declared at the top.
fn volumes(text: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let mounted = text.lines().filter_map(|line| {
        let (name, folder) = line.trim_start().strip_prefix("- ")?.split_once(':')?;
        (folder.starts_with('/') && !name.contains(['.', '/', '"'])).then_some(name)
    });
    let declared = text.split_once("\nvolumes:\n").map_or("", |(_, rest)| rest);
    let declared = declared.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    (mounted.collect(), declared.collect())
}

#[test]
fn the_commented_lines_of_the_compose_file_can_be_taken_in() {
    let text = taken_in(&file("compose.yaml"));
    let (mounted, declared) = volumes(&text);
    assert_eq!(mounted, ["thalweg"].into());
    assert_eq!(mounted, declared, "{text}");
    assert!(text.contains("\n    command: [\"--config\", \"/etc/thalweg/config.json\"]\n"), "{text}");
    // The volume takes over the owner of the image's folder, and the image says that the state is there.
    let image = file("Dockerfile");
    for line in [
        "STATE_DIRECTORY=/var/lib/thalweg",
        "--chown=65532:65532 /out/state /var/lib/thalweg",
        "VOLUME /var/lib/thalweg",
    ] {
        assert!(image.contains(line), "{line}");
    }
}

#[test]
fn a_volume_that_is_not_declared_is_found() {
    let text =
        taken_in("services:\n  a:\n    # prose\n    #volumes:\n    #  - data:/var/lib\n    #  - ./f:/f:ro\n");
    assert_eq!(volumes(&text), (["data"].into(), [].into()));
}

#[test]
fn the_unit_can_be_reloaded() {
    let unit = file("thalweg.service");
    assert!(unit.contains("\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'\n"), "{unit}");
    assert!(
        unit.contains("\nExecStartPre=/usr/local/bin/thalweg check --quiet "),
        "text among the log's JSON"
    );
}
