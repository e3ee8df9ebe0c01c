//! What a test's script says of a request.

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With a status and header fields. `Connection: close` among them closes the connection after it.
    Status(u16, Vec<(String, String)>),
    /// Not before [`Sink::release`](super::Sink::release), then as that says.
    Hold,
    /// Never, until either side closes.
    Hang,
    /// By a reset (RST) once the request is read.
    Reset,
    /// Taken as with this status, but a reset loses the answer: the sender cannot know.
    Lose(u16),
    /// By closing the connection before the request is read.
    CloseBeforeRead,
}

impl Answer {
    /// A status without header fields.
    pub fn status(status: u16) -> Answer {
        Answer::Status(status, Vec::new())
    }

    /// A status with header fields.
    pub fn with(status: u16, headers: &[(&str, &str)]) -> Answer {
        let owned = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Answer::Status(status, owned.collect())
    }
}

impl Default for Answer {
    /// 204, as from a peer that is well.
    fn default() -> Answer {
        Answer::status(204)
    }
}
