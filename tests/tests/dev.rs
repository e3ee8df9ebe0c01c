//! `logplex dev`: the first minute. What it prints works as printed, and nothing of it is left when it ends.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use logplex_tests::{
    Code, Ended, Program, Signal, Sink, TailLine, Terminal, Told, basic, binary, conservation, request,
    told_sum, wait_for,
};
use serde_json::Value;
use tempfile::TempDir;

/// Goes on until it is told to end, but not beyond its parent's end: a test that fails leaves nothing behind.
const FOR_EVER: &str = "while kill -0 $PPID; do sleep 0.02; done";

/// `logplex dev` with a folder of its own for what it leaves behind.
struct Dev {
    program: Program,
    temporary: TempDir,
}

impl Dev {
    fn start(command: &[&str]) -> Dev {
        Dev::start_head(command, usize::MAX)
    }

    /// Closes its stdout after `most` lines.
    fn start_head(command: &[&str], most: usize) -> Dev {
        let temporary = tempfile::tempdir().expect("a folder can be made");
        let folder = temporary.path().to_str().expect("its name is text");
        let env = [("TMPDIR", folder), ("LOGPLEX_LISTEN", "127.0.0.1:0")];
        let program = Program::start_head("logplex", &[&["dev"], command].concat(), &env, most);
        Dev { program, temporary }
    }

    /// `logplex dev -- sh -c SCRIPT`.
    fn run(script: &str) -> Dev {
        Dev::start(&["--", "sh", "-c", script])
    }

    /// The line to copy that stands behind `label`.
    #[track_caller]
    fn line(&self, label: &str) -> String {
        let lines = wait_for("the lines to copy", || {
            let said = self.program.stderr();
            said.iter().any(|line| line.starts_with("  counts ")).then_some(said)
        });
        let text = lines.join("\n");
        let from = text.find(&format!("\n  {label} ")).unwrap_or_else(|| panic!("no {label:?} in {text}"));
        let line = text[from..].trim_start().trim_start_matches(label).trim_start();
        // One that goes on says so.
        let ends = line.match_indices('\n').find(|(at, _)| !line[..*at].ends_with('\\'));
        line[..ends.map_or(line.len(), |(at, _)| at)].to_owned()
    }

    /// Waits for its end; nothing may be left then.
    #[track_caller]
    fn wait(&mut self) -> Ended {
        let ended = self.program.wait();
        let left: Vec<_> = fs::read_dir(self.temporary.path()).into_iter().flatten().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        ended
    }
}

/// Runs a line as a user does who has copied it, with the binaries under test in the path; what it prints.
#[track_caller]
fn sh(line: &str) -> String {
    let folder = binary("logplex").with_file_name("").display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh").args(["-c", line]).env_clear().env("PATH", path).output();
    let output = output.expect("there is a shell");
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Does what `curl` would do with a line, its words as the shell takes them apart; the body of the answer.
#[track_caller]
fn curl(line: &str) -> String {
    let words = sh(&format!("curl() {{ printf '%s\\n' \"$@\"; }}; {line}"));
    let split = |text: &'static str, word: &str| -> (String, String) {
        let parts = word.split_once(text).unwrap_or_else(|| panic!("no {text:?} in {word:?}"));
        (parts.0.to_owned(), parts.1.to_owned())
    };
    let (mut method, mut headers, mut body, mut url) = ("GET", Vec::new(), "", "");
    let mut words = words.lines();
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value behind the flag");
        match word {
            "-X" => method = value(),
            "-H" => headers.push(split(": ", value())),
            "-d" | "--data-binary" => (method, body) = ("POST", value()),
            "-u" => {
                let (user, password) = split(":", value());
                headers.push(("Authorization".to_owned(), basic(&user, &password)));
            }
            _ => url = word,
        }
    }
    let (address, path) = split("/", url.trim_start_matches("http://"));
    let address: SocketAddr = address.parse().expect("an address");
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = request(address, method, &format!("/{path}"), &headers, body.as_bytes());
    answer.expect("an answer").expect(&[200, 201, 204]).text()
}

#[track_caller]
fn parsed(stdout: &[String]) -> Vec<TailLine> {
    let parse = |line: &String| TailLine::parse(line).unwrap_or_else(|| panic!("no tail line: {line:?}"));
    stdout.iter().map(parse).collect()
}

fn numbers(stdout: &[String]) -> Vec<u64> {
    parsed(stdout).iter().filter_map(TailLine::number).collect()
}

// === without a command ===

#[test]
fn the_lines_to_copy_work_as_they_are() {
    let (mut dev, sink) = (Dev::start(&[]), Sink::start());
    let drain = dev.line("drain");
    assert!(drain.contains("http://127.0.0.1:PORT/"), "{drain}");
    let made: Value =
        serde_json::from_str(&curl(&drain.replace("http://127.0.0.1:PORT/", &sink.url("")))).unwrap();

    let ship = dev.line("ship");
    assert!(ship.ends_with("log-shuttle run -- CMD"), "{ship}");
    sh(&ship.replace("CMD", "echo line 0"));
    sh(&format!("echo line 1 | {}", ship.replace(" run -- CMD", "").replace("LOGS_URL=", "env LOGS_URL=")));
    assert_eq!(curl(&dev.line("curl").replace("hello", "line 2")), "");

    let received = sink.wait_line(2);
    assert_eq!(logplex_tests::numbers(&received), [0, 1, 2]);
    let printed = sh(&format!("{} --no-follow", dev.line("tail")));
    let printed: Vec<String> = printed.lines().map(str::to_owned).collect();
    assert_eq!(numbers(&printed), [0, 1, 2]);
    assert!(parsed(&printed).iter().all(|line| line.source == "app"), "{printed:?}");

    let counts: Value = serde_json::from_str(&curl(&dev.line("counts"))).unwrap();
    assert_eq!((&counts["channel"], &counts["tokens"][0]["accepted"]), (&"dev".into(), &3.into()));
    assert_eq!(counts["drains"][0]["token"], made["token"]);

    let page = dev.line("page");
    let (address, key) = page.split_once("  in a browser, with the key ").expect("address and key");
    assert!(curl(&format!("curl {address}")).contains("<title>Logplex</title>"));
    assert!(dev.line("counts").contains(&format!("Bearer {key}")), "{page}");

    dev.program.signal(Signal::SIGTERM);
    let ended = dev.wait();
    assert_eq!((ended.status.code(), ended.stdout), (Some(0), vec![]));
}

#[test]
fn a_signal_ends_it_at_any_time_and_its_store_goes() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut dev = Dev::start(&[]);
        wait_for("a first word", || (!dev.program.stderr().is_empty()).then_some(()));
        dev.program.signal(signal);
        assert_eq!(dev.wait().status.code(), Some(0), "{signal}");
    }
}

#[test]
fn a_port_in_use_is_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ended = Dev::start(&["--listen", &address]).wait();
    assert_eq!(ended.status.code(), Some(1));
    let said = ended.stderr.join("\n");
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
}

// === with a command ===

#[test]
fn a_commands_lines_come_back_in_order() {
    let script = "i=0; while [ $i -lt 600 ]; do
        echo line $i; echo line $((i + 1)) >&2; i=$((i + 2)); done; printf 'the end'";
    let ended = Dev::run(script).wait();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(numbers(&ended.stdout), (0..600).collect::<Vec<_>>());
    let lines = parsed(&ended.stdout);
    assert_eq!((lines.len(), lines[600].text.as_str()), (601, "the end"));
    assert!(lines.iter().all(|line| (line.source.as_str(), line.procid.as_str()) == ("app", "run.1")));
    let complaint = ended.stderr.iter().find(|line| line.contains("lost") || line.contains("dropped"));
    assert_eq!(complaint, None);
}

#[test]
fn a_flood_is_shown_or_told() {
    // No more than the shuttle's ring holds: an L12 could be among what the tail's ring drops.
    let ended = Dev::start(&["--", "seq", "-f", "line %g", "20000"]).wait();
    assert_eq!(ended.status.code(), Some(0));
    let texts = parsed(&ended.stdout).into_iter().map(|line| line.text);
    let told: Vec<Told> = texts.filter_map(|text| Told::parse_strictly(&text)).collect();
    conservation(1..20_001, &numbers(&ended.stdout), told_sum(&told, &[Code::L11]));
}

#[test]
fn a_commands_end_is_its_own() {
    for (command, code) in [
        (&["sh", "-c", "echo line 0; exit 7"][..], 7),
        (&["sh", "-c", "echo line 0; kill -TERM $$"], 143),
        (&["no-command-of-this-name"], 127),
        (&["/"], 126),
    ] {
        let ended = Dev::start(&[&["--"], command].concat()).wait();
        assert_eq!(ended.status.code(), Some(code), "{command:?}");
        let is_started = command[0] == "sh";
        assert_eq!(numbers(&ended.stdout), [0][..usize::from(is_started)], "{command:?}");
        let why = format!("logplex dev: cannot run {}: ", command[0]);
        let says_why = ended.stderr.iter().any(|line| line.starts_with(&why));
        assert_eq!(says_why, !is_started, "{:?}", ended.stderr);
    }
}

#[test]
fn a_signal_goes_to_the_command_and_its_last_words_are_shown() {
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT")] {
        let script = format!("trap 'echo line 1; exit 5' {name}; echo line 0; {FOR_EVER}");
        let mut dev = Dev::run(&script);
        dev.program.wait_line("its first line", |line| line.ends_with("line 0"));
        dev.program.signal(signal);
        let ended = dev.wait();
        assert_eq!((ended.status.code(), numbers(&ended.stdout)), (Some(5), vec![0, 1]), "{name}");
    }
}

#[test]
fn ctrl_c_on_a_terminal_does_too() {
    let temporary = tempfile::tempdir().unwrap();
    let script = format!("trap \"echo last words; exit 5\" INT; echo first words; {FOR_EVER}");
    let command = format!("'{}' dev --listen 127.0.0.1:0 -- sh -c '{script}'", binary("logplex").display());
    let terminal = Terminal::start(&command, &[("TMPDIR", temporary.path().to_str().unwrap())]);
    terminal.wait_screen("first words");
    terminal.press("C-c");
    let screen = terminal.wait_screen("exit 5");
    assert!(screen.contains("last words"), "{screen}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_that_goes_away_leaves_the_command_running() {
    let script = "i=0; while [ $i -lt 300 ]; do echo line $i; sleep 0.001; i=$((i + 1)); done; exit 5";
    let mut dev = Dev::start_head(&["--", "sh", "-c", script], 1);
    let ended = dev.wait();
    assert_eq!((ended.status.code(), numbers(&ended.stdout)), (Some(5), vec![0]));
}
