//! Every kind of program does the same work at the original servers and at ours, and sees the same.

use crate::common::cluster::{Cluster, Kind};
use crate::common::python::{Python, with_python_2};
use crate::run;

/// Makes two tests of each kind of program, one for each Python.
macro_rules! kinds_of_programs {
    ($($name:ident: $options:literal;)*) => {$(
        mod $name {
            #[test]
            fn python_2() {
                super::with_python_2(|python| super::sees_no_difference(&python, $options));
            }

            #[test]
            fn python_3() {
                super::sees_no_difference(&super::Python::three(), $options);
            }
        }
    )*};
}

kinds_of_programs! {
    binary: "";
    binary_raw: "--contents raw --append checked --look list --delete both --new-proxies chunks";
    binary_literal: "--contents array --lists array --delete both";
    binary_arrays: "--lists array-of-binary --append checked";
    string: "--dialect string --contents raw --append checked";
    string_pickled: "--dialect string --look list --delete both";
    string_literal: "--dialect string --contents array --lists array --append checked";
    string_unicode: "--dialect string --names unicode --lists array --append checked";
    tree: "--level tree --contents raw --append checked";
    tree_string: "--level tree --dialect string --names unicode --delete both";
    tree_arrays: "--level tree --dialect string --lists array --look list --append checked";
    flat_tree: "--level flat --append checked --new-proxies all";
    one_table: "--shape one-table --append checked";
    one_table_tree: "--shape one-table --level tree --dialect string --look list";
    one_table_flat: "--shape one-table --level flat --append checked";
    one_table_at_a_chunk_server: "--shape one-table --servers CHUNK --level flat --append checked";
    split_table: "--shape split --append checked";
    split_table_at_a_chunk_server: "--shape split --servers CHUNK --level tree --dialect string";
    hashed_tables: "--shape hashed --servers CHUNKS --level tree --append checked";
    two_copies: "--shape two-copies --servers CHUNKS --append checked --delete both";
    two_copies_tree: "--shape two-copies --servers CHUNKS --level tree --contents raw --look list";
}

/// What a program prints at fresh servers, a line for each step.
fn lines(kind: &Kind, python: &Python, options: &str) -> Vec<String> {
    let cluster = Cluster::start(kind, 2);
    let output = run(python, "originals_steps.py", &cluster, options);
    let mut output = output.unwrap_or_else(|error| panic!("at {kind}: {error}"));
    for server in cluster.chunks.iter().chain([&cluster.master]) {
        output = output.replace(&server.url, "SERVER");
    }
    output.lines().map(str::to_owned).collect()
}

fn sees_no_difference(python: &Python, options: &str) {
    let original = lines(&Kind::Original(python.clone()), python, options);
    let ours = lines(&Kind::Rust, python, options);
    assert!(original.len() > 90, "{python} {options}: it did not do its work: {original:#?}");
    let pairs = original.iter().zip(&ours).filter(|(original, ours)| original != ours);
    let differences: Vec<String> =
        pairs.map(|(original, ours)| format!("original: {original}\nours:     {ours}")).collect();
    assert!(differences.is_empty(), "{python} {options}:\n{}", differences.join("\n"));
    assert_eq!(original.len(), ours.len(), "{python} {options}");
}
