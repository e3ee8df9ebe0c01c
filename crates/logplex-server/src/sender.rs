//! How a drain's messages leave: as requests in its destination's form, through the outlet of its kind, until each
//! message is settled.
//!
//! An http request is settled by its answer. One that the peer finds too large is cut in two, in order, the notice
//! with the first half; a single message that is too large is lost. What went over syslog is settled later than the
//! next requests are written (see the outlet), and waits here: what is in flight, and 100 ms or 1 MiB after it.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::Utc;
use http::{HeaderName, HeaderValue};
use logplex_core::outlet::{Outlet, OutletConfig, Protocol, Request, Settled, Stop, SyslogOutlet};
use logplex_core::{Batch, Frames, Gap, LossReason, Notice, Part, Policy, halve};

use crate::destination::{Destination, Format};
use crate::drain::Drain;

/// One request's content until it is settled.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) parts: Vec<Part<Batch>>,
    /// What the notice ahead of the messages tells.
    pub(crate) gap: Option<Gap>,
}

impl Load {
    /// How many messages, without the notice.
    fn messages(&self) -> usize {
        self.parts.iter().map(Part::messages).sum()
    }

    /// Takes the first `count` messages out, the notice counting as one.
    fn split_to(&mut self, count: u32) -> Load {
        let gap = if count > 0 { self.gap.take() } else { None };
        let count = count as usize - usize::from(gap.is_some());
        let (first, rest) = halve(std::mem::take(&mut self.parts), count);
        self.parts = rest;
        Load { parts: first, gap }
    }
}

/// See the module's text.
pub(crate) struct Sender {
    token: Token,
    destination: Arc<Destination>,
    outlet: Kind,
    /// What is to be sent, in order; the first may be under way.
    queue: VecDeque<Load>,
    /// The request that the first of the queue goes in. Held with what it was rendered from, so that other drains
    /// find that.
    request: Option<(Request, Vec<Arc<Frames>>)>,
    /// Sent, and not yet settled.
    unsettled: VecDeque<Load>,
    size: usize,
}

/// The token that a drain is known by, ready for a head.
struct Token {
    text: String,
    value: Option<HeaderValue>,
}

impl Token {
    fn new(token: &str) -> Token {
        Token { text: token.to_owned(), value: HeaderValue::from_str(token).ok() }
    }
}

enum Kind {
    Http(Box<Outlet>),
    Syslog(Box<SyslogOutlet>),
}

impl Kind {
    fn new(destination: &Destination, config: OutletConfig) -> Kind {
        let endpoint = destination.endpoint.clone();
        match endpoint.protocol() {
            Protocol::Syslog => Kind::Syslog(Box::new(SyslogOutlet::new(endpoint, config))),
            _ => Kind::Http(Box::new(Outlet::new(endpoint, config))),
        }
    }
}

impl Sender {
    pub(crate) fn new(token: &str, destination: Arc<Destination>, config: OutletConfig) -> Sender {
        Sender {
            token: Token::new(token),
            outlet: Kind::new(&destination, config),
            destination,
            queue: VecDeque::new(),
            request: None,
            unsettled: VecDeque::new(),
            size: Policy::default().bytes,
        }
    }

    /// Sends to another place from now on, what is under way too.
    pub(crate) fn redirect(&mut self, destination: Arc<Destination>, config: OutletConfig, drain: &Drain) {
        self.leave(drain);
        let form = |of: &Destination| (of.endpoint.protocol(), of.format, of.gzip);
        if form(&self.destination) != form(&destination) {
            self.request = None;
        }
        self.outlet = Kind::new(&destination, config);
        self.destination = destination;
        self.size = Policy::default().bytes;
    }

    /// Where the requests go.
    pub(crate) fn destination(&self) -> &Arc<Destination> {
        &self.destination
    }

    /// How many bytes the next load should have: less after the peer found one too large.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Adds what is to be sent.
    pub(crate) fn push(&mut self, load: Load) {
        self.queue.push_back(load);
    }

    /// Whether there is something to send before more may be pushed.
    pub(crate) fn must_send(&self) -> bool {
        let again = matches!(&self.outlet, Kind::Syslog(outlet) if outlet.must_write());
        again || !self.queue.is_empty()
    }

    /// Sends what was pushed, until more may be. When the future is dropped, what is not settled stays and is sent by
    /// the next call, which must come after a [`Sender::redirect`].
    pub(crate) async fn send(&mut self, drain: &Drain, stop: &mut Stop) {
        while self.must_send() {
            match self.outlet {
                Kind::Http(_) => self.post(drain, stop).await,
                Kind::Syslog(_) => self.write(drain, stop).await,
            }
        }
    }

    /// Posts the first of the queue.
    async fn post(&mut self, drain: &Drain, stop: &mut Stop) {
        let (Kind::Http(outlet), Some(load)) = (&mut self.outlet, self.queue.front()) else { return };
        let (request, _) = match &mut self.request {
            Some(request) => request,
            none => none.insert(render(&self.token, &self.destination, load)),
        };
        drain.begins(load);
        let outcome = outlet.deliver(request, stop, |attempt| drain.note_attempt(&attempt)).await;
        let outcome = outcome.map(drop).map_err(|given_up| given_up.reason);
        drain.ends(outcome.is_ok());
        self.request = None;
        let Some(mut load) = self.queue.pop_front() else { return };
        let messages = load.messages();
        if outcome == Err(LossReason::TooLarge) && messages > 1 {
            self.size = (load.parts.iter().map(Part::size).sum::<usize>() / 2).max(1);
            let first = load.split_to((messages / 2) as u32 + u32::from(load.gap.is_some()));
            self.queue.push_front(load);
            self.queue.push_front(first);
            return;
        }
        if outcome.is_ok() {
            // Back to the full size by and by: one large message may have been all that was too large.
            self.size = (self.size + self.size / 16 + 1).min(Policy::default().bytes);
        }
        drain.settle(load, outcome);
    }

    /// Writes all of the queue, and again what is to be.
    async fn write(&mut self, drain: &Drain, stop: &mut Stop) {
        let Kind::Syslog(outlet) = &mut self.outlet else { return };
        while let Some(load) = self.queue.pop_front() {
            outlet.push(&render(&self.token, &self.destination, &load).0);
            if self.unsettled.is_empty() {
                drain.begins(&load);
            }
            self.unsettled.push_back(load);
        }
        // Given up or not, the outlet itself says what became of each message.
        outlet.write(stop, |attempt| drain.note_attempt(&attempt)).await.ok();
        self.settle(drain);
    }

    /// Settles what the outlet knows the fate of.
    pub(crate) fn settle(&mut self, drain: &Drain) {
        let Kind::Syslog(outlet) = &mut self.outlet else { return };
        while let Some(Settled { messages, outcome, .. }) = outlet.settled() {
            let mut left = messages;
            while left > 0
                && let Some(oldest) = self.unsettled.front_mut()
            {
                let whole = oldest.messages() as u32 + u32::from(oldest.gap.is_some());
                let count = left.min(whole);
                drain.settle(oldest.split_to(count), outcome);
                if count == whole {
                    self.unsettled.pop_front();
                }
                left -= count;
            }
            drain.ends_unanswered(outcome, self.unsettled.front());
        }
    }

    /// Watches the connection between requests. Returns when there may be something to settle. Cancel safe.
    pub(crate) async fn tend(&mut self) {
        match &mut self.outlet {
            Kind::Http(outlet) => match outlet.tend().await {},
            Kind::Syslog(outlet) => outlet.tend().await,
        }
    }

    /// Sends what is left, closes the connection in order and settles all that was sent, by the stop instant.
    pub(crate) async fn finish(&mut self, drain: &Drain, stop: &mut Stop) {
        if let Kind::Syslog(outlet) = &mut self.outlet {
            outlet.finish(stop, |attempt| drain.note_attempt(&attempt)).await;
            self.settle(drain);
        }
    }

    fn leave(&mut self, drain: &Drain) {
        if let Kind::Syslog(outlet) = &mut self.outlet {
            outlet.leave();
            self.settle(drain);
            while let Some(load) = self.unsettled.pop_back() {
                self.queue.push_front(load);
            }
        }
    }
}

/// A request with one line of our own, in the form that the destination gets; `None` if it cannot be read, which is
/// a mistake of ours.
pub(crate) fn marked(token: &str, destination: &Destination, line: &[u8]) -> Option<Request> {
    let batch = Batch::read_back(&Frames::from_messages([line]).wire(0..1), Utc::now()).ok()?;
    let load = Load { parts: vec![Part::whole(Arc::new(batch))], gap: None };
    Some(render(&Token::new(token), destination, &load).0)
}

/// The request for a load, with what it was rendered from. Its bytes are the same at every attempt.
fn render(token: &Token, destination: &Destination, load: &Load) -> (Request, Vec<Arc<Frames>>) {
    let notice = load.gap.as_ref().and_then(Notice::l10);
    let messages = (load.messages() + usize::from(notice.is_some())) as u32;
    let is_http = destination.endpoint.protocol() == Protocol::Http;
    let notice = notice.map(|notice| match (destination.format, is_http) {
        (Format::Original, true) => notice.drain_message(Utc::now()),
        (Format::Original, false) => notice.syslog_message(&token.text, Utc::now()),
        (Format::Rfc5424, _) => notice.message("heroku", Utc::now()),
    });
    let mut body = Vec::with_capacity(load.parts.len() + 1);
    body.extend(notice.map(|notice| Frames::from_messages([notice]).wire(0..1)));
    let mut rendered = Vec::new();
    match (destination.format, is_http) {
        (Format::Original, true) => {
            body.extend(load.parts.iter().map(|part| part.chunk().drain_form(part.range())));
        }
        (Format::Original, false) => {
            let mut bytes = body.pop().map_or_else(Vec::new, Vec::from);
            for part in &load.parts {
                part.chunk().write_syslog_form(part.range(), &token.text, &mut bytes);
            }
            body.push(bytes.into());
        }
        (Format::Rfc5424, _) => {
            rendered.extend(load.parts.iter().map(|part| part.chunk().strict_form()));
            let wires = load.parts.iter().zip(&rendered).map(|(part, frames)| frames.wire(part.range()));
            body.extend(wires);
        }
    }
    let mut request = Request::new(body, messages);
    if is_http {
        request.headers = headers(token, destination.format, load.gap.as_ref());
    }
    if destination.gzip && is_http {
        request.compress();
    }
    (request, rendered)
}

const DROP_COUNT: HeaderName = HeaderName::from_static("logplex-drop-count");
const LOST_COUNT: HeaderName = HeaderName::from_static("logplex-lost-count");
const DRAIN_TOKEN: HeaderName = HeaderName::from_static("logplex-drain-token");
const FORMAT: HeaderName = HeaderName::from_static("logplex-format");

fn headers(token: &Token, format: Format, gap: Option<&Gap>) -> Vec<(HeaderName, HeaderValue)> {
    let (dropped, lost) = gap.map_or((0, 0), |gap| (gap.dropped.count + gap.upstream.count, gap.lost.count));
    let mut headers = Vec::with_capacity(4);
    let value = |count| if count == 0 { HeaderValue::from_static("0") } else { HeaderValue::from(count) };
    headers.push((DROP_COUNT, value(dropped)));
    headers.push((LOST_COUNT, value(lost)));
    headers.extend(token.value.clone().map(|value| (DRAIN_TOKEN, value)));
    // Another router takes a drain's messages from `host` for ones without structured data, as the original's are,
    // unless it is told.
    headers.extend((format == Format::Rfc5424).then_some((FORMAT, HeaderValue::from_static("rfc5424"))));
    headers
}
