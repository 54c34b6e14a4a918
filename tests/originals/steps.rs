//! Every kind of program does the same work at the original servers and at ours, and sees the same.

use crate::common::cluster::{Cluster, Kind};
use crate::common::python::Python;
use crate::run;

/// Makes a test of each kind of program.
macro_rules! kinds_of_programs {
    ($pythons:expr; $($name:ident: $options:literal;)*) => {$(
        #[test]
        fn $name() {
            for python in $pythons {
                sees_no_difference(&python, $options);
            }
        }
    )*};
}

// Where the Pythons differ: in what they send, and in what they make of the answers.
kinds_of_programs! { Python::all();
    binary: "";
    binary_literal: "--contents array --lists array --delete both";
    string: "--dialect string --contents raw --append checked";
    string_literal: "--dialect string --contents array --lists array --append checked";
    tree_arrays: "--level tree --dialect string --lists array --look list --append checked";
    one_table: "--shape one-table --level flat --append checked";
}

// Where they do not.
kinds_of_programs! { [Python::two().unwrap_or_else(Python::three)];
    binary_raw: "--contents raw --append checked --look list --delete both --new-proxies chunks";
    binary_arrays: "--lists array-of-binary --append checked";
    string_unicode: "--dialect string --names unicode --lists array --append checked";
    tree: "--level tree --contents raw --append checked";
    tree_string: "--level tree --dialect string --names unicode --append checked --delete both";
    flat_tree: "--level flat --append checked --new-proxies all";
    one_table_tree: "--shape one-table --level tree --dialect string --look list --append checked";
    one_table_at_a_chunk_server: "--shape one-table --servers CHUNK --level flat --append checked";
    split_table: "--shape split --append checked";
    split_table_at_a_chunk_server: "--shape split --servers CHUNK --level tree --dialect string \
                                    --append checked";
    hashed_tables: "--shape hashed --servers CHUNKS --level tree --append checked";
    two_copies: "--shape two-copies --servers CHUNKS --level tree --contents raw --delete both \
                 --append checked";
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
