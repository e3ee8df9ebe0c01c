//! The web page when something that it needs is not there: the server, its key, a channel, the stream of one.

use logplex_tests::{API_KEY, Nginx, Page, Relay, Server, wait_for};
use serde_json::json;

const CHANNEL: &str = "app";

/// From now on whoever asks for a session is refused so, as if by something between the page and the server; `null`
/// ends it.
#[track_caller]
fn refuse_sessions(page: &Page, answer: serde_json::Value) {
    let script = "
        window.unhindered ??= window.fetch;
        const [answer] = arguments;
        window.fetch = (url, options) => answer !== null && String(url).endsWith('/v3/sessions')
            ? Promise.resolve(new Response(answer.text, { status: answer.status }))
            : window.unhindered(url, options);";
    page.run(script, vec![answer]);
}

#[test]
fn who_logs_in_while_the_server_is_away_is_let_in_when_it_is_back() {
    let (server, relay, nowhere) = (Server::start(), Relay::start(), Relay::start());
    server.create_app(CHANNEL);
    relay.forward_to(server.address());
    let page = Page::open(&format!("http://{}/", relay.address()));
    page.wait_true("document.activeElement.id === 'key'");
    relay.forward_to(nowhere.address());
    relay.cut();
    page.enter("#key", API_KEY);
    page.wait_text("#login-error", "No answer from the server; trying again");
    // A key that is not yet known to be good is not kept.
    assert_eq!(page.run("return sessionStorage.length", Vec::new()), 0);
    relay.forward_to(server.address());
    page.wait_text("#state", "following");
    assert_eq!(page.run("return sessionStorage.getItem('key')", Vec::new()), API_KEY);
}

#[test]
fn with_a_key_in_the_place_of_one_that_is_not_valid_any_more_it_goes_on() {
    let (mut server, relay, token, page) = Page::follow_over_relay(CHANNEL);
    page.resize(1280, 3000);
    page.enter("#filter", "--exclude 1");
    page.wait_true("sessionStorage.getItem('filter') === '--exclude 1'");
    page.wait_text("#state", "following");
    server.post_lines(&token, 0, 2);
    wait_for("a line", || (page.numbers() == [0]).then_some(()));
    const OTHER: &str = "another-key-for-tests-only-0123456789abcdef";
    server.set_options(Server::options().env("LOGPLEX_API_KEY", OTHER));
    // In order, so that its history is all there afterwards.
    server.term();
    server.restart();
    relay.forward_to(server.address());
    page.wait_text("#login-error", "The key is not valid any more.");
    assert_eq!(page.run("return sessionStorage.getItem('key')", Vec::new()), json!(null));
    page.wait_true("!document.documentElement.outerHTML.includes('line 0')");
    page.enter("#key", API_KEY);
    page.wait_text("#login-error", "not a key of this server");
    page.enter("#key", OTHER);
    page.wait_text("#state", "following");
    server.post_lines(&token, 2, 10);
    wait_for("what the filter keeps", || (page.numbers() == [0, 2, 3, 4, 5, 6, 7, 8, 9]).then_some(()));
}

#[test]
fn a_channel_that_is_deleted_is_said_to_be_gone_and_followed_again_when_it_is_there() {
    let (server, _relay, _, page) = Page::follow_over_relay(CHANNEL);
    let path = format!("/v3/channels/{CHANNEL}");
    server.api("DELETE", &path, None).expect(&[200, 204]);
    page.wait_text("#state", "this channel is not there any more");
    // It is no fault of the filter's, and nobody is led to another channel.
    assert_eq!(page.text("#filter-error"), "");
    let followed = "return document.getElementById('channel').value";
    server.create_app("another");
    page.run("window.dispatchEvent(new Event('focus'))", Vec::new());
    page.wait_true("document.querySelectorAll('#channel option').length === 2");
    assert_eq!(page.run(followed, Vec::new()), CHANNEL);
    page.enter("#filter", "");
    page.wait_text("#state", "this channel is not there any more");
    let token = server.create_app(CHANNEL);
    page.enter("#filter", "");
    page.wait_text("#state", "following");
    server.post_lines(&token, 0, 3);
    wait_for("its lines", || (page.numbers() == [0, 1, 2]).then_some(()));
}

#[test]
fn the_first_channel_is_followed_as_soon_as_there_is_one() {
    let server = Server::start();
    let page = Page::open(&server.url(""));
    page.enter("#key", API_KEY);
    page.wait_text("#state", "There is no channel yet: logplex channels add NAME");
    let token = server.create_app(CHANNEL);
    page.wait_text("#state", "following");
    server.post_lines(&token, 0, 3);
    wait_for("its lines", || (page.numbers() == [0, 1, 2]).then_some(()));
    assert_eq!(page.problems(), [""; 0]);
}

#[test]
fn a_session_that_is_refused_for_good_ends_it_and_one_that_is_refused_for_now_does_not() {
    let (server, relay, token, page) = Page::follow_over_relay(CHANNEL);
    server.post_lines(&token, 0, 1);
    page.wait_count("shown", 1);
    // Whatever it says is only text; a page is not shown as one, and not as its source either.
    let denied = json!({ "error": "not <b>you</b>" }).to_string();
    for (lines, (status, text, told, is_final)) in (1..).zip([
        (403, denied.as_str(), "not <b>you</b>; Apply tries again", true),
        (404, "Not found", "this channel is not there any more; Apply tries again", true),
        (410, "<!DOCTYPE html><title>Gone</title>", "the server answered 410; Apply tries again", true),
        (429, "slower", "slower; reconnecting…", false),
        (503, "", "the server answered 503; reconnecting…", false),
    ]) {
        refuse_sessions(&page, json!({ "status": status, "text": text }));
        relay.cut();
        page.wait_text("#state", told);
        server.post_lines(&token, lines, 1);
        refuse_sessions(&page, json!(null));
        if is_final {
            assert!(!page.text("#state").contains("reconnecting"), "{status}");
            page.click("#filter-form button[type=submit]");
        }
        page.wait_text("#state", "following");
        wait_for("all lines", || (page.numbers() == (0..=lines).collect::<Vec<_>>()).then_some(()));
    }
}

#[test]
fn where_no_websocket_comes_through_it_says_so() {
    let server = Server::start();
    server.create_app(CHANNEL);
    // It passes on requests, and asks for no upgrade.
    let proxy = Nginx::start(server.address(), "");
    let page = Page::open(&format!("http://{}/", proxy.plain()));
    page.enter("#key", API_KEY);
    page.wait_text(
        "#state",
        "the server answers, but lets no websocket through, or what is between does not",
    );
}

#[test]
fn each_tab_has_a_key_a_channel_and_a_filter_of_its_own() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    let other = server.create_app("billing");
    let page = Page::follow(&server.url(""));
    page.enter("#filter", "--exclude 1");
    page.wait_true("sessionStorage.getItem('filter') === '--exclude 1'");
    page.wait_text("#state", "following");

    let first = page.open_tab();
    page.go(&server.url(""));
    page.wait_true("document.activeElement.id === 'key'");
    page.enter("#key", API_KEY);
    page.wait_text("#state", "following");
    page.choose("billing");
    page.wait_true("sessionStorage.getItem('channel') === 'billing'");
    page.wait_text("#state", "following");
    server.post_lines(&other, 0, 3);
    wait_for("lines of the second", || (page.numbers() == [0, 1, 2]).then_some(()));
    page.click("#log-out");
    page.wait_true("sessionStorage.length === 0");

    // The first is where it was, and what came while nobody saw it is there.
    server.post_lines(&token, 0, 3);
    page.to_tab(&first);
    wait_for("lines of the first", || (page.numbers() == [0, 2]).then_some(()));
    let own = "['channel', 'filter', 'key'].map((name) => sessionStorage.getItem(name))";
    assert_eq!(page.run(&format!("return {own}"), Vec::new()), json!([CHANNEL, "--exclude 1", API_KEY]));
    assert_eq!(page.problems(), [""; 0]);
}
