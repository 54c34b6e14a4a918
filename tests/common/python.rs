//! The Pythons of this machine, and the programs of `tests/interop` under them.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::{Shown, repository, skipped, target};

/// An interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Python {
    /// 2 or 3.
    pub(crate) version: u8,
    program: PathBuf,
    packages: Option<PathBuf>,
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Python {}", self.version)
    }
}

impl Python {
    /// Python 3 with fusepy: `HTFS_PYTHON3`, or the one of the virtual environment that
    /// `tests/run.sh` makes. Its absence is a failure.
    pub(crate) fn three() -> Self {
        static FOUND: OnceLock<Python> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let given = env::var_os("HTFS_PYTHON3").map(PathBuf::from);
            let program = given.unwrap_or_else(|| target().join("venv/bin/python3"));
            let python = Self { version: 3, program, packages: None };
            assert!(
                python.has_fuse(),
                "{} cannot import fusepy; run tests/run.sh, which makes a virtual environment, or \
                 name a Python that can in HTFS_PYTHON3",
                python.program.display()
            );
            python
        });
        found.clone()
    }

    /// Python 2.7, if there is one: `HTFS_PYTHON2`, `python2.7`, or one that pyenv installed.
    pub(crate) fn two() -> Option<Self> {
        static FOUND: OnceLock<Option<Python>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let packages = Some(target().join("python2-packages"));
            let candidates = match env::var_os("HTFS_PYTHON2") {
                Some(given) => vec![PathBuf::from(given)],
                None => [PathBuf::from("python2.7")].into_iter().chain(of_pyenv()).collect(),
            };
            let mut pythons = candidates.into_iter().map(|program| Self {
                version: 2,
                program,
                packages: packages.clone(),
            });
            // The name on the PATH may be a stub that runs nothing.
            pythons.find(|python| python.can("import ssl, xmlrpclib"))
        });
        found.clone()
    }

    /// Python 3, and Python 2 if there is one.
    pub(crate) fn all() -> Vec<Self> {
        [Self::three()].into_iter().chain(Self::two()).collect()
    }

    /// Whether it can mount.
    pub(crate) fn has_fuse(&self) -> bool {
        self.can("import fuse")
    }

    /// Runs lines of Python.
    pub(crate) fn evaluate(&self, lines: &str) {
        super::run(self.command_of(&["-c", lines]).stdin(Stdio::null()));
    }

    fn can(&self, statement: &str) -> bool {
        let mut command = self.command_of(&["-c", statement]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn command_of(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("PYTHONIOENCODING", "utf-8")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command
    }

    /// A program of `tests/interop`, to be given arguments and started.
    pub(crate) fn command(&self, program: &str) -> Command {
        let path = repository().join("tests/interop").join(program);
        self.command_of(&[path.to_str().expect("the repository's path is UTF-8")])
    }

    /// Runs a program of `tests/interop` to its end and gives its output, or what went wrong.
    pub(crate) fn try_run(&self, program: &str, arguments: &[String]) -> Result<String, String> {
        let mut command = self.command(program);
        let output = command.args(arguments).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{self}, {program} {arguments:?}: {}", Shown(&output)))
    }

    /// The same, for what must succeed.
    pub(crate) fn run(&self, program: &str, arguments: &[String]) -> String {
        self.try_run(program, arguments).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Runs the rest of a test if there is a Python 2 here, and says so if not.
pub(crate) fn with_python_2(test: impl FnOnce(Python)) {
    match Python::two() {
        Some(python) => test(python),
        None => skipped("there is no Python 2.7 here (HTFS_PYTHON2 may name one)"),
    }
}

fn of_pyenv() -> Vec<PathBuf> {
    let home = env::var_os("HOME").unwrap_or_default();
    let versions = std::fs::read_dir(Path::new(&home).join(".pyenv/versions"));
    let paths = versions.into_iter().flatten().flatten().map(|entry| entry.path());
    paths.map(|path| path.join("bin/python2.7")).filter(|path| path.exists()).collect()
}
