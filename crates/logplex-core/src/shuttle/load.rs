//! From what was taken to the request that carries it.

use chrono::{DateTime, Utc};
use http::header::{HeaderName, HeaderValue};

use crate::outlet::Request;
use crate::{Frames, Gap, Notice, Part};

const DROP_COUNT: HeaderName = HeaderName::from_static("logplex-drop-count");
const LOST_COUNT: HeaderName = HeaderName::from_static("logplex-lost-count");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How requests are made.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// The APP-NAME of notices: that of the shuttle's own lines.
    pub(super) app: String,
    pub(super) gzip: bool,
}

impl Form {
    /// A request with the notices of `gap` ahead of the lines. Its bytes are the same at every attempt.
    pub(super) fn request(&self, parts: &[Part<Frames>], gap: Option<&Gap>, now: DateTime<Utc>) -> Request {
        let notices = gap.map(|gap| self.notices(gap, now)).unwrap_or_default();
        let lines: usize = parts.iter().map(Part::messages).sum();
        let messages = (lines + notices.len()) as u32;

        let mut body = Vec::with_capacity(parts.len() + 1);
        if !notices.is_empty() {
            let frames = Frames::from_messages(&notices);
            body.push(frames.wire(0..notices.len()));
        }
        body.extend(parts.iter().map(|part| part.chunk().wire(part.range())));
        let mut request = Request::new(body, messages);
        request.headers = self.headers(&request, gap);
        if self.gzip {
            request.compress();
        }
        request
    }

    /// The frames that tell of a gap: L12 for what was dropped, then L13 for what was lost.
    fn notices(&self, gap: &Gap, now: DateTime<Utc>) -> Vec<Vec<u8>> {
        let notices = [Notice::l12(&gap.dropped), Notice::l13(&gap.lost)];
        let line = |notice: Notice| {
            let mut message = notice.message(&self.app, now);
            message.push(b'\n');
            message
        };
        notices.into_iter().flatten().map(line).collect()
    }

    fn headers(&self, request: &Request, gap: Option<&Gap>) -> Vec<(HeaderName, HeaderValue)> {
        let gap = gap.copied().unwrap_or_default();
        let id = request.frame_id.hyphenated().to_string();
        vec![
            (DROP_COUNT, HeaderValue::from(gap.dropped.count)),
            (LOST_COUNT, HeaderValue::from(gap.lost.count)),
            (REQUEST_ID, HeaderValue::try_from(id).expect("a UUID is visible ASCII")),
        ]
    }
}
