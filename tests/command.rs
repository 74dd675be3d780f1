//! The real binary on a made-up environment: what it prints, where, and how it ends.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

const KEY: &str = "sk-SENTINEL";

struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thalweg-command-{}-{name}.json", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs to its end with nothing in the environment but `variables`.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(std::env::temp_dir());
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn check_says_what_would_be_loaded_and_no_key() {
    let text = format!(
        r#"{{"providers": ["a|http://a.example/v1|{KEY}", "b|http://b|${{B}}"], "tokens": ["t|{KEY}"]}}"#
    );
    let file = File::new("good", &text);
    let (code, stdout, stderr) = run(&["check", file.0.to_str().unwrap()], &[("B", KEY)]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("http://a.example/v1") && stdout.contains("http://b/v1"), "{stdout}");
    assert!(!stdout.contains("SENTINEL"), "{stdout}");
}

#[test]
fn check_tells_all_mistakes_and_exits_with_1() {
    let text = format!(r#"{{"prot": 1, "providers": ["a|ftp://{KEY}|{KEY}"], "tokens": ["{KEY}"]}}"#);
    let file = File::new("wrong", &text);
    let (code, stdout, stderr) = run(&["check", file.0.to_str().unwrap()], &[]);
    assert_eq!((code, stderr.as_str()), (Some(1), ""), "{stdout}");
    let mistakes: Vec<&str> = stdout.lines().skip(1).collect();
    assert_eq!(
        mistakes,
        [
            "  providers[0].base_url: must start with http:// or https://",
            "  tokens[0]: expected \"description|token\"",
            "  prot: unknown key; did you mean \"port\"?",
        ]
    );
}

#[test]
fn a_file_that_is_not_there_is_told_with_its_cause() {
    let (code, stdout, stderr) = run(&["check", "no-such-file.json"], &[]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("error: cannot read no-such-file.json\n  because: "), "{stderr}");
}

#[test]
fn help_fits_a_terminal() {
    let (code, stdout, _) = run(&["--help"], &[]);
    assert_eq!(code, Some(0));
    assert!(stdout.lines().all(|line| line.chars().count() <= 100), "{stdout}");
    assert!(stdout.contains("Examples:") && stdout.contains("CONFIGURATION.md"), "{stdout}");
}
