//! One reading of a request, or none: what a body, a header or a description could make of it in another server.

use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;

use crate::support::dialects::{DIALECTS, Verdict, check, message};
use crate::support::house::{CLIENT, POLICY};
use crate::support::http::Request;
use crate::support::shop::{CONFIG, Shop};

/// Over the policy of the case table, in which the reporting API takes its site from the query.
fn reporting() -> Shop {
    let shop = Shop::start(POLICY);
    for site in ["1", "2"] {
        shop.keygate.must(&["site", "create", site]);
        shop.keygate.must(&["access", "set", "robot", site, "write"]);
    }
    shop
}

fn post(shop: &Shop) -> Request {
    Request::new("POST", "/index.php?module=API&idSite=2")
        .header("Host", "shop.example.com")
        .header("Authorization", &format!("Bearer {}", shop.token))
}

/// What is the case for NGINX is a 403 to it: it knows no 400.
fn assert_refused(verdict: &Verdict, dialect: &str, reason: &str, what: &str) {
    let status = if dialect == "nginx" { 403 } else { 400 };
    let told = if dialect == "check" {
        serde_json::from_slice::<serde_json::Value>(&verdict.body).unwrap()["reason"].as_str().unwrap_or_default().to_owned()
    } else {
        verdict.reason().to_owned()
    };
    assert_eq!((verdict.status, told.as_str()), (status, reason), "{dialect}, {what}: {verdict:?}");
}

#[test]
fn a_body_that_some_server_reads_as_parameters_is_ambiguous() {
    let shop = reporting();
    for dialect in DIALECTS {
        let untyped = shop.ask(dialect, &post(&shop));
        assert_eq!(untyped.status, 200, "{dialect}: {untyped:?}");
        for harmless in ["text/plain", "application/octet-stream", "image/png"] {
            assert_eq!(shop.ask(dialect, &post(&shop).header("Content-Type", harmless)).status, 200, "{dialect}, {harmless}");
        }
        for content_type in [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded x",
            "application/x-www-form-urlencoded\tx",
            " application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded, text/plain",
            "text/plain, application/x-www-form-urlencoded",
            "APPLICATION/X-WWW-FORM-URLENCODED;charset=utf-8",
            "multipart/form-data; boundary=x",
            "multipart/mixed",
            "text/x-json",
            "application/json",
            "application/jsonrequest",
            "application/vnd.api+json",
        ] {
            let verdict = shop.ask(dialect, &post(&shop).header("Content-Type", content_type));
            assert_refused(&verdict, dialect, "ambiguous_query", content_type);
        }
        let twice = post(&shop).header("Content-Type", "text/plain").header("Content-Type", "application/json");
        assert_refused(&shop.ask(dialect, &twice), dialect, "ambiguous_query", "two types");
        // A rule that reads nothing of it does not mind.
        let plain = Request { target: "/orders/7".to_owned(), ..post(&shop).header("Content-Type", "application/json") };
        assert_eq!(shop.ask(dialect, &plain).status, 200, "{dialect}");
    }
}

#[test]
fn another_method_is_seen_in_every_spelling_of_its_header() {
    let shop = reporting();
    for dialect in DIALECTS {
        for name in [
            "X-HTTP-Method-Override",
            "X_HTTP_Method_Override",
            "X.HTTP.Method.Override",
            "x-http_method.override",
            "X_HTTP_Method",
            "X-Method.Override",
        ] {
            let request = shop.request().header(name, "DELETE");
            let verdict = shop.ask(dialect, &request);
            assert!(
                matches!(verdict.status, 400) || (dialect == "nginx" && verdict.status == 403),
                "{dialect}, {name}: {verdict:?}"
            );
            assert!(dialect == "check" || verdict.header("X-Auth-Status") == "400", "{dialect}, {name}: {verdict:?}");
        }
        assert_eq!(shop.ask(dialect, &shop.request().header("X-HTTP-Method-Overridden", "DELETE")).status, 200, "{dialect}");
    }
}

/// Where Envoy passes bodies on.
#[test]
fn a_body_that_was_passed_on_must_agree_and_be_whole() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let shop = reporting();
    let with = |content_type: Option<&str>, length: Option<&str>, body: &[u8]| {
        let mut request = post(&shop);
        if let Some(content_type) = content_type {
            request = request.header("Content-Type", content_type);
        }
        if let Some(length) = length {
            request = request.header("Content-Length", length);
        }
        request.body = body.to_vec();
        request
    };
    let padded = |size: usize| {
        let mut body = b"idSite=2&pad=".to_vec();
        body.resize(size, b'x');
        body
    };
    let (fits, too_large) = (padded(64 * 1024), padded(64 * 1024 + 1));
    for dialect in ["grpc", "grpc-merged"] {
        for (what, request) in [
            ("it agrees", with(Some(FORM), None, b"idSite=2&module=API")),
            ("with its length", with(Some(FORM), Some("19"), b"idSite=2&module=API")),
            ("it says nothing", with(Some(FORM), Some("3"), b"a=b")),
            ("JSON that agrees", with(Some("application/json"), None, br#"{"idSite":"2","module":"API"}"#)),
            ("JSON that is a number", with(Some("application/json"), None, br#"{"idSite":2}"#)),
            ("nothing was sent", with(Some(FORM), Some("0"), b"")),
            ("the largest that is read", with(Some(FORM), None, &fits)),
        ] {
            let verdict = shop.ask(dialect, &request);
            assert_eq!(verdict.status, 200, "{dialect}, {what}: {verdict:?}");
        }
        for (what, request) in [
            ("another site", with(Some(FORM), None, b"idSite=1")),
            ("another site behind", with(Some(FORM), None, b"idSite=2&idSite=1")),
            ("another site in PHP's spelling", with(Some(FORM), None, b"idSite[]=1")),
            ("another site in JSON", with(Some("application/json"), None, br#"{"idSite":1}"#)),
            ("two sites in JSON", with(Some("application/json"), None, br#"{"idSite":"2","idSite":"1"}"#)),
            ("not JSON", with(Some("application/json"), None, b"idSite=2")),
            ("another site without a type", with(None, None, b"idSite=1")),
            ("no length, and yet a body", with(Some(FORM), Some("0"), b"idSite=1")),
            ("no length, and yet a body that agrees", with(Some(FORM), Some("0"), b"idSite=2")),
            ("cut", with(Some(FORM), Some("20"), b"idSite=2&module=API")),
            ("not passed on", with(Some(FORM), Some("20"), b"")),
            ("too large", with(Some(FORM), None, &too_large)),
            ("many parts", with(Some("multipart/form-data; boundary=x"), None, b"--x--")),
        ] {
            assert_refused(&shop.ask(dialect, &request), dialect, "ambiguous_query", what);
        }
        let partial = with(Some(FORM), None, b"idSite=2").header("x-envoy-auth-partial-body", "true");
        assert_refused(&shop.ask(dialect, &partial), dialect, "ambiguous_query", "Envoy has cut it");
        // Too large is no error of gRPC, which Envoy might let in.
        let large = with(Some(FORM), None, &padded(8 * 1024 * 1024));
        assert_refused(&shop.ask(dialect, &large), dialect, "ambiguous_query", "8 MiB");
    }
}

#[test]
fn what_envoy_never_sends_is_no_description() {
    let shop = Shop::start(CONFIG);
    let edited = |edit: &dyn Fn(&mut HttpRequest)| {
        let mut message = message(&shop.request(), false);
        edit(message.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap());
        Verdict::of_grpc(check(shop.keygate.grpc, message, None).unwrap()).unwrap()
    };
    assert_eq!(edited(&|_| {}).status, 200);
    for (what, verdict) in [
        ("a query beside the path", edited(&|http| http.query = "a=b".to_owned())),
        ("a fragment", edited(&|http| http.fragment = "top".to_owned())),
        (
            "no path",
            edited(&|http| {
                http.path.clear();
                http.header_map = None;
            }),
        ),
        ("another path", edited(&|http| http.path = "/public/page".to_owned())),
        ("another method", edited(&|http| http.method = "POST".to_owned())),
        ("another host", edited(&|http| http.host = "other.example.com".to_owned())),
        ("another scheme", edited(&|http| http.scheme = "gopher".to_owned())),
    ] {
        assert_refused(&verdict, "grpc", "missing_description", what);
    }
    let mut empty = message(&shop.request(), false);
    empty.attributes = None;
    let verdict = Verdict::of_grpc(check(shop.keygate.grpc, empty, None).unwrap()).unwrap();
    assert_refused(&verdict, "grpc", "missing_description", "nothing at all");
}

#[test]
fn envoy_is_told_of_every_spelling_that_came() {
    let shop = Shop::start(CONFIG);
    for dialect in ["envoy", "grpc", "grpc-merged"] {
        let came = ["x_auth-account", "X-Auth_Site", "x.auth-kind", "X~Auth~Name", "x-auth-email"];
        let request = came.iter().fold(shop.request(), |request, name| request.header(name, "forged"));
        for request in [request.clone(), Request { target: "/public/page".to_owned(), ..request }] {
            let verdict = shop.ask(dialect, &request);
            assert_eq!(verdict.status, 200, "{dialect}: {verdict:?}");
            for name in came {
                let removed = verdict.removed.iter().any(|removed| removed.eq_ignore_ascii_case(name));
                assert!(removed, "{dialect}: {name} is not among {:?}", verdict.removed);
            }
        }
    }
}

#[test]
fn the_question_of_people_has_two_parameters() {
    let shop = Shop::start(CONFIG);
    let asked = |query: &str| {
        let request = Request::new("GET", &format!("/auth/check{query}")).header("Host", "localhost");
        let request = request.header("Authorization", &format!("Bearer {}", shop.token));
        Verdict::of_http(request.send(CLIENT, shop.keygate.check).unwrap())
    };
    let url = "url=http://shop.example.com/orders/7";
    for query in [format!("?{url}"), format!("?method=GET&{url}"), format!("?{url}&method=HEAD")] {
        assert_eq!(asked(&query).status, 200, "{query}");
    }
    for query in [
        String::new(),
        "?method=GET".to_owned(),
        format!("?{url}&page=2"),
        format!("?{url}&{url}"),
        format!("?method=GET&method=POST&{url}"),
        format!("?Method=GET&{url}"),
        "?url=shop.example.com/orders/7".to_owned(),
        "?url=ftp://shop.example.com/orders/7".to_owned(),
    ] {
        assert_refused(&asked(&query), "check", "missing_description", &query);
    }
}
