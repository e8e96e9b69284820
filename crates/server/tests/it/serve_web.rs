//! The web app: one page for browsers, files that may be kept, and nothing else.

use server::PublicUrl;

use crate::serve_kit::TestServer;

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";

#[tokio::test]
async fn a_browser_gets_the_page_everywhere_in_the_app() {
    let server = TestServer::start().await;
    for path in ["/", "/c/01939e7c-0000-7000-8000-000000000000", "/index.html", "/anything"] {
        let answer = server.get(path, BROWSER).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && answer.text().contains("Colloquy"));
    }
}

#[tokio::test]
async fn who_is_no_browser_gets_json_or_nothing() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/", "").await.text(), "{\"message\":\"Colloquy is running\"}");
    assert_eq!(server.get("/c/1", "Accept: application/json\r\n").await.status, 404);
}

#[tokio::test]
async fn apis_never_answer_with_the_page() {
    let server = TestServer::start().await;
    let proof = format!("{BROWSER}Authorization: Bearer {}\r\n", server.running.owner_token);
    for path in ["/api/nothing", "/api", "/health/more", "/webhooks/inbound/telegram/nothing", "/auth/nothing", "/assets/gone.js"]
    {
        let answer = server.get(path, &proof).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("<html"), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_refused() {
    let server = TestServer::start().await;
    let request =
        format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n{BROWSER}Connection: close\r\n\r\n", server.address());
    let answer = server.send(&request).await;
    assert!(matches!(answer.status, 404 | 405), "{}", answer.status);
    let head = server.send(&request.replace("POST / ", "HEAD / ")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_page_that_is_known_is_not_sent_again() {
    let server = TestServer::start().await;
    let tag = server.get("/", BROWSER).await.header("etag").expect("a tag").to_owned();
    let again = server.get("/", &format!("{BROWSER}If-None-Match: {tag}\r\n")).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn files_are_packed_and_kept() {
    let server = TestServer::start().await;
    let page = server.get("/", BROWSER).await.text();
    // Without a built web app there are no files to look at; the page then says so.
    let Some(script) = page.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(".js")) else {
        assert!(page.contains("make run"), "{page}");
        return;
    };
    let plain = server.get(script, "").await;
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
    assert_eq!(plain.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(plain.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert!(plain.header("vary").is_some_and(|vary| vary.contains("accept-encoding")));
    for (accepted, encoding) in [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip;q=0.5", "gzip")] {
        let packed = server.get(script, &format!("Accept-Encoding: {accepted}\r\n")).await;
        assert_eq!((packed.status, packed.header("content-encoding")), (200, Some(encoding)), "{accepted}");
        assert!(packed.body.len() < plain.body.len());
        assert_ne!(packed.header("etag"), plain.header("etag"));
    }
    assert_eq!(server.get(&format!("{script}.br"), "").await.status, 404, "the packed file has no address of its own");
}

#[tokio::test]
async fn everything_works_with_and_without_the_prefix() {
    let public = PublicUrl { origin: "https://example.org".to_owned(), prefix: "/talk".to_owned() };
    let server = TestServer::with(|config| config.public_url = Some(public)).await;
    for path in ["/talk/health", "/health", "/talk/health?x=y"] {
        assert_eq!(server.get(path, "").await.text(), "{\"status\":\"ok\"}", "{path}");
    }
    assert_eq!(server.get("/talkative/health", "").await.status, 404);
    for path in ["/", "/talk", "/talk/", "/talk/c/1"] {
        let answer = server.get(path, BROWSER).await;
        assert_eq!(answer.status, 200, "{path}");
        let page = answer.text();
        if page.contains("colloquy-base") {
            assert!(page.contains("content=\"/talk/\"") && !page.contains("src=\"/assets"), "{page}");
        }
    }
}
