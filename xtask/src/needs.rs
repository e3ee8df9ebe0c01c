//! Set-up: the programs that some tests, and the guard, need beside the workspace itself.
//!
//! A need that is missing is installed from Debian's packages when that is allowed (root on a machine with
//! `apt-get`), Heroku's CLI from the npm registry. Otherwise it is named, with what is left out because of it; with
//! `CI=true` nothing may be left out.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::heroku;

/// A program that a group of tests runs.
#[derive(Debug)]
pub(crate) struct Need {
    /// The program's name, on the `PATH` if Debian has it, or a module's below the folders of libraries:
    /// `rsyslog/lmnsd_gtls.so`.
    pub(crate) tool: &'static str,
    /// Where it comes from.
    source: Source,
    /// The beginning of the names of the test files under `tests/tests/` that cannot run without it.
    pub(crate) used_by: &'static str,
}

#[derive(Debug)]
enum Source {
    /// This package.
    Debian(&'static str),
    /// See [`heroku`].
    HerokuCli,
}

/// Every need there is. A row leaves this table with the last test that uses it.
const NEEDS: &[Need] = &[
    Need { tool: "nginx", source: Source::Debian("nginx-light"), used_by: "nginx" },
    Need { tool: "nginx", source: Source::Debian("nginx-light"), used_by: "chain" },
    Need { tool: "rsyslogd", source: Source::Debian("rsyslog"), used_by: "rsyslog" },
    Need { tool: "rsyslog/lmnsd_gtls.so", source: Source::Debian("rsyslog-gnutls"), used_by: "rsyslog_tls" },
    Need { tool: "tmux", source: Source::Debian("tmux"), used_by: "terminal" },
    Need { tool: "chromium", source: Source::Debian("chromium"), used_by: "page" },
    Need { tool: "chromedriver", source: Source::Debian("chromium-driver"), used_by: "page" },
    Need { tool: "heroku", source: Source::HerokuCli, used_by: "heroku_cli" },
];

/// Tries to meet the needs of the test files in `tests` and returns those that stay unmet, each already named on
/// stderr.
pub(crate) fn unmet(tests: &Path) -> Vec<&'static Need> {
    let files = test_files(tests);
    let used = |need: &&Need| files.iter().any(|file| file.starts_with(need.used_by));
    let unmet = |need: &&Need| {
        let left_out = format!("the tests of tests/tests/{}*.rs", need.used_by);
        !match need.source {
            Source::Debian(package) => met(need.tool, package, &left_out),
            Source::HerokuCli => heroku::met(&left_out),
        }
    };
    NEEDS.iter().filter(used).filter(unmet).collect()
}

/// Whether nothing may be left out.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// The names of the test files in `tests`, without `.rs`, in order.
pub(crate) fn test_files(tests: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(tests).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Whether `tool` is on the `PATH`, or, if it is a module of another program, where libraries are.
pub(crate) fn present(tool: &str) -> bool {
    if tool.contains('/') {
        // Debian keeps those of an architecture apart; other systems do not.
        let debian = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let folders = [debian.as_str(), "/usr/lib64", "/usr/lib"];
        return folders.iter().any(|folder| Path::new(folder).join(tool).is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where an ordinary user's PATH does not lead.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(tool).is_file())
}

/// Whether `tool` is there, or could be installed; else it is named on stderr, with what is left out for it.
pub(crate) fn met(tool: &str, debian_package: &str, left_out: &str) -> bool {
    if present(tool) {
        return true;
    }
    let why = match install(debian_package) {
        Ok(()) if present(tool) => return true,
        Ok(()) => format!("package {debian_package} holds no {tool}"),
        Err(why) => why,
    };
    eprintln!("xtask: missing: {tool} (Debian package {debian_package}): {why}");
    eprintln!("xtask: left out: {left_out}");
    false
}

fn install(package: &str) -> Result<(), String> {
    if !present("apt-get") {
        return Err("this machine has no apt-get; install it by hand".to_owned());
    }
    if !is_root() {
        return Err(format!("not root; run: sudo apt-get install {package}"));
    }
    eprintln!("xtask: installing {package}");
    // A stale list of packages names files that the mirror no longer has, so it is brought up to date first.
    for args in
        [&["update", "--quiet"][..], &["install", "--yes", "--quiet", "--no-install-recommends", package]]
    {
        let status = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!("apt-get {} failed", args.join(" ")));
        }
    }
    Ok(())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stderr(Stdio::null()).output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
