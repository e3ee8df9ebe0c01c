//! Events in, lines out.

use expect_test::{Expect, expect};
use tracing::{debug, error, info, info_span, trace, warn};
use tracing_subscriber::prelude::*;

use super::*;
use crate::shuttle::Builder;
use crate::shuttle::tests::peer::{PATIENCE, Peer};

/// What arrives, `PRI text`, when `log` runs under the layer.
fn check(log: impl FnOnce(), expected: Expect) {
    let peer = Peer::new();
    let guard = Builder::new(&peer.url).max_line(200).start().unwrap();
    let subscriber = tracing_subscriber::registry().with(Layer::new(guard.shuttle()));
    tracing::subscriber::with_default(subscriber, log);
    let mut arrived = String::new();
    while (arrived.matches("\n<").count() as u64) < guard.stats().ledger.accepted() {
        let request = peer.next();
        for message in request.messages() {
            arrived.push_str(&format!("\n<{}> {}", message.pri, String::from_utf8_lossy(message.text)));
        }
        request.answer("204 No Content");
    }
    assert!(guard.shutdown(PATIENCE).is_clean());
    expected.assert_eq(&arrived);
}

#[test]
fn a_line_has_level_target_message_and_fields() {
    check(
        || {
            info!("plain");
            error!(code = 7, name = "two words", path = "/x", "it failed: {}", "why");
            warn!(quote = "a \"b\" \\", empty = "", equals = "a=b");
            debug!(target: "other", list = ?["x", "y"], flag = true);
            trace!("fine");
        },
        expect![[r#"

            <190> INFO logplex_core::layer::tests: plain

            <187> ERROR logplex_core::layer::tests: it failed: why code=7 name="two words" path=/x

            <188> WARN logplex_core::layer::tests: quote="a \"b\" \\" empty="" equals="a=b"

            <191> DEBUG other: list="[\"x\", \"y\"]" flag=true

            <191> TRACE logplex_core::layer::tests: fine
        "#]],
    );
}

#[test]
fn span_fields_follow_those_of_the_event() {
    check(
        || {
            let outer = info_span!("request", id = 3, status = tracing::field::Empty);
            let _outer = outer.enter();
            let _inner = info_span!("query", table = "users").entered();
            info!(rows = 2, "done");
            outer.record("status", 204);
            info!("closed");
        },
        expect![[r#"

            <190> INFO logplex_core::layer::tests: done rows=2 id=3 table=users

            <190> INFO logplex_core::layer::tests: closed id=3 status=204 table=users
        "#]],
    );
}

#[test]
fn an_event_is_one_frame_and_cannot_forge_another() {
    check(
        || {
            info!(field = "a\nb\r\u{1b}[31m", "first\nsecond\r\u{1b}[31m");
            info!("{}", "é".repeat(150));
        },
        expect![[r#"

            <190> INFO logplex_core::layer::tests: first
            second\r\u{1b}[31m field="a\nb\r\u{1b}[31m"

            <190> INFO logplex_core::layer::tests: ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé
            <190> ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé
        "#]],
    );
}
