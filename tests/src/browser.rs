//! Debian's Chromium without a window, driven over WebDriver.

use std::process::{Command, Stdio};
use std::time::Duration;

use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::process::Process;
use crate::wait::{DEADLINE, poll_until, wait_for};

/// A browser with one tab, on a fresh profile. Dropping it ends it.
///
/// It reaches nothing but loopback, whatever a page asks for, and each thing that a page does wrong on the way (an
/// error, a request that the page's policy forbids) is kept for [`Browser::problems`].
#[derive(Debug)]
pub struct Browser {
    runtime: Runtime,
    client: Client,
    _driver: Process,
    _profile: TempDir,
}

/// A command of Chromium's own that WebDriver does not have.
#[derive(Debug)]
struct Own {
    path: &'static str,
    body: Value,
}

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    /// When Chromium or its driver is missing or does not start.
    #[track_caller]
    pub fn start() -> Browser {
        let profile = TempDir::new().expect("a temporary folder can be made");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", profile.path()).stdin(Stdio::null());
        let mut driver = Process::start("chromedriver", command);
        let port: u16 = wait_for("chromedriver's port", || {
            let port = driver.stdout.find_map(|line| {
                line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
            });
            let ended = driver.try_wait();
            assert!(port.is_some() || ended.is_none(), "chromedriver ended at once: {ended:?}");
            port
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let started = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities(&profile));
            tokio::time::timeout(DEADLINE, builder.connect(&format!("http://127.0.0.1:{port}"))).await
        });
        let client = started.expect("Chromium starts in time").expect("Chromium starts");
        Browser { runtime, client, _driver: driver, _profile: profile }
    }

    /// Goes to an address and waits until it is loaded.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.wait(self.client.goto(url));
    }

    /// Opens another tab and turns to it; the name of the one that was shown, for [`Browser::to_tab`].
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn open_tab(&self) -> WindowHandle {
        self.wait(async {
            let shown = self.client.window().await?;
            let opened = self.client.new_window(true).await?.handle;
            self.client.switch_to_window(opened).await?;
            Ok::<_, CmdError>(shown)
        })
    }

    /// Turns to another tab.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn to_tab(&self, tab: &WindowHandle) {
        self.wait(self.client.switch_to_window(tab.clone()));
    }

    /// The address it shows.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn address(&self) -> String {
        self.wait(self.client.current_url()).to_string()
    }

    /// Loads the page again.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn reload(&self) {
        self.wait(self.client.refresh());
    }

    /// What a function's body returns that is run in the page, with these `arguments`.
    ///
    /// # Panics
    /// When it throws.
    #[track_caller]
    pub fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.wait(self.client.execute(script, arguments))
    }

    /// Waits until the value of an expression in the page is one of which `find` gives something.
    ///
    /// # Panics
    /// When that does not come; the message has the last value.
    #[track_caller]
    pub fn wait_value<T>(&self, what: &str, expression: &str, find: impl Fn(&Value) -> Option<T>) -> T {
        let script = format!("return {expression}");
        let mut last = Value::Null;
        let found = poll_until(DEADLINE, || {
            last = self.run(&script, Vec::new());
            find(&last)
        });
        found.unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain for {what}; {expression} is {last}"))
    }

    /// Waits until an expression in the page is true.
    ///
    /// # Panics
    /// When it does not become so.
    #[track_caller]
    pub fn wait_true(&self, expression: &str) {
        self.wait_value("it to be true", expression, |value| (*value == true).then_some(()));
    }

    /// The text of an element as it is shown; waits for the element.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn text(&self, css: &str) -> String {
        self.wait(async { self.client.find(Locator::Css(css)).await?.text().await })
    }

    /// Waits until an element's shown text has a part.
    ///
    /// # Panics
    /// When it does not get it.
    #[track_caller]
    pub fn wait_text(&self, css: &str, part: &str) -> String {
        let expression = format!("document.querySelector({})?.innerText ?? null", json!(css));
        self.wait_value(&format!("{part:?}"), &expression, |value| {
            value.as_str().filter(|text| text.contains(part)).map(str::to_owned)
        })
    }

    /// Clicks on an element.
    ///
    /// # Panics
    /// When it is not there, or something is in front of it.
    #[track_caller]
    pub fn click(&self, css: &str) {
        self.wait(async { self.client.find(Locator::Css(css)).await?.click().await });
    }

    /// Types into an element what it then holds, with Enter at the end.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn enter(&self, css: &str, text: &str) {
        self.wait(async {
            let element = self.client.find(Locator::Css(css)).await?;
            element.clear().await?;
            element.send_keys(&format!("{text}{}", char::from(Key::Enter))).await
        });
    }

    /// Presses keys where the focus is.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        self.wait(async { self.client.active_element().await?.send_keys(keys).await });
    }

    /// Makes the window as large as this, in CSS pixels.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    /// Whether the reader's system asks for dark colours.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn set_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    /// What a command of Chromium's DevTools protocol answers.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn devtools(&self, method: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": method, "params": parameters });
        self.wait(self.client.issue_cmd(Own { path: "goog/cdp/execute", body }))
    }

    /// What the page did wrong since the last time, in the browser's words.
    ///
    /// # Panics
    /// When the browser is gone.
    #[track_caller]
    pub fn problems(&self) -> Vec<String> {
        let body = json!({ "type": "browser" });
        let entries = self.wait(self.client.issue_cmd(Own { path: "se/log", body }));
        let text = |entry: &Value| format!("{} {}", entry["level"], entry["message"]);
        entries.as_array().expect("a list of what was logged").iter().map(text).collect()
    }

    #[track_caller]
    fn wait<T, E: std::fmt::Debug>(&self, asked: impl Future<Output = Result<T, E>>) -> T {
        let answered = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, asked).await });
        answered.expect("the browser answers in time").expect("the browser does it")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Whom the driver started goes with it, but in order only when it is asked.
        let close = self.client.clone().close();
        drop(self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), close).await }));
    }
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

fn capabilities(profile: &TempDir) -> Capabilities {
    let arguments = json!([
        "--headless=new",
        // Tests may run as root, where Chromium has no sandbox.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--no-proxy-server",
        "--lang=en-US",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--window-size=1280,800",
        format!("--user-data-dir={}", profile.path().display()),
    ]);
    let wanted = json!({
        "browserName": "chrome",
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    });
    wanted.as_object().cloned().expect("it is an object")
}
