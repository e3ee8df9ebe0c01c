//! Where the binaries under test are.

use std::path::PathBuf;
use std::process::Command;

/// The path of `logplex` or `log-shuttle`: in the folder that `LOGPLEX_BIN_DIR` names, else beside the folder of the
/// test executable (`target/debug/deps/x` → `target/debug/`).
///
/// # Panics
/// When it is not there.
pub fn binary(name: &str) -> PathBuf {
    let folder = std::env::var_os("LOGPLEX_BIN_DIR").map(PathBuf::from).unwrap_or_else(|| {
        let mut folder = std::env::current_exe().expect("a running test has an executable");
        folder.pop();
        if folder.ends_with("deps") {
            folder.pop();
        }
        folder
    });
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo xtask test`, which builds the binaries first",
        path.display()
    );
    path
}

/// A command for a binary under test, without the caller's own settings of it.
pub(crate) fn command(name: &str) -> Command {
    command_under(&[], name)
}

/// As [`command`], started by another program, whose own arguments come first.
pub(crate) fn command_under(wrapper: &[String], name: &str) -> Command {
    let binary = binary(name);
    let mut command = match wrapper {
        [] => Command::new(binary),
        [wrapper, args @ ..] => {
            let mut command = Command::new(wrapper);
            command.args(args).arg(binary);
            command
        }
    };
    for (key, _) in std::env::vars_os() {
        let ours = |prefix| key.to_str().is_some_and(|key| key.starts_with(prefix));
        let colours = ["NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"].iter().any(|name| key == *name);
        if colours || ours("LOGPLEX_") || ours("LOG_SHUTTLE_") || ours("LOGS_URL") {
            command.env_remove(&key);
        }
    }
    command
}
