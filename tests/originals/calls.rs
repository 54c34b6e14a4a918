//! What the original programs need of their servers, asked call by call in every form.

use std::thread;

use crate::common::cluster::{Cluster, Kind};
use crate::common::mount::Mount;
use crate::common::python::{Python, with_python_2};
use crate::run;

/// The forms of calls in which the classes are asked.
const DELETED_NAMES: &[&str] = &[
    "",
    "--dialect string --contents raw --delete both",
    "--dialect string --lists array",
    "--level tree --lists array-of-binary",
    "--level tree --dialect string --delete both",
    "--new-proxies all",
];
const ARRAYS: &[&str] =
    &["--lists array", "--lists array-of-binary", "--lists array --dialect string --level tree"];
const NAMES_OUTSIDE_ASCII: &[&str] = &[
    "",
    "--names unicode",
    "--dialect string",
    "--dialect string --lists array",
    "--dialect string --lists array --names unicode",
    "--dialect string --level tree",
];
const IN_ANY_FORM: &[&str] = &[""];

/// Makes a test of each class for each Python, and one that asks the original's servers the same.
macro_rules! classes {
    ($($name:ident: $class:literal in $program:literal, $forms:ident;)*) => {$(
        mod $name {
            use super::{Kind, Python, ask, with_python_2};

            #[test]
            fn python_2() {
                with_python_2(|python| ask(&Kind::Rust, &python, [$program, $class], super::$forms));
            }

            #[test]
            fn python_3() {
                ask(&Kind::Rust, &Python::three(), [$program, $class], super::$forms);
            }

            /// Not a test of ours, but of the questions.
            #[test]
            fn the_original() {
                let python = Python::three();
                ask(&Kind::Original(python.clone()), &python, [$program, $class], super::$forms);
            }
        }
    )*};
}

classes! {
    deleted_names: "DeletedNames" in "originals_names.py", DELETED_NAMES;
    own_contents: "OwnContents" in "originals_values.py", IN_ANY_FORM;
    values_at_a_chunk_server: "ChunkValues" in "originals_values.py", IN_ANY_FORM;
    arrays: "Arrays" in "originals_names.py", ARRAYS;
    small_ones: "SmallOnes" in "originals_values.py", IN_ANY_FORM;
    names_outside_ascii: "NamesOutsideAscii" in "originals_names.py", NAMES_OUTSIDE_ASCII;
}

/// Runs one class in each form, at fresh servers: all forms at once, as some of it is waiting.
fn ask(kind: &Kind, python: &Python, [program, class]: [&str; 2], forms: &[&str]) {
    let original = if matches!(kind, Kind::Rust) { "" } else { "--original" };
    let ask = |form: &str| {
        let cluster = Cluster::start(kind, 2);
        let options = format!("{class} {form} {original} --servers CHUNKS");
        run(python, program, &cluster, &options).err()
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let asked: Vec<_> = forms.iter().map(|form| scope.spawn(move || ask(form))).collect();
        asked.into_iter().filter_map(|asked| asked.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "at {kind}:\n{}", failures.join("\n"));
}

/// A native mount sees at once what a list does not say yet.
#[test]
fn a_native_mount_sees_what_the_programs_do() {
    for python in Python::all() {
        for form in ["", "--level flat --dialect string --lists array", "--shape one-table"] {
            let cluster = Cluster::start(&Kind::Rust, 2);
            let native = Mount::ours(&cluster, &[]);
            let root = native.root().display();
            let options = format!("NativeMount {form} --native {root} --servers CHUNKS");
            run(&python, "originals_names.py", &cluster, &options).unwrap();
            native.unmount();
        }
    }
}
