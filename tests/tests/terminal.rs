//! `logplex tail` in a terminal: colours, and nothing that a hostile line could do to it.

use logplex_tests::{API_KEY, Server, Terminal, binary, encode};

/// A tail of channel `app` in a terminal.
fn tail(server: &Server, args: &str, env: &[(&str, &str)]) -> Terminal {
    let command = format!("'{}' tail app --url '{}' {args}", binary("logplex").display(), server.url(""));
    Terminal::start(&command, &[&[("LOGPLEX_API_KEY", API_KEY)], env].concat())
}

fn post(server: &Server, token: &str, text: &[u8]) {
    let message = [b"<190>1 2026-01-02T03:04:05+00:00 h app web.1 - - ".as_slice(), text].concat();
    assert_eq!(server.post_logs(token, &[], &encode(&message)).0, 204);
}

#[test]
fn control_characters_are_escaped() {
    let server = Server::start();
    let token = server.create_app("app");
    let hostile: [(&[u8], &str); 8] = [
        (b"red \x1b[31m", "red \\x1b[31m"),
        (b"clear \x1b[2J\x1b[H", "clear \\x1b[2J\\x1b[H"),
        (b"title \x1b]0;owned\x07", "title \\x1b]0;owned\\x07"),
        (b"back\x08\x08\x08\x08", "back\\x08\\x08\\x08\\x08"),
        (b"over\rwrite", "over\\rwrite"),
        (b"new\nline", "new\\nline"),
        ("c1 \u{9b}31m".as_bytes(), "c1 \\x9b31m"),
        (b"nul \x00 del \x7f", "nul \\x00 del \\x7f"),
    ];
    for (text, _) in hostile {
        post(&server, &token, text);
    }
    post(&server, &token, b"the end");
    let terminal = tail(&server, "", &[]);
    let screen = terminal.wait_screen("the end");
    for (text, shown) in hostile {
        let line = format!("2026-01-02T03:04:05+00:00 app[web.1]: {shown}\n");
        assert!(screen.contains(&line), "{text:?} is not {shown}: {screen}");
    }
}

#[test]
fn a_process_has_a_colour_unless_none_is_wanted() {
    let server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, b"hello");
    for (args, env, coloured) in [
        ("", &[][..], true),
        ("", &[("NO_COLOR", "")], true),
        ("", &[("NO_COLOR", "1")], false),
        ("| cat", &[], false),
        ("-o json", &[], false),
    ] {
        let terminal = tail(&server, args, env);
        terminal.wait_screen("hello");
        let seen = terminal.coloured();
        assert_eq!(seen.contains("\x1b["), coloured, "{args} {env:?}: {seen:?}");
    }
}

#[test]
fn bidirectional_text_cannot_reorder_a_line() {
    let server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, "safe \u{202e}desrever\u{2066}".as_bytes());
    let terminal = tail(&server, "", &[]);
    let screen = terminal.wait_screen("safe ");
    assert!(screen.contains("safe \\u{202e}desrever\\u{2066}\n"), "{screen:?}");
}

#[test]
fn json_is_as_harmless() {
    let server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, "safe \x1b[31m \u{9b}31m \x7f \u{202e}end".as_bytes());
    let screen = tail(&server, "-o json", &[]).wait_screen("end\"");
    assert!(screen.contains(r"safe \u001b[31m \u009b31m \u007f \u202eend"), "{screen:?}");
}

#[test]
fn a_broken_connection_is_one_dim_line() {
    let mut server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, b"before");
    let terminal = tail(&server, "", &[]);
    terminal.wait_screen("before");
    server.term();
    terminal.wait_screen("reconnecting");
    server.restart_same_port();
    post(&server, &token, b"behind");
    let screen = terminal.wait_screen("behind");
    let lines: Vec<&str> = screen.lines().filter(|line| !line.is_empty()).collect();
    assert!(
        matches!(lines.as_slice(), [_, said, _] if said.starts_with("logplex: ") && said.ends_with("; reconnecting")),
        "{screen}"
    );
    assert!(terminal.coloured().contains("\x1b[2mlogplex: "), "{:?}", terminal.coloured());
}

#[test]
fn ctrl_c_ends_it_quietly() {
    let server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, b"hello");
    let terminal = tail(&server, "", &[]);
    terminal.wait_screen("hello");
    terminal.press("C-c");
    let screen = terminal.wait_screen("exit 130");
    let lines: Vec<&str> = screen.lines().filter(|line| !line.is_empty()).collect();
    // The terminal itself echoes the key.
    assert!(
        matches!(lines.as_slice(), [line, end] if line.ends_with("hello") && end.ends_with("exit 130")),
        "{screen}"
    );
}
