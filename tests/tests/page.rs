//! The web page in a real browser against the real server: what it holds of a stream, and what it tells of the rest.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use logplex_tests::{Connection, Page, Relay, Server, padded_frames, wait_for};
use serde_json::json;

const CHANNEL: &str = "app";

/// So high a window that all lines of a small test are in the document.
const HIGH: (u32, u32) = (1280, 3000);

const ESCAPE: &str = "\u{e00c}";
const UP: &str = "\u{e013}";
const HOME: &str = "\u{e011}";
const END: &str = "\u{e010}";

/// Posts lines of 1 KB, 100 a request.
#[track_caller]
fn post_many(server: &Server, token: &str, lines: std::ops::Range<u64>) {
    let mut connection: Connection = server.connect();
    for first in lines.clone().step_by(100) {
        let body = padded_frames(first..lines.end.min(first + 100), 1000);
        server.post_logs_on(&mut connection, token, &[], &body).expect(&[204]);
    }
}

#[test]
fn lines_appear_and_filters_act_in_the_server() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    server.post_lines(&token, 0, 10);
    let page = Page::follow(&server.url(""));
    page.resize(HIGH.0, HIGH.1);
    page.wait_count("shown", 10);
    server.post_lines(&token, 10, 10);
    page.wait_count("shown", 20);
    assert_eq!(page.numbers(), (0..20).collect::<Vec<_>>());

    // Plain words, words of `logplex tail` with and without dashes, quotation marks.
    for (filter, expected) in [
        ("line 1", vec![1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
        ("--grep '^line 1[0-3]$' --exclude 2", vec![10, 11, 13]),
        ("source=app exclude=1 --ps=web -n 4", vec![6, 7, 8, 9]),
        ("source=nobody", vec![]),
        ("-p web -n 2", vec![18, 19]),
    ] {
        page.enter("#filter", filter);
        page.wait_text("#state", "following");
        wait_for(filter, || (page.numbers() == expected).then_some(()));
        assert_eq!(page.text("#filter-error"), "", "{filter}");
    }
    // What stands for itself stands out.
    page.enter("#filter", "line e");
    page.wait_true("document.querySelectorAll('#canvas mark').length >= 20");

    // The server filters: this tail was given one message of all that came.
    page.enter("#filter", "-n 0 --grep 'line 2[5]'");
    page.wait_count("received", 0);
    page.wait_text("#state", "following");
    let before = server.tails_ledger(CHANNEL).accepted;
    server.post_lines(&token, 20, 10);
    wait_for("line 25", || (page.numbers() == [25]).then_some(()));
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
        page.enter("#filter", filter);
        page.wait_text("#filter-error", expected);
        page.wait_true("document.getElementById('filter').ariaInvalid === 'true'");
    }
    server.post_lines(&token, 25, 1);
    wait_for("line 25 once more", || (page.numbers() == [25, 25]).then_some(()));
    // A request that the server refused is all that the browser has to complain of.
    let problems = page.problems();
    assert!(problems.iter().all(|problem| problem.contains("status of 400")), "{problems:?}");
}

#[test]
fn who_pauses_or_scrolls_back_misses_nothing() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    server.post_lines(&token, 0, 700);
    let page = Page::follow(&server.url(""));
    page.wait_count("shown", 200);

    // The list has the focus, and Space pauses.
    page.press(" ");
    page.wait_text("#pause", "Go on");
    page.wait_text("#state", "paused");
    server.post_lines(&token, 700, 30);
    page.wait_count("waiting", 30);
    assert_eq!((page.count("shown"), page.count("received")), (200, 230));
    page.wait_text("#newer", "30 new");
    assert_eq!(page.numbers().last(), Some(&699));
    page.press(" ");
    page.wait_count("shown", 230);
    wait_for("the newest", || (page.numbers().last() == Some(&729)).then_some(()));
    assert_eq!((page.count("waiting"), page.count("skipped")), (0, 0));

    // From line to line, which pauses, too; then to what was before, until there is no more.
    page.press(UP);
    page.wait_text("#pause", "Go on");
    server.post_lines(&token, 730, 5);
    page.wait_count("waiting", 5);
    for shown in [530, 730] {
        page.press(HOME);
        page.wait_true(
            "document.querySelector('#canvas [aria-rowindex=\"2\"][aria-selected=true]') !== null",
        );
        page.press(UP);
        page.wait_count("shown", shown);
    }
    page.press(HOME);
    page.wait_true("document.querySelector('#canvas [aria-rowindex=\"2\"][aria-selected=true]') !== null");
    page.press(UP);
    page.wait_text("#canvas", "The server keeps nothing before this");
    page.resize(1280, 15_500);
    wait_for("all", || (page.numbers() == (0..730).collect::<Vec<_>>()).then_some(()));
    page.resize(1280, 800);
    // To the newest, which is followed again.
    page.press(END);
    page.wait_count("shown", 735);
    wait_for("the newest", || (page.numbers().last() == Some(&734)).then_some(()));
    assert_eq!(page.problems(), [""; 0]);
}

#[test]
fn what_the_server_could_not_give_is_a_row_with_its_count() {
    let (server, relay, token, page) = Page::follow_over_relay(CHANNEL);
    page.wait_text("#chart-text", "0 messages/s · 0 dropped or lost/s");
    relay.hold();
    // Far more than the kernel takes for a reader that reads nothing, and its ring.
    const SENT: u64 = 15_000;
    post_many(&server, &token, 0..SENT);
    assert!(server.tails_ledger(CHANNEL).dropped("full") > 0, "the kernel took it all");
    relay.release();
    wait_for("the last line", || (page.numbers().last() == Some(&(SENT - 1))).then_some(()));
    let dropped = server.tails_ledger(CHANNEL).dropped("full");
    assert_eq!((page.count("dropped"), page.count("received")), (dropped, SENT - dropped));

    // Directly ahead of the first survivor: the ring held 1,024 messages behind it.
    let loss = "document.querySelector('#canvas .loss')";
    page.press(" ");
    let script = "const list = document.getElementById('list');
        list.scrollTop = list.scrollHeight - 1030 * 20 - list.clientHeight / 2;";
    page.run(script, Vec::new());
    page.wait_true(&format!("{loss} !== null"));
    let rows = page.rows();
    let at = rows.iter().position(|row| row.contains("dropped since")).expect("the loss");
    let written = page.written(dropped);
    let expected = format!("── {} messages dropped since ", written);
    assert!(rows[at].starts_with(&expected) && rows[at].ends_with("(L11) ──"), "{}", rows[at]);
    let number = |row: &str| -> u64 { row.split(' ').nth(1).expect("a number").parse().expect("a number") };
    assert_eq!(number(&rows[at - 1]) + dropped + 1, number(&rows[at + 1]));
    // The chart has it too, from the same ledger.
    page.wait_true("document.querySelector('#chart-picture .losses').getAttribute('d') !== ''");
    // It is explained like any code.
    page.click("#canvas .loss");
    page.wait_text("#explained", "What to check");
    assert!(page.text("#whole").contains(&format!("dropped {dropped} messages since")));
    assert_eq!(page.problems(), [""; 0]);
}

#[test]
fn a_flood_keeps_it_responsive_and_what_it_skips_is_counted() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    let page = Page::follow(&server.url(""));
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
        wait_for("some of it", || (page.count("received") > 1000).then_some(()));
        // In the middle of it keys and clicks are obeyed.
        page.press(" ");
        page.wait_text("#pause", "Go on");
        let shown = page.count("shown");
        page.click("#theme");
        page.press("?");
        page.wait_true("document.getElementById('help').open");
        page.press(ESCAPE);
        page.wait_true("!document.getElementById('help').open");
        wait_for("more than it keeps", || (page.count("received") > 25_000).then_some(()));
        assert_eq!(page.count("shown"), shown);
        enough.store(true, Ordering::Relaxed);
        flood.join().expect("all is sent");
    });
    let sent = sent.into_inner();
    wait_for("all of it", || (page.count("received") + page.count("dropped") == sent).then_some(()));
    let lost = server.tails_ledger(CHANNEL).dropped("full");
    assert_eq!(page.count("dropped"), lost);
    let balanced = || {
        let [received, shown, waiting, skipped] =
            ["received", "shown", "waiting", "skipped"].map(|name| page.count(name));
        assert_eq!(received, shown + waiting + skipped);
        assert!(shown <= 20_000 && waiting <= 20_000, "{shown} shown, {waiting} waiting");
        skipped
    };
    let while_paused = balanced();
    page.click("#pause");
    page.wait_count("waiting", 0);
    let skipped = balanced();
    assert!(skipped > 0 && skipped >= while_paused, "{skipped} skipped, {while_paused} of them in the pause");
    wait_for("the newest", || (page.numbers().last() == Some(&(sent - 1))).then_some(()));
    // The row above all lines tells of it.
    page.run("document.getElementById('list').focus()", Vec::new());
    page.press(HOME);
    let written = page.written(skipped);
    page.wait_text("#canvas", &format!("{} lines skipped here", written));
    // Of all these lines the document has but what is to be seen.
    let in_document = page.run("return document.querySelectorAll('#canvas [role=row]').length", Vec::new());
    assert!(in_document.as_u64() < Some(100), "{in_document}");
    assert_eq!(page.problems(), [""; 0]);
}

#[test]
fn whatever_comes_is_shown_waits_or_is_counted() {
    let server = Server::start();
    let page = Page::open(&server.url(""));
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
            balanced &&= lines.received === received && received === shown + waiting + skipped && lines.dropped === lost;
            balanced &&= shown === rows.filter((row) => row.kind === 'line').length;
            // What is told where it is missing is all that is missing, once nothing waits.
            balanced &&= waiting > 0 || (sum('skipped') === skipped && sum('dropped') + losses === lost);
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
    let seen = page.run(&format!("return (async () => {{ {script} }})()"), Vec::new());
    assert_eq!(seen, json!({ "bounded": true, "balanced": true, "skipped": true }));
}

#[test]
fn after_a_break_and_a_restart_nothing_is_missing_and_nothing_comes_twice() {
    let (mut server, relay, token, page) = Page::follow_over_relay(CHANNEL);
    page.resize(HIGH.0, HIGH.1);
    server.post_lines(&token, 0, 20);
    page.wait_count("shown", 20);

    // Away while lines come, then back.
    let nowhere = Relay::start();
    relay.forward_to(nowhere.address());
    relay.cut();
    page.wait_text("#state", "reconnecting");
    server.post_lines(&token, 20, 20);
    relay.forward_to(server.address());
    page.wait_text("#state", "following again");
    page.wait_count("shown", 40);

    // Lines between the loss of the connection and the end of the server, and ahead of the first attempt afterwards.
    relay.forward_to(nowhere.address());
    relay.cut();
    page.wait_text("#state", "reconnecting");
    server.post_lines(&token, 40, 5);
    server.term();
    server.restart();
    server.post_lines(&token, 45, 5);
    relay.forward_to(server.address());
    page.wait_text("#state", "following again");
    page.wait_count("shown", 50);

    // A restart that the page sees as it is.
    server.term();
    page.wait_text("#state", "reconnecting");
    server.restart();
    relay.forward_to(server.address());
    page.wait_text("#state", "following again");
    server.post_lines(&token, 50, 10);
    page.wait_count("shown", 60);
    assert_eq!(page.numbers(), (0..60).collect::<Vec<_>>());
    assert_eq!((page.count("received"), page.count("dropped")), (60, 0));

    // Who asked for no history and has seen no line is given what came meanwhile, and nothing older.
    page.enter("#filter", "-n 0");
    page.wait_count("received", 0);
    page.wait_text("#state", "following");
    relay.forward_to(nowhere.address());
    relay.cut();
    page.wait_text("#state", "reconnecting");
    server.post_lines(&token, 60, 5);
    relay.forward_to(server.address());
    page.wait_count("received", 5);
    assert_eq!(page.numbers(), (60..65).collect::<Vec<_>>());

    // Away for longer than the history reaches: 1,500 messages are there, and the page is told how many are not.
    relay.forward_to(nowhere.address());
    relay.cut();
    page.wait_text("#state", "reconnecting");
    server.post_batches(&token, 65..2065, 500);
    relay.forward_to(server.address());
    page.wait_count("received", 1505);
    assert_eq!(page.count("dropped"), 500);
}
