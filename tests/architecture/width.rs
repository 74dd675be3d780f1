//! Width of text. No line of prose in `*.md` and no comment line in `*.rs`, `*.sh`, `*.py` and `*.toml` is
//! wider than 110 columns; no cell of a table has more than 300 characters. Code blocks, rows of tables and
//! lines that hold a URL are free: they cannot be wrapped.

use std::fs;

use super::source_reader::{files_below, relative, repository};

const MAX_COLUMNS: usize = 110;
const MAX_CELL: usize = 300;

#[test]
fn no_line_of_prose_or_comment_is_too_wide() {
    let root = repository();
    let mut broken = Vec::new();
    for file in files_below(&root) {
        let Some(extension) = file.extension().and_then(|extension| extension.to_str()) else { continue };
        let name = relative(&root, &file);
        match extension {
            "md" => broken.extend(wide_prose(&name, &fs::read_to_string(&file).unwrap())),
            "rs" => broken.extend(wide_comments(&name, &fs::read_to_string(&file).unwrap(), "//")),
            "sh" | "py" | "toml" => {
                broken.extend(wide_comments(&name, &fs::read_to_string(&file).unwrap(), "#"));
            }
            _ => {}
        }
    }
    assert!(broken.is_empty(), "{} lines\n{}", broken.len(), broken.join("\n"));
}

/// Lines of Markdown that are too wide, and cells of tables that are too long.
fn wide_prose(name: &str, text: &str) -> Vec<String> {
    let (mut broken, mut in_block) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
        } else if line.trim_start().starts_with('|') {
            let longest = line.split('|').map(|cell| cell.trim().chars().count()).max().unwrap_or_default();
            if longest > MAX_CELL {
                broken.push(format!("{place}: a cell of {longest} characters"));
            }
        } else {
            broken.extend(too_wide(&place, line));
        }
    }
    broken
}

/// Lines that hold nothing but a comment and are too wide.
fn wide_comments(name: &str, text: &str, mark: &str) -> Vec<String> {
    let comments = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(mark));
    comments.filter_map(|(number, line)| too_wide(&format!("{name}:{}", number + 1), line)).collect()
}

fn too_wide(place: &str, line: &str) -> Option<String> {
    let columns = line.chars().count();
    (columns > MAX_COLUMNS && !line.contains("://")).then(|| format!("{place}: {columns} columns"))
}

#[test]
fn a_wide_line_is_found() {
    let wide = "x".repeat(MAX_COLUMNS + 1);
    let fits = &wide[..MAX_COLUMNS];
    let cell = "y".repeat(MAX_CELL + 1);
    assert_eq!(wide_prose("a.md", &format!("{fits}\n{wide}")), ["a.md:2: 111 columns"]);
    assert_eq!(wide_prose("a.md", &format!("| a | {cell} |")), ["a.md:1: a cell of 301 characters"]);
    assert_eq!(wide_prose("a.md", &format!("```\n{wide}\n```\n| {wide} |\nhttp://{wide}")).len(), 0);
    assert_eq!(
        wide_comments("a.rs", &format!("//! {wide}\nlet code = {wide};\n// {}", &fits[..90]), "//").len(),
        1
    );
    assert_eq!(wide_comments("a.sh", &format!("    # {wide}"), "#").len(), 1);
}
