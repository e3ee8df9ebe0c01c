//! The web page in a real browser against the real server: what it explains, how it is used, and what it gives away.

use logplex_tests::{API_KEY, Answer, Page, Server, Sink, encode, wait_for};
use serde_json::{Value, json};

const CHANNEL: &str = "app";

const ESCAPE: &str = "\u{e00c}";
const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";
const UP: &str = "\u{e013}";
const END: &str = "\u{e010}";

/// Posts one message.
#[track_caller]
fn post(server: &Server, token: &str, message: &str) {
    assert_eq!(server.post_logs(token, &[], &encode(message.as_bytes())).0, 204);
}

// === Codes and hostile lines ===

#[test]
fn a_code_is_explained_in_the_servers_words() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    let page = Page::follow(&server.url(""));
    server.post_lines(&token, 0, 3);
    let time = "2026-01-02T03:04:05+00:00";
    let line = "at=error code=H12 desc=\"Request timeout\" status=503";
    post(&server, &token, &format!("<158>1 {time} h heroku router - - {line}"));
    post(&server, &token, &format!("<158>1 {time} h app web.1 - - an app may say code=H13 as it likes"));
    page.wait_count("shown", 5);
    page.wait_true("document.querySelectorAll('.row .badge:not([hidden])').length === 1");

    let known = server.api("GET", "/v3/codes/H12", None).expect(&[200]).json();
    let without_marks = |text: &Value| text.as_str().expect("a text").replace('`', "");
    let check = || {
        let told = page.wait_text("#explained", "What to check");
        assert!(told.contains(&without_marks(&known["meaning"])), "{told}");
        for step in known["checks"].as_array().expect("a list") {
            assert!(told.contains(&without_marks(step)), "{step}: {told}");
        }
        assert!(told.contains("logplex tail app --source heroku"), "{told}");
        assert_eq!(page.text("#whole"), line);
    };
    page.click(".row .badge:not([hidden])");
    check();
    let focused = "document.activeElement.id";
    assert_eq!(page.run(&format!("return {focused}"), Vec::new()), "details");
    page.press(ESCAPE);
    page.wait_true("document.getElementById('details').hidden && document.activeElement.id === 'list'");
    // By keyboard: to the last line, which has no code, to the one above it, and into that.
    page.press(END);
    page.press(&format!("{UP}{UP}{ENTER}"));
    check();
    assert_eq!(page.problems(), [""; 0]);
}

#[test]
fn only_lines_with_these_codes_come_from_the_past_and_live() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    let page = Page::follow(&server.url(""));
    page.resize(1280, 3000);
    let time = "2026-01-02T03:04:05+00:00";
    let mut posted = 0;
    // One line of each code, between lines without any; an app's own word is none.
    let mut post_all = || {
        server.post_lines(&token, posted, 5);
        for code in ["H12", "H13"] {
            post(
                &server,
                &token,
                &format!("<158>1 {time} h heroku router - - at=error code={code} n={posted}"),
            );
        }
        post(&server, &token, &format!("<45>1 {time} h heroku web.1 - - Error R14 (Memory quota exceeded)"));
        post(&server, &token, &format!("<158>1 {time} h app web.1 - - at=error code=H12"));
        posted += 9;
        posted
    };
    page.wait_count("shown", post_all());
    let badges = || {
        let script = "return [...document.querySelectorAll('.row.line')].filter((row) => !row.hidden)
            .map((row) => row.querySelector('.badge:not([hidden])')?.textContent ?? 'none')";
        page.run(script, Vec::new())
    };
    for (rounds, (filter, each)) in (1..).zip([
        ("--code H12,R*", vec!["H12", "R14"]),
        ("code=h12", vec!["H12"]),
        ("--code H13 --code=r14", vec!["H13", "R14"]),
        ("--code *", vec!["H12", "H13", "R14"]),
        ("--code R* --source app", vec![]),
    ]) {
        page.enter("#filter", filter);
        page.wait_true(&format!("sessionStorage.getItem('filter') === {}", json!(filter)));
        page.wait_text("#state", "following");
        wait_for(filter, || (badges() == json!(each.repeat(rounds))).then_some(()));
        let before = server.tails_ledger(CHANNEL).accepted;
        post_all();
        wait_for(filter, || (badges() == json!(each.repeat(rounds + 1))).then_some(()));
        // The server filters: this reader was given these and nothing else.
        assert_eq!(server.tails_ledger(CHANNEL).accepted, before + each.len() as u64, "{filter}");
        assert_eq!(page.text("#filter-error"), "", "{filter}");
    }

    // What the server says of a code that nobody knows stands under the box, which is told to who does not see it.
    page.enter("#filter", "--code H121");
    page.wait_text("#filter-error", "unknown code \"H121\"; did you mean H12?");
    page.wait_true(
        "(() => {
            const [box, error] = ['filter', 'filter-error'].map((id) => document.getElementById(id));
            const below = error.getBoundingClientRect().top >= box.getBoundingClientRect().bottom;
            return below && box.ariaInvalid === 'true' && box.getAttribute('aria-describedby') === error.id;
        })()",
    );
}

#[test]
fn the_filters_words_are_those_of_the_command() {
    let server = Server::start();
    let page = Page::open(&server.url(""));
    let parse = |text: &str| {
        let script = "return (async () => {
            const { parse } = await import('/page/filter.js');
            try { return parse(arguments[0]).members; } catch (problem) { return problem.message; }
        })()";
        page.run(script.replace("arguments[0]", &json!(text).to_string()).as_str(), Vec::new())
    };
    let all = "-s app --source=api ps=web -p worker.1 --exclude-source heroku exclude-ps=web.2 -g a+ b -e c \
               --level warn --code H12,R* code=L10 --since 15m --until 2026-07-02T06:00:00+02:00 -n 7";
    assert_eq!(
        parse(all),
        json!({
            "sources": ["app", "api"], "processes": ["web", "worker.1"], "exclude_sources": ["heroku"],
            "exclude_processes": ["web.2"], "grep": ["a+", "b"], "exclude": ["c"], "min_severity": "warn",
            "code": ["H12,R*", "L10"], "since": "15m", "until": "2026-07-02T06:00:00+02:00", "num": 7,
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
    let page = Page::follow(&server.url(""));
    page.run("window.owned = false; window.title = document.title", Vec::new());
    let markup = "<img src=x onerror=\"window.owned=true\"><script>window.owned=true</script><b>bold</b>&lt;";
    let time = "2026-01-02T03:04:05+00:00";
    post(&server, &token, &format!("<13>1 {time} h <b>app</b> <i>web</i> - - {markup}"));
    post(
        &server,
        &token,
        &format!("<13>1 {time} h app web.1 - - one\n{time} heroku[router]: forged\r\x1b[2J\u{202e}txet"),
    );
    post(&server, &token, &format!("<158>1 {time} h heroku router - - at=error code=H12 desc=\"{markup}\""));
    page.wait_count("shown", 3);
    let shown = page.rows();
    assert_eq!(shown[1], markup);
    assert_eq!(shown[2], format!("one\\n{time} heroku[router]: forged\\r\\x1b[2J\\u{{202e}}txet"));
    let processes = page.run(
        "return [...document.querySelectorAll('#canvas .process')].map((cell) => cell.textContent)",
        Vec::new(),
    );
    assert!(processes.as_array().expect("a list").contains(&json!("<b>app</b>[<i>web</i>]")), "{processes}");
    for row in 0..2 {
        page.run("document.querySelectorAll('#canvas .line')[arguments[0]].click()", vec![json!(row)]);
        page.wait_true("document.getElementById('whole') !== null");
    }
    let elements = "document.querySelectorAll('#canvas img, #canvas script, #canvas b, #details img, #details b').length";
    assert_eq!(page.run(&format!("return {elements}"), Vec::new()), 0);
    // Nor could our own scripts make markup of it, or anything else run.
    let refused = "
        try { document.body.innerHTML = '<b>x</b>'; return 'taken'; } catch (problem) { return problem.name; }";
    assert_eq!(page.run(refused, Vec::new()), "TypeError");
    assert_eq!(
        page.run("return window.owned === false && document.title === window.title", Vec::new()),
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
    let page = Page::follow(&server.url(""));
    page.press("d");
    let told = page.wait_text("#drains", "retrying");
    for part in
        [&format!("http://{}", sink.address()), "idle", "http://127.0.0.1:9", "no connection: cannot connect"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Not while it is being tried.
    page.wait_text(".drain:nth-child(2)", "next try");
    let fact = |drain: usize, name: &str| {
        let script = "const card = document.querySelectorAll('.drain')[arguments[0]];
            return card.querySelector(`.facts .${arguments[1]} dd`).textContent;";
        let told = page.run(script, vec![json!(drain), json!(name)]);
        told.as_str().expect("a text").to_owned()
    };
    assert_eq!(
        (fact(0, "delivered").as_str(), fact(0, "held").as_str(), fact(0, "lost").as_str()),
        ("5", "0", "0")
    );
    assert!(fact(1, "held").starts_with("5, the oldest for "), "{}", fact(1, "held"));
    let requests = sink.requests().len();
    page.click(".drain:nth-child(1) button");
    page.wait_text(".drain:nth-child(1) .report", "The line arrived.");
    assert_eq!(sink.requests().len(), requests + 1);
    page.click(".drain:nth-child(2) button");
    page.wait_text(".drain:nth-child(2) .report", "The line did not arrive.");
    // The status is brought up to date while it is looked at.
    server.post_lines(&token, 5, 2);
    wait_for("2 more", || (fact(0, "delivered") == "7").then_some(()));
    let html = page.run("return document.documentElement.outerHTML", Vec::new());
    for secret in ["us3r", "p4ss", "p4th", "qu3ry", "s3cret"] {
        assert!(!html.as_str().expect("a text").contains(secret), "{secret}");
    }
    // Why it dropped what it dropped.
    server.post_batches(&token, 7..2507, 500);
    wait_for("drops", || fact(1, "dropped").ends_with(" (full)").then_some(()));
    page.press(ESCAPE);
    page.wait_true("!document.getElementById('drains').open");
    // The same numbers as a picture, in words.
    page.wait_text("#chart-text", "messages/s");
    page.wait_true("document.getElementById('chart-picture').ariaLabel.includes('in the last two minutes')");
    assert_eq!(page.problems(), [""; 0]);
}

// === Who reads, and how ===

#[test]
fn the_key_stays_in_its_tab_and_out_of_every_address() {
    let server = Server::start();
    server.create_app(CHANNEL);
    server.create_app("billing");
    let page = Page::open(&server.url(""));
    page.enter("#key", "not-a-key");
    page.wait_text("#login-error", "not a key of this server");
    page.enter("#key", API_KEY);
    page.wait_text("#state", "following");
    page.choose("billing");
    page.enter("#filter", "--level warning");
    page.wait_true("sessionStorage.getItem('filter') === '--level warning'");
    page.wait_text("#state", "following");
    let clean = || {
        assert_eq!(page.address(), server.url(""));
        let asked =
            page.run("return performance.getEntriesByType('resource').map((one) => one.name)", Vec::new());
        let asked = asked.as_array().expect("a list").clone();
        assert!(
            asked.iter().all(|url| url.as_str().is_some_and(|url| url.starts_with(&server.url("")))),
            "{asked:?}"
        );
        assert!(!json!(asked).to_string().contains(API_KEY));
        assert_eq!(page.run("return localStorage.length + document.cookie.length", Vec::new()), 0);
    };
    clean();
    // A tab that is loaded again goes on where it was.
    page.reload();
    page.wait_text("#state", "following");
    let followed =
        "return [document.getElementById('channel').value, document.getElementById('filter').value]";
    assert_eq!(page.run(followed, Vec::new()), json!(["billing", "--level warning"]));
    clean();
    page.click("#log-out");
    page.wait_true("document.activeElement.id === 'key'");
    assert_eq!(page.run("return sessionStorage.length", Vec::new()), 0);
    page.reload();
    page.wait_true("!document.getElementById('login').hidden");
}

#[test]
fn it_can_be_read_and_used_by_everyone() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app(CHANNEL);
    server.add_drain(CHANNEL, &sink.url(""));
    let page = Page::open(&server.url(""));
    assert_named(&page);
    page.enter("#key", API_KEY);
    page.wait_text("#state", "following");
    server.post_lines(&token, 0, 50);
    page.wait_count("shown", 50);
    for dark in [false, true] {
        page.set_dark(dark);
        assert_contrast(&page);
    }
    // The button goes over the system, and is remembered.
    page.click("#theme");
    page.wait_true("document.documentElement.dataset.theme === 'light'");
    page.reload();
    page.wait_true("document.documentElement.dataset.theme === 'light'");
    assert_contrast(&page);
    page.wait_count("shown", 50);

    // A list for who does not see it: its length, the place in it, and no flood of announcements.
    let list = "document.getElementById('list')";
    page.press(UP);
    page.wait_true(&format!("{list}.ariaRowCount === '51' && {list}.ariaLive === 'off'"));
    page.wait_true(&format!(
        "document.getElementById({list}.getAttribute('aria-activedescendant')).ariaSelected === 'true'"
    ));
    assert_eq!(page.run("return document.getElementById('state').role", Vec::new()), "status");
    // What each count is can be heard, and seen by who points at it.
    let counts = "[...document.querySelectorAll('#counts > div')]";
    page.wait_true(&format!(
        "{counts}.length === 5 && {counts}.every((one) => one.title !== '' && one.innerText.includes(one.title))"
    ));
    let tree = page.devtools("Accessibility.getFullAXTree", json!({}));
    assert!(
        tree.to_string()
            .contains("messages that the server no longer had when this page could take them (L11)")
    );
    assert_named(&page);

    // All that can be pressed can be reached, and shows that it was.
    let reached = tab_through(&page);
    for wanted in ["channel", "open-drains", "theme", "open-help", "log-out", "filter", "pause", "list"] {
        assert!(reached.iter().any(|id| id == wanted), "{wanted}: {reached:?}");
    }
    for (key, dialog) in [("?", "help"), ("d", "drains")] {
        page.run(&format!("{list}.focus()"), Vec::new());
        page.press(key);
        page.wait_true(&format!("document.getElementById('{dialog}').open"));
        page.wait_true(&format!("document.getElementById('{dialog}').contains(document.activeElement)"));
        assert_named(&page);
        page.press(ESCAPE);
        page.wait_true(&format!(
            "!document.getElementById('{dialog}').open && document.activeElement === {list}"
        ));
    }
    page.press("/");
    page.wait_true("document.activeElement.id === 'filter'");
    page.press(ESCAPE);
    page.wait_true(&format!("document.activeElement === {list}"));

    // On a phone nothing is cut off, and the lines have most of the room.
    page.resize(390, 844);
    page.wait_true("document.documentElement.scrollWidth <= 390");
    page.wait_true(&format!("{list}.clientHeight > 844 * 0.6"));
    let outside = "
        return [...document.querySelectorAll('#app > * button, #app > * input, #app > * select')]
            .filter((one) => one.checkVisibility())
            .map((one) => one.getBoundingClientRect())
            .filter((box) => box.left < 0 || box.right > innerWidth || box.height < 24).length";
    assert_eq!(page.run(outside, Vec::new()), 0);
    assert_eq!(page.problems(), [""; 0]);
}

#[test]
fn the_lines_in_sight_stay_there_when_a_phone_is_turned() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    server.post_lines(&token, 0, 200);
    let page = Page::follow(&server.url(""));
    page.resize(844, 390);
    page.wait_count("shown", 200);
    page.press(" ");
    page.wait_text("#pause", "Go on");
    // The first line whose row begins in sight; none until what was scrolled to is drawn.
    let first = "(() => {
        const top = document.getElementById('list').getBoundingClientRect().top;
        const rows = [...document.querySelectorAll('#canvas .row:not([hidden])')];
        return rows.find((row) => row.getBoundingClientRect().top >= top - 1)?.querySelector('.text').textContent;
    })()";
    page.run("document.getElementById('list').scrollTop = 81 * 20", Vec::new());
    page.wait_true(&format!("{first} === 'line 80'"));
    for (width, height, row) in [(390, 844, 40), (844, 390, 20)] {
        page.resize(width, height);
        page.wait_true(&format!(
            "document.querySelector('#canvas .row').getBoundingClientRect().height === {row} && {first} === 'line 80'"
        ));
    }
}

#[test]
fn a_time_shows_no_more_than_is_known() {
    let server = Server::start();
    let page = Page::open(&server.url(""));
    let script = "return (async () => {
        const { clock } = await import('/page/text.js');
        const now = new Date();
        now.setHours(3, 4, 5, 60);
        const [exact, day] = [now.toISOString(), 24 * 60 * 60 * 1000];
        return [exact, exact.replace(/[.][0-9]+/, ''), new Date(now - 40 * day).toISOString()].map(clock);
    })()";
    let shown = page.run(script, Vec::new());
    assert_eq!((&shown[0], &shown[1]), (&json!("03:04:05.060"), &json!("03:04:05")));
    // Another day's is known by its date.
    let other = shown[2].as_str().expect("a text");
    assert!(other.len() == 12 && other.ends_with(" 03:04"), "{other}");
}

/// The ids of what the Tab key leads to from the beginning, each with a visible outline.
#[track_caller]
fn tab_through(page: &Page) -> Vec<String> {
    page.run("document.activeElement.blur()", Vec::new());
    let mut reached: Vec<String> = Vec::new();
    for _ in 0..12 {
        page.press(TAB);
        let seen = page.run(
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
fn assert_named(page: &Page) {
    const USED: [&str; 7] = ["button", "textbox", "combobox", "grid", "dialog", "image", "complementary"];
    let tree = page.devtools("Accessibility.getFullAXTree", json!({}));
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
fn assert_contrast(page: &Page) {
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
    assert_eq!(page.run(script, Vec::new()), json!([]));
}
