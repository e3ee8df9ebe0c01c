//! Two servers in a row: what enters the first leaves the second, byte for byte.

use std::fs;

use logplex_tests::{Drain, Nginx, Server, Sink, encode};

/// The first server drains into the second, and both into sinks.
struct Chain {
    first: Server,
    second: Server,
    token: String,
    link: Drain,
    ends: [Drain; 2],
    sinks: [Sink; 2],
    _nginx: Option<Nginx>,
}

impl Chain {
    /// All drains send in the form that `option` says; `tls` puts nginx ahead of the second server.
    fn start(option: &str, sinks: [Sink; 2], tls: bool) -> Chain {
        let second = Server::start();
        let second_token = second.create_app("second");
        let nginx = tls.then(|| Nginx::start(second.address(), "client_max_body_size 8m;"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (first, link) = match &nginx {
            None => (Server::start(), second.logs_url(&second_token)),
            Some(nginx) => {
                let bundle = folder.path().join("ca.pem");
                fs::write(&bundle, nginx.certificate()).expect("the folder is ours");
                let trusted = format!("front={}", bundle.display());
                let first = Server::options().args(&["--drain-ca", &trusted]).start();
                (first, nginx.url("logs").replace("://", &format!("://token:{second_token}@")))
            }
        };
        let token = first.create_app("first");
        let join = |url: &str, more: &str| match format!("{option}&{more}").trim_matches('&') {
            "" => url.to_owned(),
            options => format!("{url}#{options}"),
        };
        let link = first.add_drain("first", &join(&link, if tls { "ca=front" } else { "" }));
        let ends = [
            first.add_drain("first", &join(&sinks[0].url(""), "")),
            second.add_drain("second", &join(&sinks[1].url(""), "")),
        ];
        Chain { first, second, token, link, ends, sinks, _nginx: nginx }
    }

    /// Posts messages, a request each, and returns what left the two servers, without octet counts.
    #[track_caller]
    fn through(&self, messages: &[Vec<u8>]) -> [Vec<Vec<u8>>; 2] {
        for message in messages {
            assert_eq!(self.first.post_logs(&self.token, &[], &encode(message)).0, 204);
        }
        let left = |sink: &Sink| {
            sink.wait_received("all messages", |received| {
                (received.len() >= messages.len())
                    .then(|| received.iter().map(|message| message.raw.clone()).collect())
            })
        };
        [left(&self.sinks[0]), left(&self.sinks[1])]
    }

    #[track_caller]
    fn rested(&self, messages: u64) {
        for (server, channel, drain) in [
            (&self.first, "first", &self.link),
            (&self.first, "first", &self.ends[0]),
            (&self.second, "second", &self.ends[1]),
        ] {
            let ledger = server.rested(channel, drain);
            assert_eq!(
                (ledger.accepted, ledger.delivered, ledger.gone()),
                (messages, messages, 0),
                "{channel}"
            );
        }
    }
}

const TIME: &str = "2026-01-02T03:04:05.678901+00:00";

/// A strict message whose HOST, APP-NAME and what follows PROCID are given.
fn message(host: &str, app: &str, rest: &[u8]) -> Vec<u8> {
    [format!("<190>1 {TIME} {host} {app} web.1 ").as_bytes(), rest].concat()
}

/// Messages that are easily read as something else than they are, from `host`.
fn odd(host: &str) -> Vec<Vec<u8>> {
    let data = br#"[a@1 b="c]\"" d="\\"][e@2 f="g"]"#;
    let mut odd = vec![
        message(host, "app", b"- - plain"),
        message(host, "app", b"ID47 - with an id"),
        message(host, "app", &[b"- ", &data[..], b" with structured data"].concat()),
        message(host, "app", &[b"ID47 ", &data[..], b" with both"].concat()),
        message(host, "app", &[b"- ", &data[..]].concat()),
        message(host, "app", b"- - [INFO] looks like data"),
        message(host, "app", b"- - [x y=\"z\"] looks more like data"),
        message(host, "app", b"- - - a dash"),
        message(host, "app", b"- -  a space ahead"),
        message(host, "app", b"- - "),
        message(host, "app", b"- -"),
        message(host, "app", b"- - two\nlines\n"),
        message(host, "app", b"- - \n\n"),
        message(host, "app", b"- - 7 <13>1 - a frame inside"),
        message(host, "app", b"- - carriage\r\nreturn\r\n"),
        message(host, "app", b"- - no text: \xff\xfe\x00\x80\xc3"),
        message(host, "app", "- - \u{feff}\u{202e}signs \u{1f600}".as_bytes()),
        message(host, "token", b"- - from the literal"),
    ];
    let mut large = message(host, "app", b"- - ");
    large.resize(64 * 1024, b'x');
    odd.push(large);
    odd
}

/// Everything odd, from two hosts, through a chain. `strict` if the form keeps host, MSGID and structured data: then
/// what was posted comes out, but for an APP-NAME that stands for the token, and an absent text's space.
#[track_caller]
fn check(option: &str, sinks: [Sink; 2], tls: bool, strict: bool) {
    let chain = Chain::start(option, sinks, tls);
    // The literal host is what an http drain writes, and by which its form may be told.
    let own_token = message("web-7", &chain.token, b"- - from the token");
    // From `host` the first door takes this for a text, as it does with the original's bodies.
    let flag = message("web-7", "app", b"- [flag@1] data without parameters");
    let messages = [odd("host"), odd("web-7"), vec![own_token, flag]].concat();
    let [first, second] = chain.through(&messages);
    for ((posted, first), second) in messages.iter().zip(&first).zip(&second) {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        assert_eq!(shown(second), shown(first), "posted {:?}", shown(posted));
        assert_eq!(second, first);
        if strict {
            let mut expected = shown(posted).replace(" token ", " app ").replace(&chain.token, "app");
            if posted.ends_with(b"- -") || posted.ends_with(b"]") {
                expected.push(' ');
            }
            assert_eq!(shown(second).trim_end_matches('x'), expected.trim_end_matches('x'));
        }
    }
    assert_eq!((first.len(), second.len()), (messages.len(), messages.len()));
    chain.rested(messages.len() as u64);
}

#[test]
fn everything_passes_through_two_servers_in_the_originals_form() {
    check("", [Sink::start(), Sink::start()], false, false);
}

#[test]
fn everything_passes_through_two_servers_in_the_strict_form() {
    check("format=rfc5424", [Sink::strict(), Sink::strict()], false, true);
}

#[test]
fn everything_passes_under_tls_and_packed() {
    check("gzip", [Sink::start(), Sink::start()], true, false);
}
