//! What a notice says is what is read from it, and nothing that is no notice stops the reader.

use chrono::{DateTime, SubsecRound};
use logplex_core::{Code, Message, Notice, message::Form};
use proptest::collection::vec;
use proptest::prelude::*;

fn notice() -> impl Strategy<Value = Notice> {
    let code = prop::sample::select(&[Code::L10, Code::L11, Code::L12, Code::L13][..]);
    let fact = ("[a-z_]{1,8}", "[!-<>-~]{0,12}");
    (code, any::<u64>(), 0..253_402_300_800_000_000i64, vec(fact, 0..4)).prop_map(
        |(code, count, since, facts)| {
            let digits = if matches!(code, Code::L10 | Code::L11) { 0 } else { 6 };
            let since = DateTime::from_timestamp_micros(since).expect("in range").trunc_subsecs(digits);
            Notice { code, count, since, facts }
        },
    )
}

proptest! {
    #[test]
    fn what_was_rendered_is_read(notice in notice()) {
        prop_assert_eq!(Notice::parse(&notice.to_string()), Some(notice));
    }

    #[test]
    fn what_was_sent_is_read(notice in notice(), now in 0..253_402_300_800_000_000i64) {
        let now = DateTime::from_timestamp_micros(now).expect("in range");
        for (frame, form) in [(notice.message("app", now), Form::Any), (notice.drain_message(now), Form::Drain)] {
            let message = Message::parse(&frame, form).expect("a notice is strict");
            let text = std::str::from_utf8(message.text).expect("a notice is text");
            prop_assert_eq!(Notice::parse(text), Some(notice.clone()));
        }
    }

    #[test]
    fn any_text_can_be_asked(text in any::<String>()) {
        Notice::parse(&text);
    }

    #[test]
    fn any_likeness_of_a_notice_can_be_asked(
        text in "(Error )?L1[0-3](: | \\(output buffer overflow\\): | \\(Tail buffer overflow\\) -> |é)\
                 (This tail session dropped |drain 'd.' dropped |drain ')?[0-9-]{0,3}( messages )?(dropped |lost )?\
                 (since )?[0-9T:.+Zé-]{0,30}( [a-z=]{0,8}){0,2}",
    ) {
        Notice::parse(&text);
    }
}
