//! `logplex completions`: scripts that know the commands.

use std::process::Command;

use logplex_tests::{Program, binary};

const COMMANDS: [&str; 6] = ["serve", "tail", "channels", "drains", "check-config", "completions"];

#[test]
fn each_script_knows_the_commands_and_their_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = Program::start("logplex", &["completions", shell], &[]).wait();
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]), "{shell}");
        let script = ended.stdout.join("\n");
        for text in COMMANDS.iter().chain(&["exclude-source", "max-drains", "interval"]) {
            assert!(script.contains(text), "{shell} does not know {text}");
        }
    }
    let ended = Program::start("logplex", &["completions", "dos"], &[]).wait();
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0));
}

#[test]
fn bash_completes_with_it() {
    let complete = |words: &[&str]| -> Vec<String> {
        let last = words.len() - 1;
        let script = format!(
            "source <('{}' completions bash); COMP_WORDS=({}); COMP_CWORD={last}; \
             _logplex logplex '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            binary("logplex").display(),
            words.join(" "),
            words[last],
            words[last - 1],
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).output().expect("bash is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    };
    assert_eq!(complete(&["logplex", "ta"]), ["tail"]);
    assert_eq!(complete(&["logplex", "tail", "--exclude-s"]), ["--exclude-source"]);
    assert_eq!(complete(&["logplex", "tail", "--color", "a"]), ["auto", "always"]);
}
