use std::sync::Arc;

use super::*;

fn origin() -> Origin<'static> {
    Origin {
        token_name: "app",
        token: "t.0f5c7e9a-1111-2222-3333-444444444444",
        form: Form::Any,
        limit: FrameLimit::MAX,
        now: "2026-01-02T03:04:05.678901Z".parse().expect("a time"),
    }
}

fn batch(messages: &[&str]) -> Batch {
    let body = Frames::from_messages(messages);
    Batch::decode(&body.wire(0..body.count()), &origin()).expect("well framed")
}

fn wire(frames: &Frames) -> String {
    String::from_utf8(frames.wire(0..frames.count()).to_vec()).expect("a test's frames are text")
}

/// All messages as http drains send them.
fn drain_form(batch: &Batch) -> String {
    String::from_utf8(batch.drain_form(0..batch.count()).to_vec()).expect("a test's frames are text")
}

fn line(batch: &Batch, index: usize) -> String {
    let mut out = String::new();
    batch.write_line(index, &mut out);
    out
}

#[test]
fn the_drain_form_is_the_originals() {
    let batch = batch(&["<174>1 2012-07-22T00:06:26+00:00 somehost erlang console - - Hi from erlang"]);
    let expected = "69 <174>1 2012-07-22T00:06:26+00:00 host erlang console - Hi from erlang";
    assert_eq!(drain_form(&batch), expected);
}

#[test]
fn the_drain_form_has_no_msgid_and_no_structured_data() {
    let batch = batch(&[
        "<0>1 2012-07-22T00:06:26Z h a p ID [x y=\"z\"] text\n",
        "<13>1 2012-07-22T00:06:26Z h a p ID",
        "<191>1 2012-07-22T00:06:26Z host a p - [INFO] é",
    ]);
    let parts: Vec<_> = (0..3).map(|at| batch.drain_form(at..at + 1)).collect();
    assert_eq!(
        parts,
        [
            "42 <0>1 2012-07-22T00:06:26Z host a p - text\n",
            "38 <13>1 2012-07-22T00:06:26Z host a p - ",
            "48 <191>1 2012-07-22T00:06:26Z host a p - [INFO] é",
        ]
    );
}

#[test]
fn rendered_counts_may_have_more_or_fewer_digits_than_came() {
    // Heads that grow, that shrink and that do neither, each with texts of every length about where digits are added.
    let token_name = "a-name-longer-than-token";
    let origin = Origin { token_name, ..origin() };
    let heads = ["h a", "a-long-name a", "host a", "h token"]
        .map(|names| (names, names.replace("token", token_name)));
    let (mut came, mut goes) = (Vec::new(), Vec::new());
    for (names, source) in &heads {
        let source = source.split_once(' ').map_or("", |(_, source)| source);
        for len in (0..70).chain(900..1000) {
            let text = "x".repeat(len);
            came.push(format!("<1>1 2012-07-22T00:06:26Z {names} p - - {text}"));
            let message = format!("<1>1 2012-07-22T00:06:26Z host {source} p - {text}");
            goes.push(format!("{} {message}", message.len()));
        }
    }
    let body = Frames::from_messages(&came);
    let batch = Batch::decode(&body.wire(0..body.count()), &origin).expect("well framed");
    let check = |batch: &Batch, expected: &[String]| {
        let rendered: Vec<_> = (0..batch.count()).map(|at| batch.drain_form(at..at + 1)).collect();
        assert_eq!(rendered, expected);
    };
    check(&batch, &goes);
    check(&batch.copy_out(100..300), &goes[100..300]);
    let third: Vec<String> = goes.into_iter().step_by(3).collect();
    check(&batch.filtered(|index| index % 3 == 0).expect("some are left out"), &third);
}

#[test]
fn lines_are_shared_while_somebody_holds_them() {
    let head = "<13>1 2012-07-22T00:06:26Z h a p - -";
    let texts = ["one\n", "", "two\nthree\r\n", "é"].map(|text| format!("{head} {text}"));
    let batch = batch(&texts.each_ref().map(String::as_str));
    let expected: Vec<String> = (0..4).map(|index| line(&batch, index)).collect();
    let first = batch.lines();
    for (from, to) in [(0, 4), (0, 0), (4, 4), (1, 3), (3, 4)] {
        assert_eq!(first.of(from..to), expected[from..to].concat(), "{from}..{to}");
    }
    assert!(Arc::ptr_eq(&first, &batch.lines()));
    drop(first);
    assert!(batch.rendered.lock().unwrap().lines.upgrade().is_none());
    assert_eq!(batch.lines().of(0..4), expected.concat());
}

#[test]
fn the_drain_form_is_what_rests() {
    let batch = batch(&["hello", "world"]);
    let all = batch.drain_form(0..2);
    assert_eq!((all.as_ptr(), all.len()), (batch.bytes.as_ptr(), batch.bytes.len()));
    assert_eq!([batch.size(0..1), batch.size(0..2)], [batch.drain_form(0..1).len(), all.len()]);
}

#[test]
fn the_strict_form_is_shared_while_somebody_holds_it() {
    let batch = batch(&["hello"]);
    let first = batch.strict_form();
    assert!(Arc::ptr_eq(&first, &batch.strict_form()));
    assert_ne!(wire(&first), drain_form(&batch));
    drop(first);
    assert!(batch.rendered.lock().unwrap().strict.upgrade().is_none());
}

#[test]
fn the_strict_form_keeps_all_but_the_source() {
    let batch = batch(&[
        "<0>1 2012-07-22T00:06:26Z h token p ID [x y=\"z\"][w] text\n",
        "<13>1 2012-07-22T00:06:26Z host a p - no structured data",
        "<191>1 2012-07-22T00:06:26Z - a p - -",
    ]);
    let frames = batch.strict_form();
    let parts: Vec<_> = (0..3).map(|at| frames.wire(at..at + 1)).collect();
    assert_eq!(
        parts,
        [
            "55 <0>1 2012-07-22T00:06:26Z h app p ID [x y=\"z\"][w] text\n",
            "58 <13>1 2012-07-22T00:06:26Z host a p - - no structured data",
            "38 <191>1 2012-07-22T00:06:26Z - a p - - ",
        ]
    );
}

#[test]
fn parts_of_a_batch_keep_what_drains_are_not_sent() {
    let heads =
        ["h1 a p - -", "h1 a q - -", "h2 a p ID [x y=\"z\"]", "h1 token p - -", "h1 a p ID [x y=\"z\"][w]"];
    let frames: Vec<String> =
        (0..40).map(|at| format!("<13>1 2012-07-22T00:06:26Z {} text {at}", heads[at / 2 % 5])).collect();
    let batch = batch(&frames.iter().map(String::as_str).collect::<Vec<_>>());
    let strict = batch.strict_form();
    for range in [0..40, 0..1, 3..4, 5..9, 11..40, 7..7] {
        let copy = batch.copy_out(range.clone());
        assert_eq!(wire(&copy.strict_form()).as_bytes(), strict.wire(range.clone()), "{range:?}");
        assert_eq!(drain_form(&copy).as_bytes(), batch.drain_form(range));
    }
    for nth in 2..12 {
        let kept = batch.filtered(|index| index % nth == 0).expect("not all were kept");
        let expected: Vec<u8> =
            (0..40).step_by(nth).flat_map(|index| strict.wire(index..index + 1)).collect();
        assert_eq!(wire(&kept.strict_form()).as_bytes(), expected, "every {nth}th");
        let again = kept.copy_out(1..kept.count());
        assert_eq!(wire(&again.strict_form()), wire(&kept.strict_form())[strict.wire(0..1).len()..]);
    }
}

#[test]
fn a_large_body_is_read_as_a_small_one() {
    let lines = [
        "<13>1 2012-07-22T00:06:26Z - a p - - text",
        "bare",
        "<13>1 2012-07-22T00:06:26Z h token q ID [x] more",
    ];
    let frames: Vec<String> =
        (0..9000).map(|at| format!("{} {}", lines[at % 7 % 3], "x".repeat(at % 900))).collect();
    let read = |frames: &[String]| batch(&frames.iter().map(String::as_str).collect::<Vec<_>>());
    let (whole, mut at) = (read(&frames), 0);
    assert!(whole.bytes.len() > 4 * 1024 * 1024);
    for some in frames.chunks(50) {
        let (small, range) = (read(some), at..at + some.len());
        assert_eq!(drain_form(&small).as_bytes(), whole.drain_form(range.clone()));
        assert_eq!(line(&small, 49), line(&whole, range.end - 1));
        at = range.end;
    }
    let text = "a line that is one of many\n".repeat(9000);
    let text = Batch::from_text(text.as_bytes(), "p", &origin()).expect("not too many");
    assert_eq!(text.size(0..text.count()), text.bytes.len());
    assert!((0..text.count()).all(|at| text.drain_form(at..at + 1).ends_with(text.message(at).text)));
}

#[test]
fn the_syslog_form_has_the_drains_token_and_one_newline() {
    let batch = batch(&[
        "<174>1 2012-07-22T00:06:26+00:00 somehost erlang console ID [x] Hi from erlang",
        "<0>1 2012-07-22T00:06:26Z h token p - - two\nlines\n",
        "<40>1 2012-07-22T00:06:26Z h a p - -",
    ]);
    let form = |range| {
        let mut out = Vec::new();
        batch.write_syslog_form(range, "d.1", &mut out);
        String::from_utf8(out).unwrap()
    };
    let expected = [
        "71 <174>1 2012-07-22T00:06:26+00:00 d.1 erlang console - - Hi from erlang\n",
        "50 <0>1 2012-07-22T00:06:26Z d.1 app p - - two\nlines\n",
        "40 <40>1 2012-07-22T00:06:26Z d.1 a p - - \n",
    ];
    for (index, expected) in expected.into_iter().enumerate() {
        assert_eq!(form(index..index + 1), expected);
    }
    assert_eq!(form(0..3), expected.concat());
}

#[test]
fn a_token_in_place_of_a_source_becomes_its_name() {
    let source = |app: &str| {
        let frame = format!("<13>1 2012-07-22T00:06:26Z h {app} web.1 - - x");
        let batch = batch(&[&frame]);
        assert!(line(&batch, 0).contains(&format!(" {}[web.1]: x", batch.source(0))));
        assert_eq!((batch.message(0).app, batch.procid(0)), (batch.source(0), "web.1"));
        batch.source(0).to_owned()
    };
    assert_eq!(source("token"), "app");
    assert_eq!(source("t.0f5c7e9a-1111-2222-3333-444444444444"), "app");
    for kept in ["heroku", "Token", "tokens", "t.0f5c7e9a-1111-2222-3333-444444444445", "-"] {
        assert_eq!(source(kept), kept);
    }
    assert_eq!(batch(&["a line without a head"]).source(0), "app");
}

#[test]
fn a_line_is_one_line_whatever_its_text() {
    let line = |text: &str| {
        let frame = format!("<13>1 2012-07-22T00:06:26Z h a web.1 - - {text}");
        let line = line(&batch(&[&frame]), 0);
        line.strip_prefix("2012-07-22T00:06:26Z a[web.1]: ").expect("the head").to_owned()
    };
    assert_eq!(line("x"), "x\n");
    assert_eq!(line(""), "\n");
    assert_eq!(line("x\n"), "x\n");
    assert_eq!(line("x\r\n"), "x\n");
    assert_eq!(line("x\n\n"), "x\\n\n");
    assert_eq!(line("x\r"), "x\n");
    assert_eq!(line("a\nb\rc\r\nd"), "a\\nb\\rc\\r\\nd\n");
    assert_eq!(line("é\t\\n"), "é\t\\n\n");
}

#[test]
fn a_line_shows_what_is_not_utf_8() {
    let body = Frames::from_messages([b"<13>1 2012-07-22T00:06:26Z h a web.1 - - caf\xe9\n"]);
    let batch = Batch::decode(&body.wire(0..1), &origin()).expect("well framed");
    assert_eq!(line(&batch, 0), "2012-07-22T00:06:26Z a[web.1]: caf\u{fffd}\n");
}

#[test]
fn strict_and_foreign_messages_keep_their_order_and_bytes() {
    let strict = "<13>1 2012-07-22T00:06:26Z h a p ID [x y=\"z\"] text";
    let batch = batch(&[strict, "bare", strict, "<34>Oct 11 22:14:15 m su[1]: old", strict]);
    let texts: Vec<_> = (0..5).map(|at| String::from_utf8_lossy(batch.message(at).text)).collect();
    assert_eq!(texts, ["text", "bare", "text", "old", "text"]);
    for at in [0, 2, 4] {
        assert_eq!(wire(&batch.strict_form()).matches(strict).count(), 3);
        assert_eq!(batch.frame(at), b"<13>1 2012-07-22T00:06:26Z host a p - text");
    }
    assert_eq!((0..5).map(|at| batch.ordinal(at)).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn what_rests_keeps_no_spare_room() {
    let strict = "<13>1 2012-07-22T00:06:26Z h a p ID [x y=\"z\"] text";
    let text = Batch::from_text(b"x\n", "p", &origin()).expect("few");
    for batch in [batch(&["x"]), batch(&[strict; 100]), text] {
        let length = batch.bytes.len();
        assert_eq!(batch.bytes.try_into_mut().expect("the only reference").capacity(), length);
    }
}

#[test]
fn an_error_says_where_it_is() {
    let error = |body: &'static str| {
        let error = Batch::decode(body.as_bytes(), &origin()).unwrap_err();
        format!("{error}: {}", error.source)
    };
    assert_eq!(error("x"), "frame 1 at byte 0: expected an octet count, found byte 0x78");
    assert_eq!(error("5 hello\n"), "frame 2 at byte 7: expected an octet count, found byte 0x0a");
    assert_eq!(error("5 hello3 ab"), "frame 2 at byte 7: the last frame is cut short: 1 bytes are missing");
    assert_eq!(
        error("5 hello3 abc70000 x"),
        "frame 3 at byte 12: a frame of 70000 bytes or more is over the limit of 65536"
    );
}

#[test]
fn an_empty_body_is_an_empty_batch() {
    let batch = batch(&[]);
    assert_eq!((batch.count(), batch.size(0..0), drain_form(&batch)), (0, 0, String::new()));
}

#[test]
fn a_text_is_a_message_a_line() {
    let batch = Batch::from_text(b"one\r\n\n  two \n[three] x\n- four\nlast", "curl", &origin())
        .expect("not too many");
    let lines: String = (0..batch.count()).map(|at| line(&batch, at)).collect();
    let expected = ["one", "  two ", "[three] x", "- four", "last"]
        .map(|text| format!("2026-01-02T03:04:05.678901+00:00 app[curl]: {text}\n"));
    assert_eq!(lines, expected.concat());
    assert_eq!(batch.message(0).pri, 190);
}

#[test]
fn a_text_whose_procid_does_not_fit_is_still_taken() {
    let batch = Batch::from_text(b"one", "not a procid", &origin()).expect("not too many");
    assert!(line(&batch, 0).ends_with("one\n"));
}

#[test]
fn a_line_over_the_limit_is_cut_between_characters() {
    let origin = Origin { limit: FrameLimit::new(100).expect("in range"), ..origin() };
    let text = "aé€😀".repeat(40);
    let batch = Batch::from_text(text.as_bytes(), "p", &origin).expect("not too many");
    let pieces: Vec<_> = (0..batch.count()).map(|at| batch.message(at).text).collect();
    assert_eq!(pieces.concat(), text.as_bytes());
    for (at, piece) in pieces.iter().enumerate() {
        assert!(std::str::from_utf8(piece).is_ok() && batch.frame(at).len() <= 100);
    }
}

#[test]
fn a_cut_is_at_most_three_bytes_early() {
    let cut = |text: &str, most| cut_point(text.as_bytes(), most);
    assert_eq!([cut("abc", 3), cut("abc", 2), cut("😀😀", 4), cut("😀😀", 7)], [3, 2, 4, 4]);
    assert_eq!([cut("😀😀", 1), cut("a😀", 4), cut_point(&[0x80; 9], 5)], [1, 1, 5]);
}

#[test]
fn what_a_filter_keeps_keeps_its_ordinal() {
    let batch = batch(&["a", "b", "c", "d"]);
    assert!(batch.filtered(|_| true).is_none());
    let kept = batch.filtered(|at| at % 2 == 1).expect("not all were kept");
    assert_eq!([kept.ordinal(0), kept.ordinal(1)], [1, 3]);
    assert_eq!([line(&kept, 0), line(&kept, 1)], [line(&batch, 1), line(&batch, 3)]);
    assert_eq!(batch.filtered(|_| false).map(|none| none.count()), Some(0));
    let copy = kept.copy_out(1..2);
    assert_eq!((copy.ordinal(0), line(&copy, 0)), (3, line(&batch, 3)));
    assert!(copy.footprint() < kept.footprint() && kept.footprint() < batch.footprint());
}

#[test]
fn codes_are_found_when_a_batch_is_read_and_kept_by_its_parts() {
    let h12 = "at=error code=H12 desc=\"Request timeout\"";
    let messages = |texts: &[(&str, &str, &str)]| -> Vec<String> {
        let message = |(source, procid, text): &(&str, &str, &str)| {
            format!("<158>1 2026-01-02T03:04:05.678901+00:00 host {source} {procid} - - {text}")
        };
        texts.iter().map(message).collect()
    };
    let texts = messages(&[
        ("heroku", "router", "at=info status=200"),
        ("heroku", "router", h12),
        ("app", "router", h12),
        ("heroku", "web.1", "Error R14 (Memory quota exceeded)"),
        ("app", "log-shuttle", "Error L12: 2 messages dropped since 2026-01-02T03:04:05+00:00."),
        ("token", "router", h12),
    ]);
    let codes = |batch: &Batch| (0..batch.count()).map(|at| batch.code(at)).collect::<Vec<_>>();
    let expected = [
        None,
        Some(ErrorCode::H12),
        None,
        Some(ErrorCode::R14),
        Some(ErrorCode::L12),
        // The token's name is `app`.
        None,
    ];
    let read = batch(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(codes(&read), expected);
    let found: Vec<_> = read.codes().collect();
    assert_eq!(found, [(1, ErrorCode::H12), (3, ErrorCode::R14), (4, ErrorCode::L12)]);
    assert!(read.has_codes() && !batch(&[&texts[0]]).has_codes());
    assert_eq!(codes(&read.copy_out(2..4)), expected[2..4]);
    let kept = read.filtered(|at| at % 2 == 1).expect("not all were kept");
    assert_eq!(kept.codes().collect::<Vec<_>>(), [(0, ErrorCode::H12), (1, ErrorCode::R14)]);

    // A token called heroku speaks for the platform, and foreign forms are read as well.
    let origin = Origin { token_name: "heroku", ..origin() };
    let foreign = "<158>Jan  2 03:04:05 demo heroku[router]: at=warning code=H27";
    let frames = Frames::from_messages([texts[5].as_str(), foreign]);
    let read = Batch::decode(&frames.wire(0..2), &origin).expect("well framed");
    assert_eq!(codes(&read), [Some(ErrorCode::H12), Some(ErrorCode::H27)]);
    let read = Batch::from_text(format!("{h12}\nhello\n").as_bytes(), "http", &origin).expect("not too many");
    assert_eq!(codes(&read), [Some(ErrorCode::H12), None]);
}

#[test]
fn more_messages_than_a_batch_may_have_are_refused_whole() {
    let tiny = |count: usize| b"1 x".repeat(count);
    assert_eq!(Batch::decode(&tiny(MESSAGES_MAX), &origin()).expect("fits").count(), MESSAGES_MAX);
    let refused = Batch::decode(&tiny(MESSAGES_MAX + 1), &origin()).expect_err("one too many");
    assert_eq!(
        (refused.frame, refused.source),
        (MESSAGES_MAX + 1, FrameError::TooMany { limit: MESSAGES_MAX })
    );
    assert!(Batch::from_text(&b"x\n".repeat(MESSAGES_MAX + 1), "http", &origin()).is_err());
}

#[test]
fn what_is_written_strictly_is_read_back_without_the_token() {
    let token = origin().token;
    let written = batch(&[
        "<174>1 2012-07-22T00:06:26+00:00 somehost erlang console ID [a@1 b=\"c d\"] text\n",
        "<13>1 2012-07-22T00:06:26Z h token p - - the token's name",
        &format!("<13>1 2012-07-22T00:06:26Z h {token} p - - the token itself"),
        "<13>1 2012-07-22T00:06:26Z host a p - [INFO] no data",
        "<13>1 2012-07-22T00:06:26Z host a p -",
        "Jul 22 00:06:26 box sshd[7]: foreign",
        "<172>1 2012-07-22T00:06:26Z h a log-shuttle - - Error L12: 5 messages dropped since \
         2012-07-22T00:06:26.000000+00:00.",
    ]);
    // As the body of another server's drain, where a dash is text.
    let drained = Frames::from_messages(["<13>1 2012-07-22T00:06:26Z host a p - - dash"]);
    let drained =
        Batch::decode(&drained.wire(0..1), &Origin { form: Form::Drain, ..origin() }).expect("strict");
    for batch in [written, drained] {
        let all = 0..batch.count();
        let mut bytes = Vec::new();
        batch.write_strict(all.clone(), &mut bytes);
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));
        let read = Batch::read_back(&bytes, batch.received()).expect("our own");
        assert_eq!(read.count(), batch.count());
        for index in all.clone() {
            let (theirs, ours) = (read.message(index), batch.message(index));
            assert_eq!((theirs.text, theirs.msgid, theirs.pri), (ours.text, ours.msgid, ours.pri));
            assert_eq!(
                (theirs.time, theirs.host, read.source(index)),
                (ours.time, ours.host, batch.source(index))
            );
            assert_eq!(
                theirs.structured_data.filter(|data| *data != b"-"),
                ours.structured_data.filter(|data| *data != b"-")
            );
            assert_eq!(line(&read, index), line(&batch, index));
        }
        assert_eq!(read.upstream(all.clone()), batch.upstream(all.clone()));
        assert_eq!(drain_form(&read), drain_form(&batch));
    }
}
