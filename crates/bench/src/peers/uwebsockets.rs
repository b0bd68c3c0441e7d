//! uWebSockets: the shared library in PyPI's package `socketify`, driven by a program of ours in C, which is compiled when
//! the peer is started. No Python runs.
//!
//! The library is installed once, by pip, into the folder of build products; it needs Debian's `libuv1`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

/// The package and the version that the declarations in the program are those of.
const PACKAGE: &str = "socketify==0.0.31";
const LIBRARY: &str = "libsocketify_linux_amd64.so";
const PROGRAM: &str = include_str!("uwebsockets.c");

/// Compiles the program into `folder`: the command that serves on a free port of the loopback.
///
/// # Errors
/// There is no C compiler, no pip, or not this library for this machine.
pub fn command(folder: &Path) -> Result<Command, Failure> {
    let library = library()?;
    let (source, program) = (folder.join("uwebsockets.c"), folder.join("uwebsockets"));
    std::fs::write(&source, PROGRAM).map_err(Failure::io("write uwebsockets.c"))?;
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O2", "-o"]).arg(&program).arg(&source).arg(&library);
    let mut where_it_is = std::ffi::OsString::from("-Wl,-rpath,");
    where_it_is.push(library.parent().unwrap_or(Path::new(".")));
    // Some of what the library refers to is only found in a process of Python, and never called here.
    compiler.arg(where_it_is).arg("-Wl,--allow-shlib-undefined");
    run(compiler, "compile uwebsockets.c with cc")?;
    Ok(Command::new(program))
}

/// Where the library is, installed first if it is not there yet.
fn library() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe().map_err(Failure::io("find this binary"))?;
    let products = this.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let folder = products.join("bench-peers");
    let library = folder.join(LIBRARY);
    if library.exists() {
        return Ok(library);
    }
    std::fs::create_dir_all(&folder).map_err(Failure::io("make a folder for the library"))?;
    let workshop = tempfile::tempdir_in(&folder).map_err(Failure::io("make a folder for pip"))?;
    let (venv, packages) = (workshop.path().join("venv"), workshop.path().join("packages"));
    let mut python = Command::new("python3");
    python.args(["-m", "venv"]).arg(&venv);
    run(python, "make a venv with python3")?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    pip.arg(&packages).arg(PACKAGE);
    run(pip, "install socketify with pip")?;
    // At once, so that whoever looks at the same time finds a whole library or none.
    std::fs::rename(packages.join("socketify").join(LIBRARY), &library)
        .map_err(Failure::io("put the library in its place"))?;
    Ok(library)
}

/// Runs a command to its end; what it said when it fails.
fn run(mut command: Command, doing: &'static str) -> Result<(), Failure> {
    let output = command.output().map_err(Failure::io(doing))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::NotReady { what: format!("{doing}: {said}") })
}
