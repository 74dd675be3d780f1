//! The files of the pages, as they are in the program, and as they leave it: with their addresses filled in,
//! compressed, and with the digest of their bytes as their tag. A file is prepared at its first request.

use std::{io::Write, sync::OnceLock};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// In a page: the way from it to the gateway's root, and to the files.
const ROOT_MARK: &str = "{root}";
const ASSETS_MARK: &str = "{assets}";
const VERSION_MARK: &str = "{version}";

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Document {
    /// `/`.
    Start,
    /// `/compare`.
    Compare,
    /// `/compare/ID`.
    Run,
    /// `/dashboard`.
    Dashboard,
    /// `/usage`.
    Usage,
    /// `/keys`.
    Keys,
    /// `/configuration`.
    Configuration,
}

/// A file that pages ask for.
#[derive(Debug)]
pub(in crate::web) struct EmbeddedFile {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    prepared: OnceLock<PreparedFile>,
}

/// A file as it leaves.
#[derive(Debug)]
pub(super) struct PreparedFile {
    pub(super) content_type: &'static str,
    pub(super) plain: Bytes,
    pub(super) gzip: Bytes,
    /// Of the plain bytes, and of the compressed ones.
    pub(super) tag: String,
    pub(super) tag_of_gzip: String,
}

static FILES: [EmbeddedFile; 14] = [
    embedded("page.css", STYLE, include_bytes!("assets/page.css")),
    embedded("common.js", SCRIPT, include_bytes!("assets/common.js")),
    embedded("picture.css", STYLE, include_bytes!("assets/picture.css")),
    embedded("chart.js", SCRIPT, include_bytes!("assets/chart.js")),
    embedded("compare.js", SCRIPT, include_bytes!("assets/compare.js")),
    embedded("dashboard.js", SCRIPT, include_bytes!("assets/dashboard.js")),
    embedded("configuration.js", SCRIPT, include_bytes!("assets/configuration.js")),
    embedded("history.js", SCRIPT, include_bytes!("assets/history.js")),
    embedded("keys.js", SCRIPT, include_bytes!("assets/keys.js")),
    embedded("operations.js", SCRIPT, include_bytes!("assets/operations.js")),
    embedded("running.js", SCRIPT, include_bytes!("assets/running.js")),
    embedded("start.js", SCRIPT, include_bytes!("assets/start.js")),
    embedded("usage.js", SCRIPT, include_bytes!("assets/usage.js")),
    embedded("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
];

const fn embedded(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> EmbeddedFile {
    EmbeddedFile { name, content_type, bytes, prepared: OnceLock::new() }
}

pub(super) fn find(name: &str) -> Option<&'static EmbeddedFile> {
    FILES.iter().find(|file| file.name == name)
}

/// The digest of all files, which is a part of their addresses.
pub(super) fn digest() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let sum = FILES.iter().fold(Sha256::new(), |sum, file| sum.chain_update(file.bytes));
        short(&sum.finalize())
    })
}

/// The first bytes of a digest, in hexadecimal.
fn short(digest: &[u8]) -> String {
    hex::encode(digest.get(..8).unwrap_or_default())
}

impl EmbeddedFile {
    pub(super) fn prepared(&self) -> &PreparedFile {
        self.prepared.get_or_init(|| PreparedFile::of(self.content_type, Bytes::from_static(self.bytes)))
    }
}

/// The parts of a page that other pages do not have.
struct PageParts {
    /// The way to the gateway's root, relative to the page, because a proxy may serve it below any path.
    root: &'static str,
    title: &'static str,
    /// Its place behind the root, as the list of pages names it.
    path: &'static str,
    script: &'static str,
    main: &'static str,
    footer: &'static str,
    prepared: OnceLock<PreparedFile>,
}

const fn page(
    [title, path, script]: [&'static str; 3],
    main: &'static str,
    footer: &'static str,
) -> PageParts {
    PageParts { root: "./", title, path, script, main, footer, prepared: OnceLock::new() }
}

const fn comparison(root: &'static str) -> PageParts {
    PageParts {
        root,
        title: "Comparison · thalweg",
        path: "compare",
        script: "compare.js",
        main: include_str!("assets/compare.html"),
        footer: "the same in a terminal: <code>thalweg compare --svg out.svg</code>",
        prepared: OnceLock::new(),
    }
}

static START: PageParts = page(
    ["thalweg", "", "start.js"],
    include_str!("assets/start.html"),
    "programs get JSON at this address (<code>Accept: application/json</code>)",
);
static COMPARE: PageParts = comparison("./");
static RUN: PageParts = comparison("../");
static DASHBOARD: PageParts = page(
    ["Dashboard · thalweg", "dashboard", "dashboard.js"],
    include_str!("assets/dashboard.html"),
    "the same for programs: <code>/events</code>, <code>/stats</code>, <code>/metrics</code>, <code>/health</code>",
);
static USAGE: PageParts = page(
    ["Usage · thalweg", "usage", "usage.js"],
    include_str!("assets/usage.html"),
    "the same for programs: <code>/stats?since=24h&amp;by=day</code>; in a terminal: <code>thalweg usage</code>",
);
static KEYS: PageParts = page(
    ["Keys · thalweg", "keys", "keys.js"],
    include_str!("assets/keys.html"),
    "the same for programs: <code>/v1/keys</code>; in a terminal: <code>thalweg keys</code>",
);
static CONFIGURATION: PageParts = page(
    ["Configuration · thalweg", "configuration", "configuration.js"],
    include_str!("assets/configuration.html"),
    "the same for programs: <code>/v1/configuration</code>, <code>/v1/reload</code>; in a terminal: <code>thalweg reload</code>",
);

impl Document {
    const fn parts(self) -> &'static PageParts {
        match self {
            Self::Start => &START,
            Self::Compare => &COMPARE,
            Self::Run => &RUN,
            Self::Dashboard => &DASHBOARD,
            Self::Usage => &USAGE,
            Self::Keys => &KEYS,
            Self::Configuration => &CONFIGURATION,
        }
    }

    pub(super) fn prepared(self) -> &'static PreparedFile {
        let parts = self.parts();
        parts.prepared.get_or_init(|| PreparedFile::of(HTML, parts.text().into()))
    }
}

impl PageParts {
    /// The page, with its addresses.
    fn text(&self) -> String {
        let link = format!("<a href=\"{ROOT_MARK}{}\">", self.path);
        let current = format!("<a href=\"{ROOT_MARK}{}\" aria-current=\"page\">", self.path);
        include_str!("assets/frame.html")
            .replace(&link, &current)
            .replace("{main}", self.main)
            .replace("{sign_in}", include_str!("assets/sign_in.html"))
            .replace("{title}", self.title)
            .replace("{script}", self.script)
            .replace("{footer}", self.footer)
            .replace(ROOT_MARK, self.root)
            .replace(ASSETS_MARK, &format!("{}assets/{}", self.root, digest()))
            .replace(VERSION_MARK, env!("CARGO_PKG_VERSION"))
    }
}

impl PreparedFile {
    fn of(content_type: &'static str, plain: Bytes) -> Self {
        let gzip = compressed(&plain);
        let digest = short(&Sha256::digest(&plain));
        let tag = |end: &str| format!("\"{digest}{end}\"");
        Self { content_type, plain, gzip, tag: tag(""), tag_of_gzip: tag("-gzip") }
    }
}

fn compressed(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Memory takes all bytes.
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTS: [Document; 7] = [
        Document::Start,
        Document::Compare,
        Document::Run,
        Document::Dashboard,
        Document::Usage,
        Document::Keys,
        Document::Configuration,
    ];

    #[test]
    fn pages_name_only_files_that_exist_and_no_other_host() {
        for document in DOCUMENTS {
            let page = String::from_utf8(document.prepared().plain.to_vec()).unwrap();
            let prefix = format!("{}assets/{}/", document.parts().root, digest());
            let named: Vec<&str> = page
                .match_indices(&prefix)
                .map(|(at, _)| page[at + prefix.len()..].split('"').next().unwrap())
                .collect();
            assert!(named.len() >= 3, "{document:?}: {named:?}");
            assert!(named.iter().all(|name| find(name).is_some()), "{document:?}: {named:?}");
            assert!(!page.contains("://") && !page.contains('{'), "{document:?}");
        }
    }

    #[test]
    fn an_id_is_of_one_element() {
        for document in DOCUMENTS {
            let page = document.parts().text();
            let ids = page
                .match_indices(" id=\"")
                .map(|(at, mark)| page[at + mark.len()..].split('"').next().unwrap());
            let mut seen = std::collections::BTreeSet::new();
            ids.for_each(|id| assert!(seen.insert(id), "{document:?}: {id}"));
            assert!(seen.len() > 5, "{document:?}: {seen:?}");
        }
    }

    #[test]
    fn no_page_holds_code_styles_or_handlers() {
        for document in DOCUMENTS {
            let page = document.parts().text().to_ascii_lowercase();
            for inline in ["<style", " style=", " onclick", " onload", "javascript:"] {
                assert!(!page.contains(inline), "{document:?}: {inline}");
            }
            let scripts = page.matches("<script").count();
            assert_eq!(page.matches("<script type=\"module\" src=\"").count(), scripts, "{document:?}");
        }
    }

    #[test]
    fn scripts_make_text_and_no_markup() {
        let scripts = FILES.iter().filter(|file| file.content_type == SCRIPT);
        for file in scripts {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(markup), "{}: {markup}", file.name);
            }
            for line in text.lines().filter(|line| line.starts_with("import ") && line.contains(" from ")) {
                let name = line.rsplit("\"./").next().unwrap().trim_end_matches("\";");
                assert!(find(name).is_some(), "{}: {line}", file.name);
            }
        }
    }

    #[test]
    fn the_whole_is_small() {
        let size: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(size < 200_000, "{size}");
    }
}
