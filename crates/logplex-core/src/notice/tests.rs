use super::*;

fn at(time: &str) -> DateTime<Utc> {
    time.parse().expect("a time")
}

fn dropped(count: u64, since: &str) -> Tally<DropReason> {
    Tally { count, since: Some(at(since)), reason: Some(DropReason::Full) }
}

fn lost(count: u64, since: &str) -> Tally<LossReason> {
    Tally { count, since: Some(at(since)), reason: Some(LossReason::Unreachable) }
}

fn gap(dropped: Tally<DropReason>) -> Gap {
    Gap { dropped, ..Gap::default() }
}

fn told(notice: Option<Notice>) -> String {
    notice.expect("there is a gap").to_string()
}

#[test]
fn the_sentences_are_the_published_ones() {
    assert_eq!(
        told(Notice::l10(&gap(dropped(500, "2013-04-17T19:04:46.987Z")))),
        "Error L10 (output buffer overflow): 500 messages dropped since 2013-04-17T19:04:46+00:00."
    );
    assert_eq!(
        told(Notice::l11(&gap(dropped(1101, "2011-05-03T17:35:00Z")))),
        "L11 (Tail buffer overflow) -> This tail session dropped 1101 messages since 2011-05-03T17:35:00+00:00"
    );
    assert_eq!(
        told(Notice::l12(&dropped(222, "2013-11-04T21:31:32.125756Z"))),
        "Error L12: 222 messages dropped since 2013-11-04T21:31:32.125756+00:00."
    );
    let notice = Notice::l13(&Tally { reason: None, ..lost(111, "2013-11-04T21:31:32.125756789Z") });
    assert_eq!(told(notice), "Error L13: 111 messages lost since 2013-11-04T21:31:32.125756+00:00.");
}

#[test]
fn a_notice_on_the_wire_is_a_warning_from_its_own_source() {
    let now = at("2013-04-17T19:04:47.125Z");
    let text = |message: Vec<u8>| String::from_utf8(message).expect("a notice is text");
    let l10 = Notice::l10(&gap(dropped(5, "2013-04-17T19:04:46Z"))).expect("a gap");
    let sentence = "Error L10 (output buffer overflow): 5 messages dropped since 2013-04-17T19:04:46+00:00.";
    assert_eq!(
        text(l10.drain_message(now)),
        format!("<172>1 2013-04-17T19:04:47+00:00 host heroku logplex - {sentence}")
    );
    assert_eq!(
        text(l10.message("heroku", now)),
        format!("<172>1 2013-04-17T19:04:47+00:00 host heroku logplex - - {sentence}")
    );
    let l12 = Notice::l12(&dropped(5, "2013-04-17T19:04:46Z")).expect("a gap");
    assert_eq!(
        text(l12.message("token", now)),
        "<172>1 2013-04-17T19:04:47.125000+00:00 heroku token log-shuttle - - \
         Error L12: 5 messages dropped since 2013-04-17T19:04:46.000000+00:00."
    );
}

#[test]
fn facts_follow_the_sentence() {
    let facts = |notice: Option<Notice>| {
        let facts = notice.expect("there is a gap").facts.into_iter();
        facts.map(|(key, value)| format!(" {key}={value}")).collect::<String>()
    };
    let since = "2013-04-17T19:04:46Z";
    let bytes = Tally { reason: Some(DropReason::Bytes), ..dropped(5, since) };
    let crash = Tally { reason: Some(DropReason::Crash), ..dropped(5, since) };
    let both = Gap { dropped: dropped(5, since), lost: lost(7, since), ..Gap::default() };
    assert_eq!(facts(Notice::l10(&gap(dropped(5, since)))), "");
    assert_eq!(facts(Notice::l10(&gap(bytes))), " reason=bytes");
    assert_eq!(facts(Notice::l10(&gap(crash))), " reason=crash at_most=5");
    assert_eq!(facts(Notice::l10(&both)), " lost=7 reason=unreachable");
    assert_eq!(facts(Notice::l11(&gap(bytes))), " reason=bytes");
    let upstream = Tally { count: 9, since: at(since).into(), reason: Some(()) };
    let upstream = Gap { upstream, ..both };
    assert_eq!(Notice::l10(&upstream).map(|notice| notice.count), Some(21));
    assert_eq!(facts(Notice::l10(&upstream)), " lost=7 upstream=9 reason=unreachable");
    assert_eq!(facts(Notice::l11(&upstream)), " upstream=9");
    assert_eq!(facts(Notice::l12(&bytes)), " reason=bytes");
    assert_eq!(facts(Notice::l13(&lost(7, since))), " reason=unreachable");
    let copy = Notice::l10(&gap(bytes)).map(|notice| notice.with_fact("drain", "d.1"));
    assert_eq!(facts(copy), " reason=bytes drain=d.1");
}

#[test]
fn a_drains_number_is_dropped_and_lost_together() {
    let both = Gap {
        dropped: dropped(5, "2013-04-17T19:04:46Z"),
        lost: lost(7, "2013-04-17T19:04:45Z"),
        ..Gap::default()
    };
    let notice = Notice::l10(&both).expect("a gap");
    assert_eq!((notice.count, notice.since), (12, at("2013-04-17T19:04:45Z")));
}

#[test]
fn nothing_is_told_of_nothing() {
    assert_eq!(Notice::l10(&Gap::default()), None);
    assert_eq!(Notice::l11(&Gap::default()), None);
    assert_eq!(Notice::l12(&Tally::default()), None);
    assert_eq!(Notice::l13(&Tally::default()), None);
}

#[test]
fn every_shape_that_the_platform_had_is_read() {
    let since = "2013-11-04T21:31:32+00:00";
    for (code, text) in [
        (Code::L10, "Error L10 (output buffer overflow): 12 messages dropped since TS."),
        (Code::L10, "Error L10 (output buffer overflow): drain 'd.x' dropped 12 messages since TS."),
        (Code::L11, "Error L11 (Tail buffer overflow) -> This tail session dropped 12 messages since TS."),
        (Code::L11, "L11 (Tail buffer overflow) -> This tail session dropped 12 messages since TS."),
        (Code::L11, "L11 (Tail buffer overflow) -> This tail session dropped 12 messages since TS"),
        (Code::L12, "Error L12: 12 messages dropped since TS."),
        (Code::L12, "Error L12: 12 messages dropped since TS\n"),
        (Code::L13, "Error L13: 12 messages lost since TS."),
        (Code::L13, "Error L13: 12 messages lost since TS. reason=refused"),
    ] {
        let notice = Notice::parse(&text.replace("TS", since)).expect(text);
        assert_eq!((notice.code, notice.count, notice.since), (code, 12, at(since)), "{text}");
    }
    let named = "Error L10 (output buffer overflow): drain 'd.x' dropped 12 messages since 2013-11-04T21:31:32Z. lost=3";
    let facts = [("drain", "d.x"), ("lost", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(Notice::parse(named).map(|notice| notice.facts), Some(facts.to_vec()));
}

#[test]
fn what_is_no_notice_is_not_read() {
    for text in [
        "",
        "L1",
        "é10 (output buffer overflow)",
        "Error",
        "Error L10",
        "Error L10 (output buffer overflow): many messages dropped since 2013-11-04T21:31:32+00:00.",
        "Error L10 (output buffer overflow): -1 messages dropped since 2013-11-04T21:31:32+00:00.",
        "Error L10 (output buffer overflow): 1 messages dropped since yesterday.",
        "Error L10 (output buffer overflow): 1 messages dropped",
        "Error L10 (output buffer overflow): drain 'd.x dropped 1 messages since 2013-11-04T21:31:32+00:00.",
        "Error L12: 99999999999999999999 messages dropped since 2013-11-04T21:31:32+00:00.",
        "Error L14 (certificate validation): error=\"bad certificate\" uri=\"syslog+tls://h:6514/\"",
        "x Error L12: 1 messages dropped since 2013-11-04T21:31:32+00:00.",
    ] {
        assert_eq!(Notice::parse(text), None, "{text:?}");
    }
}

#[test]
fn a_syslog_drain_is_told_in_its_form() {
    let notice = Notice::l10(&gap(dropped(3, "2013-04-17T19:04:46Z"))).unwrap();
    let message = notice.syslog_message("d.1", at("2013-04-17T19:04:47.5Z"));
    let expected = "<172>1 2013-04-17T19:04:47+00:00 d.1 heroku logplex - - \
                    Error L10 (output buffer overflow): 3 messages dropped since 2013-04-17T19:04:46+00:00.\n";
    assert_eq!(String::from_utf8(message).unwrap(), expected);
}

#[test]
fn a_certificate_error_cannot_break_its_line() {
    let message =
        certificate_message("not \"good\"\n<0>1 forged", "syslog+tls://h:6514", at("2013-04-17T19:04:47.5Z"));
    let expected = "<172>1 2013-04-17T19:04:47+00:00 host heroku logplex - - Error L14 (certificate validation): \
                    error=\"not 'good' <0>1 forged\" uri=\"syslog+tls://h:6514\"";
    assert_eq!(String::from_utf8(message).unwrap(), expected);
}
