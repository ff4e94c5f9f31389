//! The pages of the portal: what a browser sees, and what somebody sees who sends forged requests.

mod admin;
mod browsing;
mod crowds;
mod factors;
mod forms;
mod keys;
mod looks;
mod overview;
mod pages;
mod round;
mod surveys;
mod trouble;
mod unconfirmed;

use std::{cell::RefCell, net::IpAddr};

use crate::support::{
    http::{Answer, Request},
    keygate::Keygate,
    redis::Server,
};

/// The password of everybody here.
pub const PASSWORD: &str = "correct horse battery staple";
/// Where browsers come from.
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 78));
const CONFIG: &str = r#"
data_dir = "./keygate-data"

[check]
listen = "127.0.0.1:9180"

[grpc]
listen = "127.0.0.1:9182"
"#;
/// Over plain http, with the protected hosts that the tests speak of.
const PLAIN: &str = r#"
[portal]
hosts = ["http://shop.localhost:8000", "http://stats.localhost"]
"#;
/// Where browsers come by TLS.
const TLS: &str = r#"
[portal]
url = "https://auth.example.com"
hosts = ["shop.example.com"]
"#;

/// A Keygate with two users, and the address of its pages.
pub struct Portal {
    pub keygate: Keygate,
    pub url: String,
}

impl Portal {
    pub fn start(section: &str) -> Self {
        Self::furnish(Keygate::start(&format!("{CONFIG}{section}")), section)
    }

    pub fn on_redis(section: &str, server: &Server) -> Self {
        let mut keygate = Keygate::prepare_on_redis(&format!("{CONFIG}{section}"), &server.url());
        keygate.restart();
        Self::furnish(keygate, section)
    }

    /// On a store with these lines more about it, which is believed for a minute after it was last in order.
    fn with_store(server: &Server, more: &str) -> Self {
        let patient = "\n[hot_path]\nmax_staleness = \"1m\"\n";
        let mut keygate = Keygate::prepare_on_redis(&format!("{CONFIG}{PLAIN}{patient}"), &server.url());
        let config = std::fs::read_to_string(keygate.config()).expect("there is a configuration");
        keygate.write_config(&config.replace("[store]", &format!("[store]\n{more}")));
        keygate.restart();
        Self::furnish(keygate, PLAIN)
    }

    fn furnish(keygate: Keygate, section: &str) -> Self {
        let long = "Wilhelmina Theodora Featherstonehaugh-Cholmondeley of the Far North-Eastern Regional Office";
        for (login, name) in [("vera", "Vera Petrova"), ("wilhelmina.theodora.featherstonehaugh-cholmondeley", long)] {
            keygate.must_with(&["account", "create", login, "--name", name, "--password-stdin"], PASSWORD);
        }
        let local = || format!("http://localhost:{}", keygate.portal.port());
        let url = if section.contains("auth.example.com") { "https://auth.example.com".to_owned() } else { local() };
        Self { keygate, url }
    }

    /// Somebody's browser, as new.
    pub fn client(&self) -> Client<'_> {
        Client { portal: self, cookies: RefCell::default() }
    }

    /// A browser in which vera is signed in.
    pub fn signed_in(&self) -> Client<'_> {
        let client = self.client();
        let answer = client.sign_in("/sign-in", "vera", PASSWORD);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/keys")), "{}", body(&answer));
        client
    }

    fn authority(&self) -> &str {
        self.url.split("//").nth(1).unwrap_or_default()
    }
}

/// Keeps cookies and fills in forms, and follows no redirect.
pub struct Client<'p> {
    portal: &'p Portal,
    cookies: RefCell<Vec<(String, String)>>,
}

impl Client<'_> {
    /// What its browser would send for a page.
    pub fn request(&self, method: &str, target: &str) -> Request {
        let request = Request::new(method, target).header("Host", self.portal.authority());
        let cookies: Vec<_> = self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if cookies.is_empty() { request } else { request.header("Cookie", &cookies.join("; ")) }
    }

    pub fn send(&self, request: &Request) -> Answer {
        let answer = request.send(HOME, self.portal.keygate.portal).expect("the portal answers");
        for set in answer.all("set-cookie") {
            let (name, value) = set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie has a name");
            self.cookies.borrow_mut().retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.borrow_mut().push((name.to_owned(), value.to_owned()));
            }
        }
        answer
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send(&self.request("GET", target))
    }

    /// Sends a form as its browser would from a page of the portal.
    pub fn post(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(&form(self.request("POST", target).header("Origin", &self.portal.url), fields))
    }

    /// The token in the form of a page.
    pub fn token(&self, page: &str) -> String {
        token_in(&self.get(page))
    }

    /// Opens the page, and sends its form.
    pub fn sign_in(&self, page: &str, login: &str, password: &str) -> Answer {
        let token = self.token(page);
        self.post(page, &[("csrf", &token), ("login", login), ("password", password)])
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.borrow().iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// The fields as the body of a request.
pub fn form(request: Request, fields: &[(&str, &str)]) -> Request {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    request.header("Content-Type", "application/x-www-form-urlencoded").body(body.into_bytes())
}

pub fn body(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).expect("a page is UTF-8")
}

pub fn token_in(answer: &Answer) -> String {
    let page = body(answer);
    let token = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    token.unwrap_or_else(|| panic!("no form in: {page}")).to_owned()
}
