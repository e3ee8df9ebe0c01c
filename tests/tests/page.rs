//! The web page, in a real browser against the real server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use logplex_tests::{
    API_KEY, Answer, Browser, Connection, Relay, Server, Sink, basic, encode, padded_frames, wait_for,
};
use serde_json::{Value, json};

const CHANNEL: &str = "app";

/// So high a window that all lines of a small test are in the document.
const HIGH: (u32, u32) = (1280, 3000);

const ESCAPE: &str = "\u{e00c}";
const ENTER: &str = "\u{e007}";
const UP: &str = "\u{e013}";
const HOME: &str = "\u{e011}";
const END: &str = "\u{e010}";

/// Someone who has logged in at this address and follows the channel.
#[track_caller]
fn reader_at(address: &str) -> Browser {
    let browser = Browser::start();
    browser.go(address);
    browser.enter("#key", API_KEY);
    browser.wait_text("#state", "following");
    browser
}

#[track_caller]
fn reader(server: &Server) -> Browser {
    reader_at(&server.url(""))
}

/// One of the counts at the foot of the page: received, shown, waiting, skipped or lost.
#[track_caller]
fn count(browser: &Browser, name: &str) -> u64 {
    let text = browser.run("return document.getElementById(arguments[0]).textContent", vec![json!(name)]);
    text.as_str().expect("a text").replace(',', "").parse().expect("a number")
}

#[track_caller]
fn wait_count(browser: &Browser, name: &str, expected: u64) {
    wait_for(&format!("{expected} {name}"), || (count(browser, name) == expected).then_some(()));
}

/// The texts of the rows in the document, from the top; the first is of the row above all lines.
fn rows(browser: &Browser) -> Vec<String> {
    let script = "
        const rows = [...document.querySelectorAll('#canvas [role=row]:not([hidden])')];
        rows.sort((one, other) => one.ariaRowIndex - other.ariaRowIndex);
        return rows.map((row) => row.querySelector('.text').textContent);";
    let rows = browser.run(script, Vec::new());
    rows.as_array().expect("a list").iter().map(|row| row.as_str().expect("a text").to_owned()).collect()
}

/// The numbers of the numbered lines among the rows.
fn numbers(browser: &Browser) -> Vec<u64> {
    let number = |row: &String| row.strip_prefix("line ")?.split(' ').next()?.parse().ok();
    rows(browser).iter().filter_map(number).collect()
}

/// Posts one message.
#[track_caller]
fn post(server: &Server, token: &str, message: &str) {
    assert_eq!(server.post_logs(token, &[], &encode(message.as_bytes())).0, 204);
}

/// Posts lines of 1 KB, 100 a request.
#[track_caller]
fn post_many(server: &Server, token: &str, lines: std::ops::Range<u64>) {
    let mut connection: Connection = server.connect();
    let authorization = basic("token", token);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/logplex-1")];
    for first in lines.clone().step_by(100) {
        let body = padded_frames(first..lines.end.min(first + 100), 1000);
        connection.request("POST", "/logs", &headers, &body).expect("an answer").expect(&[204]);
    }
}

// === Lines ===

#[test]
fn lines_appear_and_filters_act_in_the_server() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    server.post_lines(&token, 0, 10);
    let browser = reader(&server);
    browser.resize(HIGH.0, HIGH.1);
    wait_count(&browser, "shown", 10);
    server.post_lines(&token, 10, 10);
    wait_count(&browser, "shown", 20);
    assert_eq!(numbers(&browser), (0..20).collect::<Vec<_>>());

    // Plain words, words of `logplex tail` with and without dashes, quotation marks.
    for (filter, expected) in [
        ("line 1", vec![1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
        ("--grep '^line 1[0-3]$' --exclude 2", vec![10, 11, 13]),
        ("source=app exclude=1 --ps=web -n 4", vec![6, 7, 8, 9]),
        ("source=nobody", vec![]),
        ("-p web -n 2", vec![18, 19]),
    ] {
        browser.enter("#filter", filter);
        browser.wait_text("#state", "following");
        wait_for(filter, || (numbers(&browser) == expected).then_some(()));
        assert_eq!(browser.text("#filter-error"), "", "{filter}");
    }
    // What stands for itself stands out.
    browser.enter("#filter", "line e");
    browser.wait_true("document.querySelectorAll('#canvas mark').length >= 20");

    // The server filters: this tail was given one message of all that came.
    browser.enter("#filter", "-n 0 --grep 'line 2[5]'");
    wait_count(&browser, "received", 0);
    browser.wait_text("#state", "following");
    let before = server.tails_ledger(CHANNEL).accepted;
    server.post_lines(&token, 20, 10);
    wait_for("line 25", || (numbers(&browser) == [25]).then_some(()));
    assert_eq!(server.tails_ledger(CHANNEL).accepted, before + 1);

    // What is wrong is said, by the page or by the server, and what was followed is followed on.
    for (filter, expected) in [
        ("--sorce app", "did you mean --source?"),
        ("--level", "--level needs a value"),
        ("--level loud", "'min_severity' must be emerg"),
        ("--num many", "--num takes a number of lines, 0 to 1500"),
        ("--grep '(' ", "not a regular expression"),
        ("'line", "a quotation mark is not closed"),
        ("--since yesterday", "'since' must be a time"),
    ] {
        browser.enter("#filter", filter);
        browser.wait_text("#filter-error", expected);
        browser.wait_true("document.getElementById('filter').ariaInvalid === 'true'");
    }
    server.post_lines(&token, 25, 1);
    wait_for("line 25 once more", || (numbers(&browser) == [25, 25]).then_some(()));
    // A request that the server refused is all that the browser has to complain of.
    let problems = browser.problems();
    assert!(problems.iter().all(|problem| problem.contains("status of 400")), "{problems:?}");
}

#[test]
fn who_pauses_or_scrolls_back_misses_nothing() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    server.post_lines(&token, 0, 700);
    let browser = reader(&server);
    wait_count(&browser, "shown", 200);

    // The list has the focus, and Space pauses.
    browser.press(" ");
    browser.wait_text("#pause", "Go on");
    browser.wait_text("#state", "paused");
    server.post_lines(&token, 700, 30);
    wait_count(&browser, "waiting", 30);
    assert_eq!((count(&browser, "shown"), count(&browser, "received")), (200, 230));
    browser.wait_text("#newer", "30 new");
    assert_eq!(numbers(&browser).last(), Some(&699));
    browser.press(" ");
    wait_count(&browser, "shown", 230);
    wait_for("the newest", || (numbers(&browser).last() == Some(&729)).then_some(()));
    assert_eq!((count(&browser, "waiting"), count(&browser, "skipped")), (0, 0));

    // From line to line, which pauses, too; then to what was before, until there is no more.
    browser.press(UP);
    browser.wait_text("#pause", "Go on");
    server.post_lines(&token, 730, 5);
    wait_count(&browser, "waiting", 5);
    for shown in [530, 730] {
        browser.press(HOME);
        browser.wait_true(
            "document.querySelector('#canvas [aria-rowindex=\"2\"][aria-selected=true]') !== null",
        );
        browser.press(UP);
        wait_count(&browser, "shown", shown);
    }
    browser.press(HOME);
    browser.wait_true("document.querySelector('#canvas [aria-rowindex=\"2\"][aria-selected=true]') !== null");
    browser.press(UP);
    browser.wait_text("#canvas", "The server keeps nothing before this");
    browser.resize(1280, 15_500);
    wait_for("all", || (numbers(&browser) == (0..730).collect::<Vec<_>>()).then_some(()));
    browser.resize(1280, 800);
    // To the newest, which is followed again.
    browser.press(END);
    wait_count(&browser, "shown", 735);
    wait_for("the newest", || (numbers(&browser).last() == Some(&734)).then_some(()));
    assert_eq!(browser.problems(), [""; 0]);
}

#[test]
fn what_the_server_could_not_give_is_a_row_with_its_count() {
    let (server, relay) = (Server::start(), Relay::start());
    let token = server.create_app(CHANNEL);
    relay.forward_to(server.address());
    let browser = reader_at(&format!("http://{}/", relay.address()));
    browser.wait_text("#chart-text", "0 messages/s · 0 lost/s");
    relay.hold();
    // Far more than the kernel takes for a reader that reads nothing, and its ring.
    const SENT: u64 = 15_000;
    post_many(&server, &token, 0..SENT);
    assert!(server.tails_ledger(CHANNEL).dropped("full") > 0, "the kernel took it all");
    relay.release();
    wait_for("the last line", || (numbers(&browser).last() == Some(&(SENT - 1))).then_some(()));
    let dropped = server.tails_ledger(CHANNEL).dropped("full");
    assert_eq!((count(&browser, "lost"), count(&browser, "received")), (dropped, SENT - dropped));

    // Directly ahead of the first survivor: the ring held 1,024 messages behind it.
    let loss = "document.querySelector('#canvas .loss')";
    browser.press(" ");
    let script = "const list = document.getElementById('list');
        list.scrollTop = list.scrollHeight - 1030 * 20 - list.clientHeight / 2;";
    browser.run(script, Vec::new());
    browser.wait_true(&format!("{loss} !== null"));
    let rows = rows(&browser);
    let at = rows.iter().position(|row| row.contains("dropped since")).expect("the loss");
    let grouped = browser.run("return arguments[0].toLocaleString('en')", vec![json!(dropped)]);
    let expected = format!("── {} messages dropped since ", grouped.as_str().expect("a text"));
    assert!(rows[at].starts_with(&expected) && rows[at].ends_with("(L11) ──"), "{}", rows[at]);
    let number = |row: &str| -> u64 { row.split(' ').nth(1).expect("a number").parse().expect("a number") };
    assert_eq!(number(&rows[at - 1]) + dropped + 1, number(&rows[at + 1]));
    // The chart has it too, from the same ledger.
    browser.wait_true("document.querySelector('#chart-picture .losses').getAttribute('d') !== ''");
    // It is explained like any code.
    browser.click("#canvas .loss");
    browser.wait_text("#explained", "What to check");
    assert!(browser.text("#whole").contains(&format!("dropped {dropped} messages since")));
    assert_eq!(browser.problems(), [""; 0]);
}

#[test]
fn a_flood_keeps_it_responsive_and_what_it_skips_is_counted() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    let browser = reader(&server);
    /// More than is needed, however much of it the server cannot give to the page in time.
    const MOST: u64 = 300_000;
    let (sent, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut connection = server.connect();
            while !enough.load(Ordering::Relaxed) && sent.load(Ordering::Relaxed) < MOST {
                server.post_lines_on(&mut connection, &token, sent.load(Ordering::Relaxed), 500);
                sent.fetch_add(500, Ordering::Relaxed);
            }
        });
        wait_for("some of it", || (count(&browser, "received") > 1000).then_some(()));
        // In the middle of it keys and clicks are obeyed.
        browser.press(" ");
        browser.wait_text("#pause", "Go on");
        let shown = count(&browser, "shown");
        browser.click("#theme");
        browser.press("?");
        browser.wait_true("document.getElementById('help').open");
        browser.press(ESCAPE);
        browser.wait_true("!document.getElementById('help').open");
        wait_for("more than it keeps", || (count(&browser, "received") > 25_000).then_some(()));
        assert_eq!(count(&browser, "shown"), shown);
        enough.store(true, Ordering::Relaxed);
        flood.join().expect("all is sent");
    });
    let sent = sent.into_inner();
    wait_for("all of it", || (count(&browser, "received") + count(&browser, "lost") == sent).then_some(()));
    let lost = server.tails_ledger(CHANNEL).dropped("full");
    assert_eq!(count(&browser, "lost"), lost);
    let balanced = |browser: &Browser| {
        let [received, shown, waiting, skipped] =
            ["received", "shown", "waiting", "skipped"].map(|name| count(browser, name));
        assert_eq!(received, shown + waiting + skipped);
        assert!(shown <= 20_000 && waiting <= 20_000, "{shown} shown, {waiting} waiting");
        skipped
    };
    let while_paused = balanced(&browser);
    browser.click("#pause");
    wait_count(&browser, "waiting", 0);
    let skipped = balanced(&browser);
    assert!(skipped > 0 && skipped >= while_paused, "{skipped} skipped, {while_paused} of them in the pause");
    wait_for("the newest", || (numbers(&browser).last() == Some(&(sent - 1))).then_some(()));
    // The row above all lines tells of it.
    browser.run("document.getElementById('list').focus()", Vec::new());
    browser.press(HOME);
    let grouped = browser.run("return arguments[0].toLocaleString('en')", vec![json!(skipped)]);
    browser.wait_text("#canvas", &format!("{} lines skipped here", grouped.as_str().expect("a text")));
    // Of all these lines the document has but what is to be seen.
    let in_document =
        browser.run("return document.querySelectorAll('#canvas [role=row]').length", Vec::new());
    assert!(in_document.as_u64() < Some(100), "{in_document}");
    assert_eq!(browser.problems(), [""; 0]);
}

#[test]
fn whatever_comes_is_shown_waits_or_is_counted() {
    let server = Server::start();
    let browser = Browser::start();
    browser.go(&server.url(""));
    // The page's own part, under more than any server sends: pauses, losses, texts of all lengths, scrolling back.
    let script = "
        const { Lines, KEPT, KEPT_LENGTH } = await import('/page/lines.js');
        let seed = 7;
        const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
        const lines = new Lines();
        let [received, lost, bounded, balanced, mostSkipped] = [0, 0, true, true, 0];
        const check = () => {
            const { rows, shown, waiting, skipped, before } = lines;
            const told = [before, ...rows].filter((row) => row.kind === 'skip');
            const sum = (name) => told.reduce((sum, row) => sum + row[name], 0);
            const losses = rows.filter((row) => row.kind === 'loss').reduce((sum, row) => sum + row.dropped, 0);
            const length = rows.reduce((sum, row) => sum + (row.message?.length ?? 0), 0);
            bounded &&= rows.length <= KEPT && waiting <= KEPT && length <= KEPT_LENGTH;
            balanced &&= lines.received === received && received === shown + waiting + skipped && lines.lost === lost;
            balanced &&= shown === rows.filter((row) => row.kind === 'line').length;
            // What is told where it is missing is all that is missing, once nothing waits.
            balanced &&= waiting > 0 || (sum('skipped') === skipped && sum('lost') + losses === lost);
            mostSkipped = skipped;
        };
        for (let round = 0; round < 400; round++) {
            const rows = [];
            for (let count = random(3000); count > 0; count--) {
                const kind = random(500) === 0 ? 'loss' : 'line';
                const message = 'x'.repeat(random(100) === 0 ? random(65536) : random(200));
                const dropped = random(1000) + 1;
                rows.push(kind === 'loss' ? { kind, dropped, message } : { kind, message });
                if (kind === 'loss') lost += dropped; else received += 1;
            }
            if (random(20) === 0 && lines.hasRoom(rows.length)) lines.prepend(rows);
            else lines.take(rows);
            if (random(8) === 0) lines.release();
            check();
        }
        return { bounded, balanced, skipped: mostSkipped > 100000 };";
    let seen = browser.run(&format!("return (async () => {{ {script} }})()"), Vec::new());
    assert_eq!(seen, json!({ "bounded": true, "balanced": true, "skipped": true }));
}

#[test]
fn after_a_break_and_a_restart_nothing_is_missing_and_nothing_comes_twice() {
    let (mut server, relay) = (Server::start(), Relay::start());
    let token = server.create_app(CHANNEL);
    relay.forward_to(server.address());
    let browser = reader_at(&format!("http://{}/", relay.address()));
    browser.resize(HIGH.0, HIGH.1);
    server.post_lines(&token, 0, 20);
    wait_count(&browser, "shown", 20);

    // Away while lines come, then back.
    let nowhere = Relay::start();
    relay.forward_to(nowhere.address());
    relay.cut();
    browser.wait_text("#state", "reconnecting");
    server.post_lines(&token, 20, 20);
    relay.forward_to(server.address());
    browser.wait_text("#state", "following again");
    wait_count(&browser, "shown", 40);

    // Lines between the loss of the connection and the end of the server, and ahead of the first attempt afterwards.
    relay.forward_to(nowhere.address());
    relay.cut();
    browser.wait_text("#state", "reconnecting");
    server.post_lines(&token, 40, 5);
    server.term();
    server.restart();
    server.post_lines(&token, 45, 5);
    relay.forward_to(server.address());
    browser.wait_text("#state", "following again");
    wait_count(&browser, "shown", 50);

    // A restart that the page sees as it is.
    server.term();
    browser.wait_text("#state", "reconnecting");
    server.restart();
    relay.forward_to(server.address());
    browser.wait_text("#state", "following again");
    server.post_lines(&token, 50, 10);
    wait_count(&browser, "shown", 60);
    assert_eq!(numbers(&browser), (0..60).collect::<Vec<_>>());
    assert_eq!((count(&browser, "received"), count(&browser, "lost")), (60, 0));

    // Who asked for no history and has seen no line is given what came meanwhile, and nothing older.
    browser.enter("#filter", "-n 0");
    wait_count(&browser, "received", 0);
    browser.wait_text("#state", "following");
    relay.forward_to(nowhere.address());
    relay.cut();
    browser.wait_text("#state", "reconnecting");
    server.post_lines(&token, 60, 5);
    relay.forward_to(server.address());
    wait_count(&browser, "received", 5);
    assert_eq!(numbers(&browser), (60..65).collect::<Vec<_>>());

    // Away for longer than the history reaches: 1,500 messages are there, and the page is told how many are not.
    relay.forward_to(nowhere.address());
    relay.cut();
    browser.wait_text("#state", "reconnecting");
    server.post_batches(&token, 65..2065, 500);
    relay.forward_to(server.address());
    wait_count(&browser, "received", 1505);
    assert_eq!(count(&browser, "lost"), 500);
}

// === Codes and hostile lines ===

#[test]
fn a_code_is_explained_in_the_servers_words() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    let browser = reader(&server);
    server.post_lines(&token, 0, 3);
    let time = "2026-01-02T03:04:05+00:00";
    let line = "at=error code=H12 desc=\"Request timeout\" status=503";
    post(&server, &token, &format!("<158>1 {time} h heroku router - - {line}"));
    post(&server, &token, &format!("<158>1 {time} h app web.1 - - an app may say code=H13 as it likes"));
    wait_count(&browser, "shown", 5);
    browser.wait_true("document.querySelectorAll('.row .badge:not([hidden])').length === 1");

    let known = server.api("GET", "/v3/codes/H12", None).expect(&[200]).json();
    let without_marks = |text: &Value| text.as_str().expect("a text").replace('`', "");
    let check = |browser: &Browser| {
        let told = browser.wait_text("#explained", "What to check");
        assert!(told.contains(&without_marks(&known["meaning"])), "{told}");
        for step in known["checks"].as_array().expect("a list") {
            assert!(told.contains(&without_marks(step)), "{step}: {told}");
        }
        assert!(told.contains("logplex tail app --source heroku"), "{told}");
        assert_eq!(browser.text("#whole"), line);
    };
    browser.click(".row .badge:not([hidden])");
    check(&browser);
    let focused = "document.activeElement.id";
    assert_eq!(browser.run(&format!("return {focused}"), Vec::new()), "details");
    browser.press(ESCAPE);
    browser.wait_true("document.getElementById('details').hidden && document.activeElement.id === 'list'");
    // By keyboard: to the last line, which has no code, to the one above it, and into that.
    browser.press(END);
    browser.press(&format!("{UP}{UP}{ENTER}"));
    check(&browser);
    assert_eq!(browser.problems(), [""; 0]);
}

#[test]
fn the_filters_words_are_those_of_the_command() {
    let server = Server::start();
    let browser = Browser::start();
    browser.go(&server.url(""));
    let parse = |text: &str| {
        let script = "return (async () => {
            const { parse } = await import('/page/filter.js');
            try { return parse(arguments[0]).members; } catch (problem) { return problem.message; }
        })()";
        browser.run(script.replace("arguments[0]", &json!(text).to_string()).as_str(), Vec::new())
    };
    let all = "-s app --source=api ps=web -p worker.1 --exclude-source heroku exclude-ps=web.2 -g a+ b -e c \
               --level warn --code H12,R* --since 15m --until 2026-07-02T06:00:00+02:00 -n 7";
    assert_eq!(
        parse(all),
        json!({
            "sources": ["app", "api"], "processes": ["web", "worker.1"], "exclude_sources": ["heroku"],
            "exclude_processes": ["web.2"], "grep": ["a+", "b"], "exclude": ["c"], "min_severity": "warn",
            "code": "H12,R*", "since": "15m", "until": "2026-07-02T06:00:00+02:00", "num": 7,
        })
    );
    for (text, members) in [
        ("", json!({ "num": 200 })),
        ("--since 1h", json!({ "since": "1h", "num": 1500 })),
        // An expression may hold what looks like an option, blanks and quotation marks.
        (r"status=5\d\d", json!({ "grep": [r"status=5\d\d"], "num": 200 })),
        (r#"'two words' grep="it's" don't"#, json!({ "grep": ["two words", "it's", "don't"], "num": 200 })),
        ("'--source' \"source=x\"", json!({ "grep": ["--source", "source=x"], "num": 200 })),
        ("exclude=a=b", json!({ "exclude": ["a=b"], "num": 200 })),
    ] {
        assert_eq!(parse(text), members, "{text}");
    }
    for (text, part) in [
        ("--constructor x", "--constructor is not known"),
        ("-x", "-x is not known"),
        ("--levle info", "did you mean --level?"),
        ("--level info --level err", "--level is given twice"),
        ("--no-follow", "Space pauses it"),
        ("source=", "--source needs a value"),
        ("-n 1501", "0 to 1500"),
    ] {
        assert!(parse(text).as_str().is_some_and(|told| told.contains(part)), "{text}: {}", parse(text));
    }
}

#[test]
fn a_hostile_line_is_only_text() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    let browser = reader(&server);
    browser.run("window.owned = false; window.title = document.title", Vec::new());
    let markup = "<img src=x onerror=\"window.owned=true\"><script>window.owned=true</script><b>bold</b>&lt;";
    let time = "2026-01-02T03:04:05+00:00";
    post(&server, &token, &format!("<13>1 {time} h <b>app</b> <i>web</i> - - {markup}"));
    post(
        &server,
        &token,
        &format!("<13>1 {time} h app web.1 - - one\n{time} heroku[router]: forged\r\x1b[2J\u{202e}txet"),
    );
    post(&server, &token, &format!("<158>1 {time} h heroku router - - at=error code=H12 desc=\"{markup}\""));
    wait_count(&browser, "shown", 3);
    let shown = rows(&browser);
    assert_eq!(shown[1], markup);
    assert_eq!(shown[2], format!("one\\n{time} heroku[router]: forged\\r\\x1b[2J\\u{{202e}}txet"));
    let processes = browser.run(
        "return [...document.querySelectorAll('#canvas .process')].map((cell) => cell.textContent)",
        Vec::new(),
    );
    assert!(processes.as_array().expect("a list").contains(&json!("<b>app</b>[<i>web</i>]")), "{processes}");
    for row in 0..2 {
        browser.run("document.querySelectorAll('#canvas .line')[arguments[0]].click()", vec![json!(row)]);
        browser.wait_true("document.getElementById('whole') !== null");
    }
    let elements = "document.querySelectorAll('#canvas img, #canvas script, #canvas b, #details img, #details b').length";
    assert_eq!(browser.run(&format!("return {elements}"), Vec::new()), 0);
    // Nor could our own scripts make markup of it, or anything else run.
    let refused = "
        try { document.body.innerHTML = '<b>x</b>'; return 'taken'; } catch (problem) { return problem.name; }";
    assert_eq!(browser.run(refused, Vec::new()), "TypeError");
    assert_eq!(
        browser.run("return window.owned === false && document.title === window.title", Vec::new()),
        true
    );
}

// === Drains ===

#[test]
fn drains_show_how_they_fare_and_are_tested() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app(CHANNEL);
    server.add_drain(CHANNEL, &sink.url("p4th?code=qu3ry").replace("://", "://us3r:p4ss@"));
    let broken = server.add_drain(CHANNEL, "http://127.0.0.1:9/s3cret");
    sink.answer(Answer::status(204));
    server.post_lines(&token, 0, 5);
    sink.wait_line(4);
    server.wait_drain_state(CHANNEL, &broken, "retrying");
    let browser = reader(&server);
    browser.press("d");
    let told = browser.wait_text("#drains", "retrying");
    for part in
        [&format!("http://{}", sink.address()), "idle", "http://127.0.0.1:9", "no connection: cannot connect"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Not while it is being tried.
    browser.wait_text(".drain:nth-child(2)", "next try");
    let fact = |drain: usize, name: &str| {
        let script = "const card = document.querySelectorAll('.drain')[arguments[0]];
            return card.querySelector(`.facts .${arguments[1]} dd`).textContent;";
        let told = browser.run(script, vec![json!(drain), json!(name)]);
        told.as_str().expect("a text").to_owned()
    };
    assert_eq!(
        (fact(0, "delivered").as_str(), fact(0, "held").as_str(), fact(0, "lost").as_str()),
        ("5", "0", "0")
    );
    assert!(fact(1, "held").starts_with("5, the oldest for "), "{}", fact(1, "held"));
    let requests = sink.requests().len();
    browser.click(".drain:nth-child(1) button");
    browser.wait_text(".drain:nth-child(1) .report", "The line arrived.");
    assert_eq!(sink.requests().len(), requests + 1);
    browser.click(".drain:nth-child(2) button");
    browser.wait_text(".drain:nth-child(2) .report", "The line did not arrive.");
    // The status is brought up to date while it is looked at.
    server.post_lines(&token, 5, 2);
    wait_for("2 more", || (fact(0, "delivered") == "7").then_some(()));
    let page = browser.run("return document.documentElement.outerHTML", Vec::new());
    for secret in ["us3r", "p4ss", "p4th", "qu3ry", "s3cret"] {
        assert!(!page.as_str().expect("a text").contains(secret), "{secret}");
    }
    browser.press(ESCAPE);
    browser.wait_true("!document.getElementById('drains').open");
    // The same numbers as a picture, in words.
    browser.wait_text("#chart-text", "messages/s");
    browser
        .wait_true("document.getElementById('chart-picture').ariaLabel.includes('in the last two minutes')");
    assert_eq!(browser.problems(), [""; 0]);
}

// === Who reads, and how ===

#[test]
fn the_key_stays_in_its_tab_and_out_of_every_address() {
    let server = Server::start();
    server.create_app(CHANNEL);
    server.create_app("billing");
    let browser = Browser::start();
    browser.go(&server.url(""));
    browser.enter("#key", "not-a-key");
    browser.wait_text("#login-error", "not a key of this server");
    browser.enter("#key", API_KEY);
    browser.wait_text("#state", "following");
    browser.run(
        "const channel = document.getElementById('channel');
         channel.value = 'billing'; channel.dispatchEvent(new Event('change'))",
        Vec::new(),
    );
    browser.enter("#filter", "--level warning");
    browser.wait_true("sessionStorage.getItem('filter') === '--level warning'");
    browser.wait_text("#state", "following");
    let clean = |browser: &Browser| {
        assert_eq!(browser.address(), server.url(""));
        let asked =
            browser.run("return performance.getEntriesByType('resource').map((one) => one.name)", Vec::new());
        let asked = asked.as_array().expect("a list").clone();
        assert!(
            asked.iter().all(|url| url.as_str().is_some_and(|url| url.starts_with(&server.url("")))),
            "{asked:?}"
        );
        assert!(!json!(asked).to_string().contains(API_KEY));
        assert_eq!(browser.run("return localStorage.length + document.cookie.length", Vec::new()), 0);
    };
    clean(&browser);
    // A tab that is loaded again goes on where it was.
    browser.reload();
    browser.wait_text("#state", "following");
    let followed =
        "return [document.getElementById('channel').value, document.getElementById('filter').value]";
    assert_eq!(browser.run(followed, Vec::new()), json!(["billing", "--level warning"]));
    clean(&browser);
    browser.click("#log-out");
    browser.wait_true("document.activeElement.id === 'key'");
    assert_eq!(browser.run("return sessionStorage.length", Vec::new()), 0);
    browser.reload();
    browser.wait_true("!document.getElementById('login').hidden");
}

#[test]
fn it_can_be_read_and_used_by_everyone() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app(CHANNEL);
    server.add_drain(CHANNEL, &sink.url(""));
    let browser = Browser::start();
    browser.go(&server.url(""));
    assert_named(&browser);
    browser.enter("#key", API_KEY);
    browser.wait_text("#state", "following");
    server.post_lines(&token, 0, 50);
    wait_count(&browser, "shown", 50);
    for dark in [false, true] {
        browser.set_dark(dark);
        assert_contrast(&browser);
    }
    // The button goes over the system, and is remembered.
    browser.click("#theme");
    browser.wait_true("document.documentElement.dataset.theme === 'light'");
    browser.reload();
    browser.wait_true("document.documentElement.dataset.theme === 'light'");
    assert_contrast(&browser);
    wait_count(&browser, "shown", 50);

    // A list for who does not see it: its length, the place in it, and no flood of announcements.
    let list = "document.getElementById('list')";
    browser.press(UP);
    browser.wait_true(&format!("{list}.ariaRowCount === '51' && {list}.ariaLive === 'off'"));
    browser.wait_true(&format!(
        "document.getElementById({list}.getAttribute('aria-activedescendant')).ariaSelected === 'true'"
    ));
    assert_eq!(browser.run("return document.getElementById('state').role", Vec::new()), "status");
    assert_named(&browser);

    // All that can be pressed can be reached, and shows that it was.
    let reached = tab_through(&browser);
    for wanted in ["channel", "open-drains", "theme", "open-help", "log-out", "filter", "pause", "list"] {
        assert!(reached.iter().any(|id| id == wanted), "{wanted}: {reached:?}");
    }
    for (key, dialog) in [("?", "help"), ("d", "drains")] {
        browser.run(&format!("{list}.focus()"), Vec::new());
        browser.press(key);
        browser.wait_true(&format!("document.getElementById('{dialog}').open"));
        browser.wait_true(&format!("document.getElementById('{dialog}').contains(document.activeElement)"));
        assert_named(&browser);
        browser.press(ESCAPE);
        browser.wait_true(&format!(
            "!document.getElementById('{dialog}').open && document.activeElement === {list}"
        ));
    }
    browser.press("/");
    browser.wait_true("document.activeElement.id === 'filter'");
    browser.press(ESCAPE);
    browser.wait_true(&format!("document.activeElement === {list}"));

    // On a phone nothing is cut off, and the lines have most of the room.
    browser.resize(390, 844);
    browser.wait_true("document.documentElement.scrollWidth <= 390");
    browser.wait_true(&format!("{list}.clientHeight > 844 * 0.6"));
    let outside = "
        return [...document.querySelectorAll('#app > * button, #app > * input, #app > * select')]
            .filter((one) => one.checkVisibility())
            .map((one) => one.getBoundingClientRect())
            .filter((box) => box.left < 0 || box.right > innerWidth || box.height < 24).length";
    assert_eq!(browser.run(outside, Vec::new()), 0);
    assert_eq!(browser.problems(), [""; 0]);
}

/// The ids of what the Tab key leads to from the beginning, each with a visible outline.
#[track_caller]
fn tab_through(browser: &Browser) -> Vec<String> {
    browser.run("document.activeElement.blur()", Vec::new());
    let mut reached: Vec<String> = Vec::new();
    for _ in 0..12 {
        browser.press("\u{e004}");
        let seen = browser.run(
            "const one = document.activeElement; const style = getComputedStyle(one);
             return [one.id, one === document.body || parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== 'none']",
            Vec::new(),
        );
        let id = seen[0].as_str().expect("an id").to_owned();
        assert_eq!(seen[1], true, "{id} has the focus and does not show it");
        reached.push(id);
    }
    reached
}

/// What can be used has a name, as the browser tells it to a screen reader.
#[track_caller]
fn assert_named(browser: &Browser) {
    const USED: [&str; 7] = ["button", "textbox", "combobox", "grid", "dialog", "image", "complementary"];
    let tree = browser.devtools("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().expect("nodes");
    let used = nodes.iter().filter(|node| {
        node["ignored"] == false && node["role"]["value"].as_str().is_some_and(|role| USED.contains(&role))
    });
    let mut found = 0;
    for node in used {
        found += 1;
        assert!(node["name"]["value"].as_str().is_some_and(|name| !name.is_empty()), "{node}");
    }
    assert!(found > 0, "nothing to use: {tree}");
}

/// WCAG 2.1, 1.4.3 and 1.4.11, for each pair of colours that meet in the page.
#[track_caller]
fn assert_contrast(browser: &Browser) {
    let script = "
        const probe = document.createElement('i');
        document.body.append(probe);
        const luminance = (name) => {
            probe.style.color = `var(--${name})`;
            const channels = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map((c) => c / 255);
            const [r, g, b] = channels.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const contrast = (one, other) => {
            const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
            return (light + 0.05) / (dark + 0.05);
        };
        const texts = ['text', 'quiet', 'error', 'warning', 'fine', 'p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'p7'];
        const grounds = ['ground', 'raised', 'chosen', 'loss'];
        const pairs = texts.flatMap((text) => grounds.map((ground) => [text, ground, 4.5]));
        pairs.push(['on-action', 'action', 4.5], ['on-mark', 'mark', 4.5]);
        pairs.push(['focus', 'ground', 3], ['focus', 'raised', 3]);
        const low = pairs.filter(([one, other, least]) => !(contrast(one, other) >= least));
        const told = low.map(([one, other]) => `${one} on ${other}: ${contrast(one, other).toFixed(2)}`);
        probe.remove();
        return told;";
    assert_eq!(browser.run(script, Vec::new()), json!([]));
}
