//! A setting comes from a flag, else the environment, else a file, else it has a default; `check-config` tells which,
//! and what is wrong is refused with its place.

use std::path::PathBuf;

use logplex_tests::{Ended, Program, Server};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(TempDir::new().expect("a temporary folder can be made"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path
    }
}

#[track_caller]
fn check(args: &[&str], env: &[(&str, &str)]) -> Ended {
    Program::start("logplex", &[&["check-config"], args].concat(), env).wait()
}

#[track_caller]
fn shown(args: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let ended = check(args, env);
    assert!(ended.status.success(), "{:?}", ended.stderr);
    ended.stdout
}

/// It ends with 2, shows nothing, and says why.
#[track_caller]
fn refused(args: &[&str], env: &[(&str, &str)], why: &str) {
    let ended = check(args, env);
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{args:?}");
    assert!(ended.stderr.join("\n").contains(why), "{why:?} is not in {:?}", ended.stderr);
}

#[test]
fn a_flag_goes_over_the_environment_that_over_the_file_that_over_the_default() {
    let folder = Folder::new();
    let text = "grace = 3\nworkers = 3\n\nchannel-rate = 3\nallow-private-drains = true\n";
    let file = folder.write("logplex.toml", text);
    let file = file.to_str().expect("UTF-8");
    let env = [("LOGPLEX_GRACE", "2"), ("LOGPLEX_WORKERS", "2"), ("LOGPLEX_CONFIG", file)];
    let lines = shown(&["--grace", "1"], &env);
    for expected in [
        "grace = 1  # flag".to_owned(),
        "workers = 2  # environment LOGPLEX_WORKERS".to_owned(),
        format!("channel-rate = 3  # file {file}, line 4"),
        format!("allow-private-drains = true  # file {file}, line 5"),
        "data-dir = \"logplex-data\"  # default".to_owned(),
        "# public-url is not set".to_owned(),
    ] {
        assert!(lines.contains(&expected), "no {expected:?} in {lines:#?}");
    }
    // A switch can be turned off again.
    let lines = shown(&["--config", file, "--allow-private-drains=false"], &[]);
    assert!(lines.contains(&"allow-private-drains = false  # flag".to_owned()), "{lines:#?}");
    let lines = shown(&["--config", file], &[("LOGPLEX_ALLOW_PRIVATE_DRAINS", "0")]);
    let expected = "allow-private-drains = false  # environment LOGPLEX_ALLOW_PRIVATE_DRAINS";
    assert!(lines.contains(&expected.to_owned()), "{lines:#?}");
}

#[test]
fn what_is_shown_is_a_file_of_the_same_effect() {
    let folder = Folder::new();
    let args = ["--grace", "7", "--public-url", "https://logs.example", "--allow-private-drains"];
    let lines = shown(&[&args[..], &["--syslog-listen", "127.0.0.1:0 [::1]:514"]].concat(), &[]);
    let listen = "syslog-listen = [\"127.0.0.1:0\", \"[::1]:514\"]  # flag";
    assert!(lines.contains(&listen.to_owned()), "{lines:#?}");
    let file = folder.write("same.toml", &(lines.join("\n") + "\n"));
    let again = shown(&["--config", file.to_str().expect("UTF-8")], &[]);
    let settings = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split("  # ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(settings(&lines), settings(&again));
}

#[test]
fn every_flag_of_serve_is_shown_and_has_a_variable() {
    let help = Program::start("logplex", &["serve", "--help"], &[]).wait().stdout.join("\n");
    let (lines, told) = (shown(&[], &[]), help.split_whitespace().collect::<Vec<_>>().join(" "));
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let names: Vec<&str> = flags.filter_map(|flag| flag.split([' ', '=', '[']).next()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names.iter().filter(|name| !["config", "help"].contains(name)) {
        let is_shown = |line: &String| {
            line.starts_with(&format!("{name} = ")) || line.starts_with(&format!("# {name} is not set"))
        };
        assert!(lines.iter().any(is_shown), "no {name} in {lines:#?}");
        let variable = format!("[env: LOGPLEX_{}=]", name.replace('-', "_").to_uppercase());
        assert!(told.contains(&variable), "no {variable}");
    }
}

#[test]
fn no_secret_is_shown() {
    let folder = Folder::new();
    let (token, key) = ("t.5bd00e46-1ca4-4a57-b1f5-4b5fd2a3a2a6", "a-very-secret-key");
    let file = folder.write("token", token);
    let key_file = folder.write("key", "another-secret-key");
    let listen = format!("127.0.0.1:0,token-file={}", file.display());
    let config = folder.write("c.toml", &format!("api-key-file = '{}'\n", key_file.display()));
    let args = ["--config", config.to_str().expect("UTF-8"), "--syslog-listen", &listen];
    // The variable goes over the file's word for another key.
    let lines = shown(&args, &[("LOGPLEX_API_KEY", key)]).join("\n");
    assert!(lines.contains("# the API key is in LOGPLEX_API_KEY"), "{lines}");
    assert!(lines.contains("# api-key-file is not set"), "{lines}");
    assert!(![token, key, "another-secret-key"].iter().any(|secret| lines.contains(secret)), "{lines}");
    let pasted = format!("127.0.0.1:0,{token}");
    let ended = check(
        &["--config", folder.write("d.toml", &format!("syslog-listen = '{pasted}'")).to_str().unwrap()],
        &[],
    );
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.join("\n").contains("only ,token-file=FILE may follow"), "{:?}", ended.stderr);
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let folder = Folder::new();
    let file = |text: &str| folder.write("x.toml", text).to_str().expect("UTF-8").to_owned();
    for (text, why) in [
        ("\nlisen = 'x'\n", "x.toml, line 2: lisen is not a setting; did you mean listen?"),
        ("grace = 'ten'", "x.toml, line 1: grace must be a whole number"),
        (
            "listen = '127.0.0.1'",
            "x.toml, line 1: listen cannot be \"127.0.0.1\": invalid socket address syntax",
        ),
        ("grace 5", "x.toml, line 1: "),
        ("public-url = 'here'", "--public-url is not a URL"),
        ("syslog-tls-listen = ['127.0.0.1:0']", "--syslog-tls-listen needs --tls-cert and --tls-key"),
        ("syslog-listen = '127.0.0.1:0,token-file=/nowhere'", "cannot read a token from /nowhere"),
    ] {
        refused(&["--config", &file(text)], &[], why);
    }
    refused(&["--config", "/nowhere.toml"], &[], "cannot read /nowhere.toml");
    refused(&["--grace", "ten"], &[], "--grace");
    refused(&[], &[("LOGPLEX_GRACE", "ten")], "--grace");
}

#[test]
fn a_certificate_needs_its_own_key() {
    let folder = Folder::new();
    let made = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (one, other) = (made(), made());
    let certificate = folder.write("cert.pem", &one.cert.pem());
    let key = folder.write("key.pem", &one.signing_key.serialize_pem());
    let others = folder.write("other.pem", &other.signing_key.serialize_pem());
    let args = |certificate: &PathBuf, key: &PathBuf| {
        let files = [certificate, key].map(|file| file.to_str().expect("UTF-8").to_owned());
        let [certificate, key] = files;
        ["--syslog-tls-listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key]
            .map(str::to_owned)
    };
    let check = |args: [String; 6], why: Option<&str>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match why {
            None => assert!(!shown(&args, &[]).is_empty()),
            Some(why) => refused(&args, &[], why),
        }
    };
    check(args(&certificate, &key), None);
    check(args(&certificate, &others), Some("are no pair"));
    check(args(&key, &key), Some("holds no certificate"));
    check(args(&certificate, &certificate), Some("cannot read a private key from"));
    check(args(&certificate, &PathBuf::from("/nowhere")), Some("cannot read a private key from /nowhere"));
}

#[test]
fn a_server_runs_with_its_file_and_refuses_a_wrong_one() {
    let folder = Folder::new();
    let file = folder.write("logplex.toml", "syslog-listen = ['127.0.0.1:0', '127.0.0.1:0']\n");
    let config = |file: &PathBuf| Server::options().args(&["--config", file.to_str().expect("UTF-8")]);
    assert_eq!(config(&file).start().syslog_addresses().len(), 2);
    let wrong = folder.write("wrong.toml", "syslog-listn = []\n");
    let ended = config(&wrong).fail(folder.0.path(), 0);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.join("\n").contains("did you mean syslog-listen?"), "{:?}", ended.stderr);
}
