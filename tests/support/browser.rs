//! A real browser: Debian's Chromium without a screen, driven by its `WebDriver` server (W3C `WebDriver`: JSON over HTTP).
//!
//! Every browser has a profile of its own, as new as after an installation. Both programs are stopped with the value.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    http::{Answer, Request},
    programs::{Folder, Program, free_address, from_debian, wait_for},
};

/// By which `WebDriver` names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const SPACE: &str = "\u{e00d}";

pub struct Browser {
    driver: SocketAddr,
    session: String,
    // Stopped in this order.
    _chromedriver: Program,
    _chromium: Program,
    _folder: Folder,
}

impl Browser {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments for Chromium.
    pub fn start_with(arguments: &[&str]) -> Self {
        let folder = Folder::new();
        let profile = folder.path().join("profile");
        let mut chromium = Command::new(from_debian("chromium", "chromium"));
        chromium.args([
            "--headless=new",
            // It needs what containers do not give it.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            // It asks nobody but the tests' own servers.
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-quic",
            "--disable-sync",
            "--no-default-browser-check",
            "--no-first-run",
            "--no-proxy-server",
            "--password-store=basic",
            "--remote-debugging-port=0",
        ]);
        chromium.arg(format!("--user-data-dir={}", profile.display())).args(arguments);
        let mut chromium = Program::start("chromium", &mut chromium, folder.path());
        let port_file = profile.join("DevToolsActivePort");
        chromium.wait("its port", || fs::read_to_string(&port_file).is_ok_and(|text| text.contains('\n')));
        let port = fs::read_to_string(&port_file).expect("it was there").lines().next().unwrap_or_default().to_owned();
        let address = free_address();
        let mut chromedriver = Command::new(from_debian("chromedriver", "chromium-driver"));
        let mut chromedriver =
            Program::start("chromedriver", chromedriver.arg(format!("--port={}", address.port())), folder.path());
        chromedriver.wait_listening(address);
        let options = json!({ "debuggerAddress": format!("127.0.0.1:{port}") });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options, "acceptInsecureCerts": true } } });
        let session = ask(address, "POST", "/session", &wanted)["sessionId"].as_str().expect("a session has an id").to_owned();
        Self { driver: address, session, _chromedriver: chromedriver, _chromium: chromium, _folder: folder }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        ask(self.driver, method, &format!("/session/{}{path}", self.session), body)
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    pub fn reload(&self) {
        self.ask("POST", "/refresh", &json!({}));
    }

    pub fn url(&self) -> String {
        text(self.ask("GET", "/url", &Value::Null))
    }

    pub fn title(&self) -> String {
        text(self.ask("GET", "/title", &Value::Null))
    }

    fn element(&self, css: &str) -> String {
        let found = self.ask("POST", "/element", &json!({ "using": "css selector", "value": css }));
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("{css}: {found}\n{}", self.source())).to_owned()
    }

    /// How many elements there are.
    pub fn count(&self, css: &str) -> usize {
        let found = self.ask("POST", "/elements", &json!({ "using": "css selector", "value": css }));
        found.as_array().map_or(0, Vec::len)
    }

    /// What can be read of the first one.
    pub fn text(&self, css: &str) -> String {
        text(self.ask("GET", &format!("/element/{}/text", self.element(css)), &Value::Null))
    }

    /// A property, such as the `value` of a field.
    pub fn property(&self, css: &str, name: &str) -> Value {
        self.ask("GET", &format!("/element/{}/property/{name}", self.element(css)), &Value::Null)
    }

    pub fn click(&self, css: &str) {
        self.ask("POST", &format!("/element/{}/click", self.element(css)), &json!({}));
    }

    /// Clicks on what leads to another page, and waits until that is there.
    pub fn submit(&self, css: &str) {
        self.leave(|| self.click(css));
    }

    /// Does what leads to another page, and waits until that is there.
    pub fn leave(&self, act: impl FnOnce()) {
        let page = self.element("html");
        act();
        // An element of a page that has gone is stale, which is an error.
        let path = format!("/session/{}/element/{page}/name", self.session);
        wait_for("another page", || (send(self.driver, "GET", &path, &Value::Null).0 != 200).then_some(()));
    }

    /// Waits until it has come to a page, over whatever others.
    pub fn arrive(&self, url: &str) {
        wait_for(url, || (self.url() == url).then_some(()));
    }

    pub fn fill(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.ask("POST", &format!("/element/{element}/clear"), &json!({}));
        self.ask("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Types on the keyboard, wherever the focus is.
    pub fn type_keys(&self, keys: &str) {
        let press = |key: char| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let actions: Vec<_> = keys.chars().flat_map(press).collect();
        self.ask("POST", "/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }));
    }

    /// The `id` of the element that has the focus, or its text.
    pub fn focused(&self) -> String {
        let active = self.ask("GET", "/element/active", &Value::Null);
        let element = active[ELEMENT].as_str().unwrap_or_default().to_owned();
        let id = text(self.ask("GET", &format!("/element/{element}/property/id"), &Value::Null));
        if id.is_empty() { text(self.ask("GET", &format!("/element/{element}/text"), &Value::Null)) } else { id }
    }

    /// Runs a script in the page, as the page could, and gives back what it comes to.
    pub fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/async", &json!({ "script": as_promise(script), "args": [] }))
    }

    pub fn source(&self) -> String {
        text(self.ask("GET", "/source", &Value::Null))
    }

    /// Looks at a frame of the page from now on, until another page is opened.
    pub fn enter_frame(&self, index: usize) {
        self.ask("POST", "/frame", &json!({ "id": index }));
    }

    /// The cookies that go to the page that is shown.
    pub fn cookies(&self) -> Vec<Value> {
        self.ask("GET", "/cookie", &Value::Null).as_array().cloned().unwrap_or_default()
    }

    pub fn cookie(&self, name: &str) -> Option<Value> {
        self.cookies().into_iter().find(|cookie| cookie["name"] == name)
    }

    /// Forgets them.
    pub fn forget_cookies(&self) {
        self.ask("DELETE", "/cookie", &Value::Null);
    }

    /// A command of the Chrome `DevTools` protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Makes its window as wide as the smallest phone's, or as a larger one's at twice the size.
    pub fn narrow(&self) {
        self.size(320);
    }

    fn size(&self, width: u32) {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// The whole page as it looks to somebody with this width of window and these colours.
    pub fn picture(&self, path: &Path, width: u32, colours: &str) {
        self.size(width);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [{ "name": "prefers-color-scheme", "value": colours }] }));
        let picture = self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let bytes = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("a picture is base64");
        fs::create_dir_all(path.parent().expect("a picture is in a folder")).expect("a folder can be made");
        fs::write(path, bytes).expect("a picture can be written");
        self.devtools("Emulation.clearDeviceMetricsOverride", &json!({}));
    }
}

/// The value of an expression, also of one that takes its time.
fn as_promise(script: &str) -> String {
    format!(
        "const done = arguments[arguments.length - 1]; \
         (async () => {{ {script} }})().then(done, error => done('failed: ' + error));"
    )
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => panic!("expected a text: {other}"),
    }
}

fn ask(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let (status, told) = send(driver, method, path, body);
    assert!(status == 200, "{method} {path} {body}: {told}");
    told
}

fn send(driver: SocketAddr, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut request = Request::new(method, path).header("Host", &driver.to_string());
    if !body.is_null() {
        request = request.header("Content-Type", "application/json").body(body.to_string().into_bytes());
    }
    let Answer { status, body: answer, .. } = request.send(IpAddr::V4(Ipv4Addr::LOCALHOST), driver).expect("chromedriver answers");
    let mut answer: Value = serde_json::from_slice(&answer).expect("chromedriver answers JSON");
    (status, answer["value"].take())
}
