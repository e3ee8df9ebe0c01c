use super::*;

const PROBE_AFTER: Duration = Duration::from_secs(60);

fn health() -> Health {
    Health::new("d.1", PROBE_AFTER)
}

/// A request with one attempt that is answered so.
fn answered(health: &mut Health, status: u16) {
    let status = StatusCode::from_u16(status).unwrap();
    health.begin(None);
    health.attempted(Ok(status), None, Utc::now());
    health.settled(status.is_success());
}

fn unanswered(health: &mut Health) {
    health.begin(None);
    health.attempted(Err(&AttemptError::TimedOut(Duration::from_secs(5))), None, Utc::now());
    health.settled(false);
}

fn lines(health: &mut Health) -> Vec<String> {
    health.take_lines().into()
}

/// How long until the next probe, in seconds.
fn probe_in(health: &Health) -> f64 {
    (health.probe_at().expect("in quarantine") - Instant::now()).as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn refusals_in_a_row_lead_to_quarantine_and_the_first_delivery_out_of_it() {
    let mut health = health();
    for _ in 1..REFUSALS {
        answered(&mut health, 404);
        assert_eq!(health.probe_at(), None);
    }
    answered(&mut health, 403);
    let [line] = lines(&mut health).try_into().expect("one line");
    let (start, pause) = line.rsplit_once("; next probe in ").expect("it says when");
    assert_eq!(start, "Drain d.1 quarantined: 8 requests in a row were refused, last 403 Forbidden");
    assert_eq!(pause, format!("{} s", probe_in(&health).round()));

    // Pauses double up to an hour, a tenth more or less, and nobody is told of each.
    for expected in [120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0] {
        answered(&mut health, 403);
        let pause = probe_in(&health);
        assert!((expected * 0.89..expected * 1.11).contains(&pause), "{pause} for {expected}");
    }
    unanswered(&mut health);
    assert!(health.seen().quarantined && health.is_told());

    tokio::time::advance(Duration::from_secs(61)).await;
    answered(&mut health, 204);
    assert_eq!(lines(&mut health), ["Drain d.1 out of quarantine after 61 s: it delivers again"]);
    assert!(!health.seen().quarantined);
    // Another eight are needed for the next.
    answered(&mut health, 403);
    assert_eq!((health.probe_at(), lines(&mut health).len()), (None, 0));
}

#[test]
fn only_refusals_in_a_row_count() {
    let others: [fn(&mut Health); 4] = [
        |health| answered(health, 204),
        |health| answered(health, 503),
        |health| answered(health, 413),
        unanswered,
    ];
    for between in others {
        let mut health = health();
        for _ in 1..REFUSALS {
            answered(&mut health, 410);
        }
        between(&mut health);
        answered(&mut health, 410);
        assert_eq!(health.probe_at(), None);
    }
    let mut health = health();
    for _ in 0..REFUSALS {
        answered(&mut health, 301);
    }
    assert!(health.probe_at().is_some());
}

#[test]
fn whoever_resumes_begins_afresh() {
    let mut health = health();
    for _ in 0..REFUSALS {
        answered(&mut health, 401);
    }
    lines(&mut health);
    health.forgive("it was resumed");
    assert_eq!(lines(&mut health), ["Drain d.1 out of quarantine after 0 s: it was resumed"]);
    health.forgive("it was resumed");
    assert!(health.is_told() && health.probe_at().is_none());
}

#[test]
fn an_answer_is_final_if_the_like_will_not_be_taken_either() {
    let of = |range: std::ops::Range<u16>| -> Vec<u16> {
        range.filter(|status| !is_final(StatusCode::from_u16(*status).unwrap())).collect()
    };
    assert_eq!(of(300..500), [408, 413, 425, 429]);
    assert_eq!(of(200..300).len() + of(500..600).len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_shows() {
    let mut health = health();
    let now = Utc::now();
    health.begin(Some(now));
    let seen = health.seen();
    assert_eq!((seen.delivering, seen.retrying, seen.oldest), (true, false, Some(now)));

    health.attempted(Ok(StatusCode::SERVICE_UNAVAILABLE), Some(Duration::from_secs(5)), now);
    let seen = health.seen();
    assert_eq!((seen.retrying, seen.last_status), (true, Some(503)));
    assert_eq!(seen.last_error.as_deref(), Some("the peer answered 503 Service Unavailable"));
    assert_eq!(seen.next_try, Some(Instant::now() + Duration::from_secs(5)));
    assert_eq!((seen.last_attempt_at, seen.last_delivered_at), (Some(now), None));

    let timed_out = AttemptError::TimedOut(Duration::from_secs(5));
    health.attempted(Err(&timed_out), None, now);
    let seen = health.seen();
    assert_eq!((seen.last_error.as_deref(), seen.last_status), (Some("no answer within 5s"), Some(503)));

    health.attempted(Ok(StatusCode::NO_CONTENT), None, now);
    health.settled(true);
    let seen = health.seen();
    assert_eq!((seen.last_error, seen.last_status, seen.last_delivered_at), (None, Some(204), Some(now)));
    assert!(!seen.delivering && seen.oldest.is_none());
}

#[test]
fn untold_lines_are_bounded() {
    let mut health = health();
    for _ in 0..LINES_MAX {
        for _ in 0..REFUSALS {
            answered(&mut health, 403);
        }
        health.forgive("it was resumed");
    }
    let lines = lines(&mut health);
    assert_eq!((lines.len(), lines[0].contains("quarantined:")), (LINES_MAX, true));
}
