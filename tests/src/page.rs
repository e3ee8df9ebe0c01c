//! The web page as someone uses it.

use std::ops::Deref;

use serde_json::json;

use crate::browser::Browser;
use crate::relay::Relay;
use crate::server::{API_KEY, Server};
use crate::wait::wait_for;

/// A browser that shows the page.
#[derive(Debug)]
pub struct Page {
    browser: Browser,
}

impl Page {
    /// The page at this address, with nobody logged in.
    ///
    /// # Panics
    /// When there is no browser, or no answer.
    #[track_caller]
    pub fn open(address: &str) -> Page {
        let browser = Browser::start();
        browser.go(address);
        Page { browser }
    }

    /// As [`Page::open`]; then someone logs in, and follows the first channel.
    ///
    /// # Panics
    /// As [`Page::open`], and when that is refused.
    #[track_caller]
    pub fn follow(address: &str) -> Page {
        let page = Page::open(address);
        page.enter("#key", API_KEY);
        page.wait_text("#state", "following");
        page
    }

    /// As [`Page::follow`], of a new server with one channel behind a relay, so that its connections can be cut. Returns
    /// the server, the relay, a token of the channel, and the page.
    ///
    /// # Panics
    /// As [`Page::follow`] does.
    #[track_caller]
    pub fn follow_over_relay(channel: &str) -> (Server, Relay, String, Page) {
        let (server, relay) = (Server::start(), Relay::start());
        let token = server.create_app(channel);
        relay.forward_to(server.address());
        let page = Page::follow(&format!("{}/", relay.url()));
        (server, relay, token, page)
    }

    /// Chooses another channel.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn choose(&self, channel: &str) {
        let script = "
            const select = document.getElementById('channel');
            select.value = arguments[0];
            select.dispatchEvent(new Event('change'))";
        self.run(script, vec![json!(channel)]);
    }

    /// One of the counts at its foot: received, shown, waiting, skipped or dropped.
    ///
    /// # Panics
    /// When it does not show such a count.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        let text = self.run("return document.getElementById(arguments[0]).textContent", vec![json!(name)]);
        text.as_str().expect("a text").replace(',', "").parse().expect("a number")
    }

    /// Waits until a count is this.
    ///
    /// # Panics
    /// When it does not become so.
    #[track_caller]
    pub fn wait_count(&self, name: &str, expected: u64) {
        wait_for(&format!("{expected} {name}"), || (self.count(name) == expected).then_some(()));
    }

    /// The texts of the rows in the document, from the top. The first row says what is ahead of all lines.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn rows(&self) -> Vec<String> {
        let script = "
            const rows = [...document.querySelectorAll('#canvas [role=row]:not([hidden])')];
            return rows.map((row) => row.querySelector('.text').textContent);";
        let rows = self.run(script, Vec::new());
        let text = |row: &serde_json::Value| row.as_str().expect("a text").to_owned();
        rows.as_array().expect("a list").iter().map(text).collect()
    }

    /// The numbers of the numbered lines among the rows.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn numbers(&self) -> Vec<u64> {
        let number = |row: &String| row.strip_prefix("line ")?.split(' ').next()?.parse().ok();
        self.rows().iter().filter_map(number).collect()
    }

    /// A number as the page writes it, such as `1,101`.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn written(&self, number: u64) -> String {
        let text = self.run("return arguments[0].toLocaleString('en')", vec![json!(number)]);
        text.as_str().expect("a text").to_owned()
    }
}

impl Deref for Page {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}
