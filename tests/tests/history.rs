//! Histories outlive the process, keep within what they may take, and never stand in the way of a start.

use std::fs;
use std::path::{Path, PathBuf};

use logplex_tests::{
    Server, ServerOptions, Stream, StreamEnd, conservation, encode, padded_frames, wait_for,
};
use serde_json::{Value, json};

fn logs(server: &Server, channel: &str) -> Vec<u8> {
    server.api("GET", &format!("/v3/channels/{channel}/logs?num=1500"), None).expect(&[200]).body
}

fn past(server: &Server, channel: &str, num: u64) -> Vec<u64> {
    let stream = Stream::lines_of(&server.create_session(channel, json!({ "num": num })));
    assert_eq!(stream.wait_ended(), StreamEnd::Clean);
    stream.numbers()
}

fn live(server: &Server) -> String {
    server.create_session("app", json!({ "tail": true, "num": 0 }))
}

/// What the server says of histories.
fn figure(server: &Server, name: &str) -> u64 {
    server.metrics().sum(&format!("logplex_history_{name}"), &[]) as u64
}

/// Waits until a history is on the disk: nothing else says so than that it goes on growing no more.
fn wait_stored(server: &Server, at_least: u64) {
    wait_for("a stored history", || (figure(server, "stored_bytes") >= at_least).then_some(()));
}

#[test]
fn a_history_is_the_same_after_a_restart() {
    let mut server = Server::start();
    let token = server.create_app("app");
    let frames: Vec<Vec<u8>> = [
        &b"<190>1 2026-01-02T03:04:05+00:00 h app web.1 - - plain"[..],
        b"<13>1 2026-01-02T03:04:05.123456Z host token web.2 ID47 [a@1 b=\"c d\"] with data\n",
        b"<13>1 2026-01-02T03:04:05+00:00 host t-name web - - [INFO] in brackets",
        b"<13>1 2026-01-02T03:04:05+00:00 host app web - - - a dash",
        b"<13>1 2026-01-02T03:04:05+00:00 host app web - - \xff\xfe no text \x00\r\n and lines",
        b"<13>Jan  2 03:04:05 box sshd[7]: an older form",
    ]
    .iter()
    .map(|message| encode(message))
    .collect();
    assert_eq!(server.post_logs(&token, &[], &frames.concat()).0, 204);
    // As another server's drain would send it.
    let drain = encode(b"<13>1 2026-01-02T03:04:05+00:00 host app web - - not structured");
    let headers = [("User-Agent", "Logplex/v72"), ("Logplex-Drain-Token", "d.1")];
    assert_eq!(server.post_logs(&token, &headers, &drain).0, 204);
    let json = |server: &Server| {
        let url = server.create_session("app", json!({ "num": 10 }));
        let stream = Stream::lines_of(&format!("{url}?format=json"));
        assert_eq!(stream.wait_ended(), StreamEnd::Clean);
        stream.lines()
    };
    let (before, lines) = (logs(&server, "app"), json(&server));
    assert_eq!(lines.len(), 7);
    for _ in 0..2 {
        assert_eq!(server.term().code(), Some(0));
        server.restart();
        assert_eq!(String::from_utf8_lossy(&logs(&server, "app")), String::from_utf8_lossy(&before));
        assert_eq!(json(&server), lines);
    }
    // It goes on where it ended: the newest 1,500, old and new.
    server.post_batches(&token, 0..1495, 100);
    let lines = json(&server);
    assert_eq!(lines.len(), 10);
    let frames = logs(&server, "app");
    assert_eq!(logplex_tests::split_frames(&frames).expect("frames").len(), 1500);
    server.term();
    server.restart();
    assert_eq!(logs(&server, "app"), frames);
    assert_eq!(json(&server), lines);
}

#[test]
fn a_crash_costs_the_last_second_and_the_cursor_tells_it() {
    let mut server = Server::start();
    let token = server.create_app("app");
    let url = live(&server);
    let first = Stream::events_of(&url, None);
    server.post_batches(&token, 0..500, 50);
    wait_stored(&server, 500 * 50);
    // Stored as far as the figure goes; what comes now may be or not.
    server.post_batches(&token, 500..700, 50);
    first.wait_number(699);
    let seen = first.last_id().expect("an id");
    server.kill9();
    server.restart_same_port();
    server.post_lines(&token, 700, 5);
    let second = Stream::events_of(&url, Some(&seen));
    second.wait_number(704);
    assert_eq!(second.numbers(), (700..705).collect::<Vec<_>>());
    // Nothing is missing, but nobody knows that: how many more there were is told as a bound.
    for notice in second.told() {
        assert_eq!(notice.fact("reason"), Some("crash"));
        assert_eq!(notice.fact("at_most"), Some(notice.count.to_string().as_str()));
    }
    // Who had read less gets what is stored, and the bound covers the rest.
    let early = seen.split('-').next().map(|epoch| format!("{epoch}-99")).expect("an epoch");
    let third = Stream::events_of(&url, Some(&early));
    third.wait_number(704);
    let numbers = third.numbers();
    let told: u64 = third.told().iter().map(|told| told.count).sum();
    assert!(numbers.starts_with(&(100..500).collect::<Vec<_>>()), "{numbers:?}");
    assert!(numbers.len() as u64 + told >= 605, "{} and {told}", numbers.len());
    assert!(numbers.is_sorted());
    let events = third.events();
    let ids: Vec<u64> =
        events.iter().filter_map(|event| event.id.as_deref()?.rsplit('-').next()?.parse().ok()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
}

#[test]
fn memory_is_bounded_whatever_the_number_of_channels() {
    let mut server = Server::options().args(&["--history-memory", "1"]).start();
    let channels: Vec<String> = (0..24).map(|number| format!("c{number}")).collect();
    for (number, channel) in channels.iter().enumerate() {
        let token = server.create_app(channel);
        let first = number as u64 * 1000;
        for first in [first, first + 50, first + 100, first + 150] {
            assert_eq!(server.post_logs(&token, &[], &padded_frames(first..first + 50, 1000)).0, 204);
            assert!(figure(&server, "memory_bytes") <= 1 << 20);
            // Between two posts there is time to go out of memory; what must go at once is another test's matter.
            wait_for("room", || (figure(&server, "memory_bytes") <= (1 << 20) / 8 * 7).then_some(()));
        }
    }
    wait_stored(&server, 24 * 200 * 900);
    for restarted in [false, true] {
        for (number, channel) in channels.iter().enumerate() {
            let first = number as u64 * 1000;
            assert_eq!(past(&server, channel, 1500), (first..first + 200).collect::<Vec<_>>(), "{restarted}");
            assert_eq!(past(&server, channel, 3), (first + 197..first + 200).collect::<Vec<_>>());
        }
        server.term();
        server.restart();
    }
}

#[test]
fn what_finds_no_room_at_once_is_a_hole_that_is_told() {
    let server = Server::options().args(&["--history-memory", "1"]).start();
    let token = server.create_app("app");
    let url = live(&server);
    let first = Stream::events_of(&url, None);
    server.post_lines(&token, 0, 1);
    first.wait_number(0);
    let seen = first.last_id().expect("an id");
    drop(first);
    // Eight times what may be there at once.
    let body = padded_frames(1..801, 10_000);
    assert_eq!(server.post_logs(&token, &[], &body).0, 204);
    assert!(figure(&server, "memory_bytes") <= 1 << 20);
    let stream = Stream::events_of(&url, Some(&seen));
    stream.wait_number(800);
    let told: u64 = stream.told().iter().map(|told| told.count).sum();
    assert!(told > 0);
    conservation(1..801, &stream.numbers(), told);
}

#[test]
fn the_disk_is_bounded_and_the_coldest_go_first() {
    let mut server = Server::options().args(&["--history-disk", "2"]).start();
    let post = |server: &Server, channel: &str| {
        let token = server.create_app(channel);
        assert_eq!(server.post_logs(&token, &[], &padded_frames(0..500, 1000)).0, 204);
    };
    post(&server, "coldest");
    wait_stored(&server, 500 * 900);
    for channel in ["a", "b", "c", "d", "e", "f"] {
        post(&server, channel);
    }
    // A stop writes down all there is, so that whatever comes now is warmer than that.
    server.term();
    server.restart();
    wait_for("room", || past(&server, "coldest", 1).is_empty().then_some(()));
    wait_for("room", || (figure(&server, "stored_bytes") <= 2 << 20).then_some(()));
    post(&server, "warmest");
    server.term();
    server.restart();
    assert!(figure(&server, "stored_bytes") <= (2 << 20) + 600_000);
    assert_eq!(past(&server, "warmest", 1500), (0..500).collect::<Vec<_>>());
    assert_eq!(past(&server, "coldest", 1500), [] as [u64; 0]);
}

#[test]
fn no_history_is_kept_where_none_is_wanted() {
    let server = Server::options().args(&["--history-memory", "0"]).start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 10);
    assert_eq!(past(&server, "app", 100), [] as [u64; 0]);
    let stream = Stream::events_of(&live(&server), None);
    server.post_lines(&token, 10, 5);
    stream.wait_number(14);
    let url = live(&server);
    let again = Stream::events_of(&url, stream.last_id().as_deref());
    server.post_lines(&token, 15, 1);
    again.wait_number(15);
    assert_eq!((again.numbers(), again.told()), (vec![15], vec![]));
    assert!(!server.data_dir().join("history").exists());
}

#[test]
fn a_removed_channel_leaves_nothing_for_one_of_its_name() {
    let mut server = Server::start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 10);
    wait_stored(&server, 10 * 50);
    server.api("DELETE", "/v3/channels/app", None).expect(&[204]);
    let token = server.create_app("app");
    assert_eq!(past(&server, "app", 100), [] as [u64; 0]);
    server.post_lines(&token, 100, 2);
    for _ in 0..2 {
        assert_eq!(past(&server, "app", 100), [100, 101]);
        server.term();
        server.restart();
    }
}

// === damage ===

/// Every file of the histories' store, with its bytes.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn stopped_with_history(options: ServerOptions) -> (Server, String) {
    let mut server = options.start();
    let token = server.create_app("app");
    // Enough that some of it went from the journal into a table.
    for first in (0..15_000).step_by(500) {
        let body = padded_frames(first..first + 500, 2000);
        assert_eq!(server.post_logs(&token, &[], &body).0, 204);
    }
    wait_stored(&server, 1_000_000);
    server.term();
    (server, token)
}

/// The server starts, takes, and shows what comes, whatever became of what was.
fn works(server: &Server, token: &str) {
    let tail = Stream::lines_of(&server.create_session("app", json!({ "tail": true, "num": 1500 })));
    server.post_lines(token, 1_000_000, 3);
    tail.wait_number(1_000_002);
    let numbers = tail.numbers();
    assert!(numbers.is_sorted() && numbers.ends_with(&[1_000_000, 1_000_001, 1_000_002]), "{numbers:?}");
}

#[test]
fn a_torn_journal_costs_its_end_and_no_start() {
    let (mut server, token) = stopped_with_history(Server::options());
    let folder = server.data_dir().join("history");
    for file in files(&folder).iter().filter(|file| file.extension().is_some_and(|kind| kind == "jnl")) {
        let bytes = fs::read(file).expect("readable");
        fs::write(file, &bytes[..bytes.len() / 2 + 7]).expect("writable");
    }
    server.restart();
    works(&server, &token);
}

#[test]
fn damaged_files_are_counted_and_stop_no_start() {
    let (mut server, token) = stopped_with_history(Server::options());
    let folder = server.data_dir().join("history");
    let whole: Vec<_> =
        files(&folder).into_iter().map(|file| (fs::read(&file).expect("readable"), file)).collect();
    let mut counted = 0;
    for (bytes, file) in whole.iter().filter(|(bytes, _)| !bytes.is_empty()) {
        // One file at a time, ruined in its middle, with what the run before it left put back.
        let aside = server.data_dir().join("history.damaged");
        fs::remove_dir_all(&folder).expect("removable");
        fs::remove_dir_all(&aside).ok();
        for (bytes, file) in &whole {
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, bytes).expect("writable");
        }
        let mut ruined = bytes.clone();
        let middle = ruined.len() / 2;
        let end = (middle + 64).min(ruined.len());
        ruined[middle..end].iter_mut().for_each(|byte| *byte ^= 0xA5);
        fs::write(file, ruined).expect("writable");
        server.restart();
        works(&server, &token);
        counted += figure(&server, "damaged_records_total");
        server.term();
    }
    assert!(counted > 0, "no damage was seen in any of {} files", whole.len());
}

#[test]
fn a_store_that_is_none_is_set_aside() {
    let (mut server, token) = stopped_with_history(Server::options());
    let folder = server.data_dir().join("history");
    for file in files(&folder) {
        fs::write(file, b"this is not what it was").expect("writable");
    }
    server.restart();
    works(&server, &token);
    assert_eq!(figure(&server, "damaged_records_total"), 1);
    assert!(server.data_dir().join("history.damaged").is_dir());
    // And again: only the newest of such is kept.
    server.term();
    for file in files(&folder) {
        fs::write(file, b"").expect("writable");
    }
    server.restart();
    works(&server, &token);
}

#[test]
fn a_history_that_cannot_be_read_is_said_and_what_comes_goes_on() {
    let mut server = Server::start();
    let token = server.create_app("app");
    assert_eq!(server.post_logs(&token, &[], &padded_frames(0..1500, 2000)).0, 204);
    wait_stored(&server, 2_500_000);
    // What others write after it presses it out of the journal into a table, where it can be damaged.
    let folder = server.data_dir().join("history");
    let tables = || {
        let is_table = |file: &PathBuf| file.parent().is_some_and(|folder| folder.ends_with("tables"));
        files(&folder).into_iter().filter(is_table).collect::<Vec<_>>()
    };
    let size = |file: &PathBuf| fs::metadata(file).map_or(0, |about| about.len());
    let mut others = 0;
    wait_for("the history in a table", || {
        if tables().iter().map(size).sum::<u64>() >= 4_000_000 {
            return Some(());
        }
        if others < 12 {
            let other = server.create_app(&format!("other-{others}"));
            assert_eq!(server.post_logs(&other, &[], &padded_frames(0..1500, 2000)).0, 204);
            others += 1;
            wait_stored(&server, 2_500_000 * (others + 1));
        }
        None
    });
    server.term();
    server.restart();
    let tables = tables();
    // Under its feet, as a disk does it.
    for file in tables {
        let mut bytes = fs::read(&file).expect("readable");
        let most = bytes.len() / 10 * 8;
        bytes[..most].iter_mut().for_each(|byte| *byte ^= 0x5A);
        fs::write(&file, bytes).expect("writable");
    }
    let url = server.create_session("app", json!({ "tail": true, "num": 1500 }));
    let tail = Stream::lines_of(&format!("{url}?format=json"));
    server.post_lines(&token, 1_000_000, 3);
    let lines: Vec<Value> = {
        tail.wait_line("the newest", |line| line.contains("line 1000002"));
        tail.lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    assert_eq!(lines[0]["code"], "L15", "{}", lines[0]);
    let text = lines[0]["message"].as_str().expect("a text");
    assert!(text.starts_with("L15 (Tail buffer temporarily unavailable) -> "), "{text}");
    assert!(figure(&server, "damaged_records_total") > 0);
    // Once is enough: the next one sees what there is.
    let tail = Stream::lines_of(&server.create_session("app", json!({ "tail": false, "num": 1500 })));
    assert_eq!(
        (tail.wait_ended(), tail.numbers()),
        (StreamEnd::Clean, vec![1_000_000, 1_000_001, 1_000_002])
    );
}
