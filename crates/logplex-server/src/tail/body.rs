//! A session as the body of an answer: lines, or Server-Sent Events. A clean end of the body is the end of the session
//! for who asked for the past alone; whoever follows comes back.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::feed::{Feed, Next};

/// What a client of events hears when there is nothing to say.
const COMMENT: &str = ":\n\n";

struct Source {
    feed: Feed,
    ready: VecDeque<Bytes>,
    events: bool,
    _tracked: TaskTrackerToken,
}

/// The body, beginning with `first`. It is over when the feed is, and gives up its place when it is dropped; `tracked`
/// goes then.
pub(crate) fn body(feed: Feed, events: bool, first: &'static str, tracked: TaskTrackerToken) -> Body {
    let ready = Some(first).filter(|first| !first.is_empty()).map(Bytes::from);
    let source = Source { feed, ready: ready.into_iter().collect(), events, _tracked: tracked };
    Body::from_stream(unfold(source, |mut source| async move {
        loop {
            if let Some(bytes) = source.ready.pop_front() {
                return Some((Ok::<Bytes, Infallible>(bytes), source));
            }
            match source.feed.next().await {
                Next::Lines(lines) => source.ready.extend(lines.into_iter().map(Bytes::from)),
                Next::Quiet if source.events => source.ready.push_back(COMMENT.into()),
                // Among lines there is nothing that could be said without being one.
                Next::Quiet => {}
                Next::End(_) => return None,
            }
        }
    }))
}
