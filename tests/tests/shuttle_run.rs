//! `log-shuttle run -- CMD`: the command's lines arrive, in its order, and its end becomes the shuttle's own.

use std::fs;

use logplex_tests::{
    Answer, Code, Received, Shuttle, Signal, Sink, Terminal, binary, conservation, notices, numbers,
    told_sum, wait_for,
};

/// 600 numbered lines, the even ones to stdout and the odd ones to stderr.
const ALTERNATING: &str = "i=0; while [ $i -lt 600 ]; do
    echo line $i; echo line $((i + 1)) >&2; i=$((i + 2)); done";

/// Goes on until it is told to end, but not beyond its parent's end: a test that fails leaves nothing behind.
const FOR_EVER: &str = "while kill -0 $PPID; do sleep 0.02; done";

/// `log-shuttle FLAGS… run -- sh -c SCRIPT`, with a pipe of the test for its stdin.
fn run(sink: &Sink, flags: &[&str], script: &str) -> Shuttle {
    Shuttle::start(&sink.logs_url("t.1"), &[flags, &["run", "--", "sh", "-c", script]].concat())
}

/// The texts, without their line's end.
fn texts(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| message.text.trim_end_matches('\n')).collect()
}

#[test]
fn stdout_and_stderr_arrive_in_the_order_they_were_written() {
    let sink = Sink::strict();
    assert_eq!(run(&sink, &[], ALTERNATING).finish().code(), Some(0));
    let received = sink.received();
    conservation(0..600, &numbers(&received), 0);
    assert_eq!(received.len(), 600);
    let head = |line: &Received| (line.pri, line.app.clone(), line.procid.clone());
    assert!(received.iter().all(|line| head(line) == (190, "token".to_owned(), "shuttle".to_owned())));
}

#[test]
fn split_keeps_them_apart_and_loses_nothing() {
    let sink = Sink::strict();
    assert_eq!(run(&sink, &["--split"], ALTERNATING).finish().code(), Some(0));
    let received = sink.received();
    // stderr has severity err; each stream keeps its own order.
    for (pri, first) in [(190, 0), (187, 1)] {
        let stream: Vec<Received> = received.iter().filter(|line| line.pri == pri).cloned().collect();
        assert_eq!(numbers(&stream), (first..600).step_by(2).collect::<Vec<_>>(), "{pri}");
    }
    assert_eq!(received.len(), 600);
}

#[test]
fn its_end_becomes_the_shuttles_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("not-executable");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let path = |path: &std::path::Path| path.display().to_string();
    let (file, folder, none) = (path(&file), path(folder.path()), path(&folder.path().join("none")));
    let sh = |script| ["sh", "-c", script];
    let rows: [(&[&str], i32); 10] = [
        (&["true"], 0),
        (&sh("exit 7"), 7),
        (&sh("exit 255"), 255),
        (&sh("kill -TERM $$"), 128 + 15),
        (&sh("kill -KILL $$"), 128 + 9),
        (&sh("kill -USR1 $$"), 128 + 10),
        (&[&file], 126),
        (&[&folder], 126),
        (&[&none], 127),
        (&["no-command-of-this-name"], 127),
    ];
    let sink = Sink::strict();
    for (command, code) in rows {
        let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &[&["run", "--"], command].concat());
        assert_eq!(shuttle.finish().code(), Some(code), "{command:?}");
        let said = shuttle.stderr();
        match code {
            126 | 127 => assert!(
                matches!(said.as_slice(), [line] if line.starts_with("log-shuttle: error: cannot run")
                    && line.contains(command[0])),
                "{said:?}"
            ),
            _ => assert_eq!(said, [""; 0], "{command:?}"),
        }
    }
    assert_eq!(sink.requests().len(), 0);
}

#[test]
fn a_last_line_without_an_end_is_a_line() {
    let sink = Sink::strict();
    assert_eq!(run(&sink, &[], "printf 'one\ntwo'; exit 3").finish().code(), Some(3));
    assert_eq!(texts(&sink.received()), ["one", "two"]);
}

#[test]
fn arguments_reach_the_command_as_they_are() {
    let sink = Sink::strict();
    let command = ["run", "--", "printf", "%s\n", "--tee", "a b", "-h", "--", "$HOME"];
    assert_eq!(Shuttle::start(&sink.logs_url("t.1"), &command).finish().code(), Some(0));
    assert_eq!(texts(&sink.received()), ["--tee", "a b", "-h", "--", "$HOME"]);
}

// === signals ===

#[test]
fn a_signal_is_passed_on_and_the_last_words_are_shipped() {
    use Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2] {
        let (sink, name) = (Sink::strict(), &signal.as_str()[3..]);
        let script = format!("trap 'echo line 1; exit 5' {name}; echo line 0; {FOR_EVER}");
        // The first request is held until the command has ended: its last words are behind it.
        let gate = sink.gate();
        let mut shuttle = run(&sink, &["--tee"], &script);
        sink.wait_held(1);
        shuttle.signal(signal);
        wait_for("the last words", || (shuttle.stdout() == ["line 0", "line 1"]).then_some(()));
        gate.open();
        assert_eq!(shuttle.wait().code(), Some(5), "{name}");
        assert_eq!(numbers(&sink.received()), [0, 1], "{name}");
    }
}

#[test]
fn a_signal_that_the_command_does_not_catch_ends_both() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let sink = Sink::strict();
        let mut shuttle = run(&sink, &[], "echo line 0; exec cat");
        sink.wait_line(0);
        shuttle.signal(signal);
        assert_eq!(shuttle.wait().code(), Some(code), "{signal}");
    }
}

#[test]
fn a_command_may_decline_to_end() {
    let sink = Sink::strict();
    let script = "trap 'told=1; echo line 1' TERM; echo line 0
        while [ -z $told ] && kill -0 $PPID; do sleep 0.02; done; read _; echo line 2";
    let mut shuttle = run(&sink, &[], script);
    sink.wait_line(0);
    shuttle.signal(Signal::SIGTERM);
    sink.wait_line(1);
    shuttle.write(b"\n").unwrap();
    assert_eq!(shuttle.wait().code(), Some(0));
    assert_eq!(numbers(&sink.received()), [0, 1, 2]);
}

#[test]
fn ctrl_c_on_a_terminal_reaches_the_command_and_its_last_words_the_sink() {
    let sink = Sink::strict();
    let script = format!("trap \"echo line 1; exit 5\" INT; echo line 0; {FOR_EVER}");
    let command = format!("'{}' run -- sh -c '{script}'", binary("log-shuttle").display());
    let terminal = Terminal::start(&command, &[("LOGS_URL", &sink.logs_url("t.1"))]);
    sink.wait_line(0);
    terminal.press("C-c");
    terminal.wait_screen("exit 5");
    assert_eq!(numbers(&sink.received()), [0, 1]);
}

// === pipes ===

#[test]
fn stdin_is_the_commands_own() {
    let sink = Sink::strict();
    let mut shuttle = run(&sink, &[], "cat; echo line 300");
    shuttle.write_lines(0, 300);
    sink.wait_line(299);
    assert_eq!(shuttle.finish().code(), Some(0));
    conservation(0..301, &numbers(&sink.received()), 0);
}

#[test]
fn what_the_command_leaves_behind_does_not_hold_up_the_end() {
    for flags in [&[][..], &["--split"]] {
        let sink = Sink::strict();
        // Its `cat` keeps stdout and stderr open until the test closes the shuttle's stdin.
        let mut shuttle = run(&sink, flags, "exec 3<&0; cat <&3 & echo line 0; exit 7");
        assert_eq!(shuttle.wait().code(), Some(7), "{flags:?}");
        assert_eq!(numbers(&sink.received()), [0], "{flags:?}");
    }
}

#[test]
fn tee_passes_on_every_byte() {
    let script = "printf 'a\n\nb\t'; printf 'é\nc\n' >&2; printf d";
    for (flags, stdout, stderr) in [
        (&[][..], &[][..], &[][..]),
        (&["--tee"], &["a", "", "b\té", "c", "d"], &[]),
        (&["--tee", "--split"], &["a", "", "b\td"], &["é", "c"]),
    ] {
        let sink = Sink::strict();
        let mut shuttle = run(&sink, flags, script);
        assert_eq!(shuttle.finish().code(), Some(0), "{flags:?}");
        assert_eq!((shuttle.stdout(), shuttle.stderr()), (to_owned(stdout), to_owned(stderr)), "{flags:?}");
        assert_eq!(sink.received().iter().map(|line| line.text.matches('\n').count()).sum::<usize>(), 4);
    }
}

fn to_owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

// === losses ===

#[test]
fn a_loss_is_told_and_can_be_the_exit_code() {
    for (flags, exit, code) in [
        (&[][..], 0, 0),
        (&["--fail-on-loss"], 0, 3),
        (&["--fail-on-loss"], 7, 7),
        (&["--fail-on-loss=false"], 0, 0),
    ] {
        let sink = Sink::strict();
        sink.answer_next([Answer::status(404)]);
        let mut shuttle = run(&sink, flags, &format!("echo line 0; exit {exit}"));
        assert_eq!(shuttle.finish().code(), Some(code), "{flags:?} {exit}");
        let told = notices(&sink.received());
        assert_eq!(told_sum(&told, &[Code::L13]), 1, "{told:?}");
        assert_eq!(told[0].fact("reason"), Some("refused"));
        let last = shuttle.stderr().pop();
        let counts = "log-shuttle: flushed=0 dropped=0 lost=1 unsent=0 untold=0";
        assert_eq!(last.as_deref(), Some(counts), "{flags:?}");
    }
    let sink = Sink::strict();
    assert_eq!(run(&sink, &["--fail-on-loss"], "echo line 0").finish().code(), Some(0));
}

#[test]
fn a_full_ring_drops_the_oldest_and_the_command_does_not_wait() {
    let sink = Sink::strict();
    let gate = sink.gate();
    let flags = ["--ring", "10", "--fail-on-loss", "--tee"];
    let mut shuttle = run(&sink, &flags, "echo line 0; read _; seq -f 'line %g' 1000; echo end");
    sink.wait_held(1);
    // The command goes on and ends while nobody takes its lines.
    shuttle.write(b"\n").unwrap();
    wait_for("the command's end", || (shuttle.stdout().last()? == "end").then_some(()));
    gate.open();
    assert_eq!(shuttle.wait().code(), Some(3));
    let received = sink.received();
    // `end` is one of the ten.
    let expected: Vec<u64> = [0].into_iter().chain(992..=1000).collect();
    assert_eq!(numbers(&received), expected);
    let told = notices(&received);
    assert_eq!((told.len(), told_sum(&told, &[Code::L12])), (1, 991));
    conservation(0..1001, &numbers(&received), 991);
}
