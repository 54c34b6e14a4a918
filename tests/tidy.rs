//! The house rules that a compiler does not check: who may know whom, the first line of every
//! file, and its length.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines that a source file may have, its unit tests aside.
const LINES_MAX: usize = 400;

/// One `impl` of a trait with forty methods cannot be cut in two.
const LONG_BY_NATURE: &[&str] = &["src/client/fuse/filesystem.rs"];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Whether the whole file is unit tests.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The code before the unit tests, without comments.
    fn code(&self) -> String {
        let lines = self.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    }

    /// Whether the code names `path`, a whole path or the beginning of a longer one.
    fn names(&self, path: &str) -> bool {
        let code = self.code();
        code.match_indices(path).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = code[at + path.len()..].chars().next();
            let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !joins(before) && (path.ends_with("::") || !joins(after))
        })
    }
}

fn sources(root: &str) -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the folder is part of the crate") {
            let path = entry.expect("its entries can be read").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(&crate_root.join(root), &mut paths);
    paths.sort();
    let read = |path: PathBuf| Source {
        path: path.strip_prefix(crate_root).expect("found below").display().to_string(),
        text: fs::read_to_string(&path).expect("sources are UTF-8"),
    };
    paths.into_iter().map(read).collect()
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let all = ["src", "bin", "tests", "benches"].into_iter().flat_map(sources);
    let broken: Vec<_> = all
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("{} does not open with a //! line", source.path))
        .collect();
    assert_none(&broken);
}

#[test]
fn files_stay_short() {
    let broken: Vec<_> = sources("src")
        .iter()
        .filter(|source| !source.is_test())
        .map(|source| {
            let lines = source.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
            (&source.path, lines.count())
        })
        .filter(|(path, lines)| *lines > LINES_MAX && !LONG_BY_NATURE.contains(&path.as_str()))
        .map(|(path, lines)| format!("{path} has {lines} lines; {LINES_MAX} are the limit"))
        .collect();
    assert_none(&broken);
}

#[test]
fn outside_crates_stay_behind_their_fences() {
    let fences: &[(&str, &[&str])] = &[
        ("fuser::", &["src/client/fuse.rs", "src/client/fuse/"]),
        ("hyper::", &["src/rpc/"]),
        ("hyper_util::", &["src/rpc/"]),
        ("hyper_rustls::", &["src/rpc/"]),
        ("rustls::", &["src/rpc/"]),
        ("tokio_rustls::", &["src/rpc/"]),
        ("dxr::", &["src/rpc/", "src/proto/"]),
        ("fjall::", &["src/store/"]),
        ("serde_json::", &["src/admin/"]),
        ("SystemTime::now", &["src/clock.rs"]),
    ];
    let mut broken = Vec::new();
    for source in sources("src") {
        for (word, homes) in fences {
            if source.names(word) && !homes.iter().any(|home| source.path.starts_with(home)) {
                broken.push(format!("{} names {word}, which belongs to {homes:?}", source.path));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn modules_know_only_those_below_them() {
    let forbidden: &[(&str, &[&str])] = &[
        ("src/master/", &["crate::chunk", "crate::client"]),
        ("src/chunk/", &["crate::master", "crate::client"]),
        ("src/client/", &["crate::master", "crate::chunk"]),
        ("src/admin/", &["crate::master", "crate::chunk", "crate::client", "crate::store"]),
        ("src/dump", &["tokio::", "crate::master", "crate::chunk", "crate::client"]),
        (
            "src/rpc/",
            &[
                "crate::proto",
                "crate::types",
                "crate::store",
                "crate::master",
                "crate::chunk",
                "crate::client",
            ],
        ),
        (
            "src/proto/",
            &["tokio::", "crate::store", "crate::master", "crate::chunk", "crate::client"],
        ),
        (
            "src/store/",
            &["crate::rpc", "crate::proto", "crate::master", "crate::chunk", "crate::client"],
        ),
        ("src/master/namespace", &["tokio::", "crate::rpc", "crate::proto", "crate::clock::now"]),
        (
            "src/master/placement.rs",
            &["tokio::", "crate::rpc", "crate::proto", "crate::clock::now"],
        ),
    ];
    let mut broken = Vec::new();
    for source in sources("src") {
        for (home, strangers) in forbidden {
            for stranger in *strangers {
                if source.path.starts_with(home) && source.names(stranger) {
                    broken.push(format!("{} must not know {stranger}", source.path));
                }
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn the_map_in_lib_rs_names_every_module() {
    let sources = sources("src");
    let lib = sources.iter().find(|source| source.path == "src/lib.rs").expect("a library");
    let declared =
        lib.text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let broken: Vec<_> = declared
        .filter(|module| !lib.text.contains(&format!("[`{module}`]")))
        .map(|module| format!("src/lib.rs declares {module} but its map does not name it"))
        .collect();
    assert_none(&broken);
}
