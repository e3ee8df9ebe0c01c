//! The web page as it is served: from the binary, complete, and with a policy that lets nothing else in.

use logplex_tests::Server;

/// The addresses in a text that stand behind one of these marks.
fn named(text: &str, marks: &[&str]) -> Vec<String> {
    let behind = |mark: &&str| -> Vec<String> {
        let parts = text.split(mark).skip(1);
        parts.filter_map(|part| part.split('"').next()).map(str::to_owned).collect()
    };
    marks.iter().flat_map(behind).collect()
}

#[test]
fn the_page_and_all_it_names_come_from_the_binary() {
    let server = Server::start();
    let page = server.call("GET", "/", &[], b"").expect(&[200]);
    assert_eq!(page.headers.get("content-type"), Some("text/html; charset=utf-8"));
    let mut wanted: Vec<String> = named(&page.text(), &["src=\"", "stylesheet\" href=\""]);
    let mut seen: Vec<String> = Vec::new();
    while let Some(path) = wanted.pop() {
        if seen.contains(&path) {
            continue;
        }
        let file = server.call("GET", &format!("/{path}"), &[], b"").expect(&[200]);
        let content_type = if path.ends_with(".css") { "text/css" } else { "text/javascript" };
        assert_eq!(file.headers.get("content-type"), Some(format!("{content_type}; charset=utf-8").as_str()));
        wanted.extend(named(&file.text(), &["from \"./"]).iter().map(|name| format!("page/{name}")));
        // The one address of another host is a name of XML's.
        let text = file.text().replace("http://www.w3.org/2000/svg", "");
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("innerHTML"),
            "{path}"
        );
        seen.push(path);
    }
    assert!(seen.len() >= 10, "{seen:?}");
    server.call("GET", "/page/other.js", &[], b"").expect(&[404]);
    assert!(server.stdout().iter().any(|line| *line == format!("the page is at {}", server.url(""))));
}

#[test]
fn nothing_else_is_let_in_and_nothing_is_sent_twice() {
    let server = Server::start();
    for path in ["/", "/page/main.js", "/page/style.css"] {
        let file = server.call("GET", path, &[], b"").expect(&[200]);
        let policy = file.headers.get("content-security-policy").expect("a policy").to_owned();
        let rules: Vec<&str> = policy.split(';').map(str::trim).collect();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(rules.contains(&rule), "{rule}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(file.headers.get(name), Some(value), "{path}");
        }
        let tag = file.headers.get("etag").expect("a tag").to_owned();
        let again = server.call("GET", path, &[("If-None-Match", &tag)], b"").expect(&[304]);
        assert!(again.body.is_empty());
        server.call("GET", path, &[("If-None-Match", "\"another\"")], b"").expect(&[200]);
    }
}
