//! `GET /v3/top`: the channels with the most of something, measured over a moment.
//!
//! Nothing is counted for it while nobody asks: all channels are looked at twice, one short lock after the other,
//! beside the runtime's workers, and of them as many are kept as were asked for. What is remembered of each in between
//! is three words, a few MiB for 100,000 channels, so that few may ask at a time.

use std::cmp::{Ordering, Reverse};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use chrono::{SecondsFormat, Utc};
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::App;
use super::auth::ApiKey;
use super::management::{Answer, PAGE_MAX, blocking, error, refused};
use crate::channel::{Channel, Figures};
use crate::tasks::AtWork;

/// How many may be measuring at a time.
pub(crate) const PLACES: usize = 4;

const DEFAULT_N: usize = 20;

/// How long is measured, in seconds.
const DEFAULT_SECONDS: f64 = 1.0;
pub(crate) const SECONDS: RangeInclusive<f64> = 0.1..=30.0;

/// The most channels in an answer.
pub(crate) const N_MAX: usize = PAGE_MAX;

/// How many codes are named of a channel.
const CODES: usize = 5;

#[derive(Deserialize)]
pub(super) struct TopQuery {
    n: Option<String>,
    sort: Option<String>,
    seconds: Option<String>,
}

/// What comes first; what is equal in it goes by what came in, then by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    #[default]
    Rate,
    // Messages dropped and lost.
    Lost,
    // Messages with a code.
    Codes,
    Name,
}

/// A channel at the second look, and what it took and delivered since the first.
#[derive(Debug)]
struct Row {
    channel: Arc<Channel>,
    figures: Figures,
    taken: u64,
    delivered: u64,
}

/// What all channels took and delivered, until the first look.
type Before = Vec<(Arc<Channel>, u64, u64)>;

pub(super) async fn get_top(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Query(query): Query<TopQuery>,
    connection: Option<Extension<AtWork>>,
) -> Answer {
    let bad = |text: String| error(StatusCode::BAD_REQUEST, &text);
    let n = match query.n.as_deref().map(str::parse) {
        None => DEFAULT_N,
        Some(Ok(n @ 1..=N_MAX)) => n,
        Some(_) => return Err(bad(format!("'n' must be a number from 1 to {N_MAX}"))),
    };
    let sort = match query.sort.as_deref().map(|name| Sort::from_str(name, false)) {
        None => Sort::default(),
        Some(Ok(sort)) => sort,
        Some(Err(_)) => return Err(bad("'sort' must be rate, lost, codes or name".to_owned())),
    };
    let seconds = match query.seconds.as_deref().map(str::parse) {
        None => DEFAULT_SECONDS,
        Some(Ok(seconds)) if SECONDS.contains(&seconds) => seconds,
        Some(_) => {
            let (least, most) = SECONDS.into_inner();
            return Err(bad(format!("'seconds' must be a number from {least} to {most}")));
        }
    };
    let unavailable = |text| error(StatusCode::SERVICE_UNAVAILABLE, text);
    let place = app.tops.try_acquire().map_err(|_| unavailable("too many are measuring; ask again"))?;
    // A stop waits for requests, but not for who only watches.
    let (_tracked, stopped) = app.tails.adopt();
    if let Some(Extension(at_work)) = connection {
        at_work.rest();
    }
    let began = Instant::now();
    let looking = app.clone();
    let before = blocking(move || Ok(look(&looking))).await.map_err(refused)?;
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => {}
        () = stopped.cancelled() => return Err(unavailable("the server is stopping")),
    }
    let seconds = began.elapsed().as_secs_f64();
    let answer = blocking(move || Ok(rank(before, sort, n, seconds))).await.map_err(refused)?;
    drop(place);
    Ok(axum::Json(answer).into_response())
}

fn look(app: &App) -> Before {
    let figures = |channel: Arc<Channel>| {
        let figures = channel.figures()?;
        Some((channel, figures.accepted, figures.delivered))
    };
    app.hub.channels().into_iter().filter_map(figures).collect()
}

/// Looks again, and makes the answer.
fn rank(before: Before, sort: Sort, n: usize, seconds: f64) -> Value {
    let (mut total, mut taken, mut delivered, mut channels) = (Figures::default(), 0, 0, 0);
    let mut rows: Vec<Row> = Vec::new();
    let keep_first = |rows: &mut Vec<Row>| {
        if rows.len() > n {
            rows.select_nth_unstable_by(n, |one, other| order(sort, one, other));
            rows.truncate(n);
        }
    };
    for (channel, accepted_before, delivered_before) in before {
        let Some(figures) = channel.figures() else { continue };
        // What a drain delivered goes with it when it is removed.
        let row = Row {
            taken: figures.accepted - accepted_before,
            delivered: figures.delivered.saturating_sub(delivered_before),
            channel,
            figures,
        };
        (taken, delivered, channels) = (taken + row.taken, delivered + row.delivered, channels + 1);
        total.add(&row.figures);
        rows.push(row);
        if rows.len() > 2 * n + 64 {
            keep_first(&mut rows);
        }
    }
    keep_first(&mut rows);
    rows.sort_unstable_by(|one, other| order(sort, one, other));
    let mut total = as_json(&total, taken, delivered, seconds);
    total["channels"] = channels.into();
    let rows = rows.iter().map(|row| {
        let mut codes = row.channel.code_counts();
        codes.sort_by_key(|(_, count)| Reverse(*count));
        codes.truncate(CODES);
        let code =
            |(code, count): &(logplex_core::ErrorCode, u64)| json!({ "code": code.as_str(), "count": count });
        let mut json = as_json(&row.figures, row.taken, row.delivered, seconds);
        json["channel"] = (*row.channel.id).into();
        json["codes"] = codes.iter().map(code).collect();
        json
    });
    json!({
        "at": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "seconds": rounded(seconds),
        "total": total,
        "channels": rows.collect::<Value>(),
    })
}

fn order(sort: Sort, one: &Row, other: &Row) -> Ordering {
    let key = |row: &Row| match sort {
        Sort::Rate | Sort::Name => 0,
        Sort::Lost => row.figures.dropped + row.figures.lost,
        Sort::Codes => row.figures.coded,
    };
    let by_rate = |row: &Row| (Reverse(key(row)), Reverse(row.taken), Reverse(row.delivered));
    let by_name = || one.channel.id.cmp(&other.channel.id);
    match sort {
        Sort::Name => by_name(),
        _ => by_rate(one).cmp(&by_rate(other)).then_with(by_name),
    }
}

fn as_json(figures: &Figures, taken: u64, delivered: u64, seconds: f64) -> Value {
    let a_second = |count: u64| rounded(count as f64 / seconds);
    json!({
        "in": taken,
        "in_per_second": a_second(taken),
        "out": delivered,
        "out_per_second": a_second(delivered),
        "accepted": figures.accepted,
        "delivered": figures.delivered,
        "dropped": figures.dropped,
        "lost": figures.lost,
        "held": figures.held,
        "drains": figures.drains,
        "tails": figures.tails,
        "coded": figures.coded,
    })
}

/// To thousandths.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
