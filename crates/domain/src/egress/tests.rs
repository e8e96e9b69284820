use std::net::IpAddr;

use super::{AddressNotAllowed, AllowList, ChosenBy, EgressRules, is_public};

fn rules(allow: &str) -> EgressRules {
    EgressRules::new(allow.parse().expect("a list"), Vec::new())
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn what_must_be_refused_is_refused_whoever_chose_it() {
    for text in [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "http://169.254.169.254/latest/",
        "https://169.254.169.254/latest/",
        "http://[::ffff:127.0.0.1]/",
        "https://[::ffff:127.0.0.1]/",
        "http://0x7f.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0/",
        "https://127.1/",
        "https://１２７.0.0.1/",
        "http://localhost.",
        "https://localhost/",
        "https://LOCALHOST../",
        "https://a.localhost/",
        "https://[fd00::1]/",
        "http://[fd00::1]/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:7f00:1::]/",
        "https://[::7f00:1]/",
        "https://user@host/",
        "https://user:pw@example.com/",
        "https://:pw@example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "javascript:alert(1)",
        "data:text/plain,x",
        "https://example.com:22/",
        "https://example.com:6379/",
        "https://example.com:11211/",
        "example.com",
        "//example.com/",
        "",
        "https://",
        "https://./",
        "https://exa mple.com/",
    ] {
        for chosen_by in [ChosenBy::Admin, ChosenBy::Other] {
            assert_eq!(rules("").check_url(text, chosen_by), Err(AddressNotAllowed), "{text} {chosen_by:?}");
        }
    }
    assert!(rules("").check_url(&format!("https://example.com/{}", "x".repeat(9000)), ChosenBy::Admin).is_err());
}

#[test]
fn public_hosts_are_allowed_and_plain_http_only_by_an_administrators_hand() {
    for text in ["https://example.com", "https://example.com:8443/a?b#c", "https://1.1.1.1/", "https://[2606:4700::1111]/"] {
        assert!(rules("").check_url(text, ChosenBy::Other).is_ok(), "{text}");
    }
    assert!(rules("").check_url("http://example.com/hook", ChosenBy::Admin).is_ok());
    assert_eq!(rules("").check_url("http://example.com/hook", ChosenBy::Other), Err(AddressNotAllowed));
    assert_eq!(rules("").check_url("http://93.184.216.34/", ChosenBy::Other), Err(AddressNotAllowed));
    let target = rules("").check_url("https://EXAMPLE.com/a?b#c", ChosenBy::Other).expect("allowed");
    assert_eq!((target.url().as_str(), target.host(), target.port()), ("https://example.com/a?b", "example.com", 443));
    assert_eq!(format!("{target:?}"), "Target(https://example.com:443)", "no path, no query");
}

#[test]
fn an_exception_is_an_exact_pair_of_host_and_port() {
    let rules = rules("127.0.0.1:9000, agent.internal:80,[::1]:9001");
    for (text, expected) in [
        ("http://127.0.0.1:9000/hook", true),
        ("http://0x7f.1:9000/hook", true),
        ("http://AGENT.internal/hook", true),
        ("http://[::1]:9001/", true),
        ("http://127.0.0.1:9001/", false),
        ("http://127.0.0.2:9000/", false),
        ("http://localhost:9000/", false),
        ("http://[::ffff:127.0.0.1]:9000/", false),
        ("http://user@127.0.0.1:9000/", false),
        ("ftp://127.0.0.1:9000/", false),
    ] {
        let checked = rules.check_url(text, ChosenBy::Other);
        assert_eq!(checked.is_ok(), expected, "{text}");
        if let Ok(target) = checked {
            assert_eq!(rules.check_addresses(&target, &ips(&["10.0.0.1"]), |_| true), Ok(()), "{text}");
        }
    }
    for entry in ["localhost", "localhost:", "a:b", "a:0", "http://a:80", "a/b:80", "u@a:80", "a:99999", ":80"] {
        assert!(entry.parse::<AllowList>().is_err(), "{entry}");
    }
    assert_eq!(" , ".parse(), Ok(AllowList::default()));
}

#[test]
fn one_private_address_among_public_ones_forbids_the_name() {
    let rules = rules("");
    let target = rules.check_url("https://example.com/", ChosenBy::Other).expect("allowed");
    let check = |texts: &[&str]| rules.check_addresses(&target, &ips(texts), |_| false).is_ok();
    assert!(check(&["93.184.216.34", "2606:2800:220:1::1"]));
    assert!(!check(&["93.184.216.34", "10.0.0.7"]));
    assert!(!check(&["93.184.216.34", "::ffff:192.168.1.1"]));
    assert!(!check(&[]), "a name that stands for nothing cannot be called");
}

#[test]
fn the_servers_own_addresses_are_forbidden_on_its_own_ports() {
    let own = vec!["9.9.9.9:8000".parse().expect("address"), "[::]:8001".parse().expect("address")];
    let check = |rules: &EgressRules, url: &str, ip: &str, here: bool| {
        rules.check_url(url, ChosenBy::Other).and_then(|target| rules.check_addresses(&target, &ips(&[ip]), |_| here)).is_ok()
    };
    let rules = EgressRules::new(AllowList::default(), own.clone());
    assert!(!check(&rules, "https://a.example:8000/", "9.9.9.9", false));
    assert!(!check(&rules, "https://a.example:8000/", "::ffff:9.9.9.9", false));
    assert!(!check(&rules, "https://9.9.9.9:8000/", "9.9.9.9", false));
    assert!(check(&rules, "https://a.example:8443/", "9.9.9.9", false));
    assert!(!check(&rules, "https://a.example:8001/", "8.8.8.8", true), "listening on every address of the machine");
    assert!(check(&rules, "https://a.example:8001/", "8.8.8.8", false));
    let rules = EgressRules::new("a.example:8000".parse().expect("a list"), own);
    assert!(check(&rules, "https://a.example:8000/", "9.9.9.9", false), "except by the list");
}

#[test]
fn ranges_begin_and_end_where_they_should() {
    for (text, public) in [
        ("0.255.255.255", false),
        ("1.0.0.0", true),
        ("9.255.255.255", true),
        ("10.0.0.0", false),
        ("11.0.0.0", true),
        ("100.63.255.255", true),
        ("100.64.0.0", false),
        ("100.127.255.255", false),
        ("100.128.0.0", true),
        ("127.255.255.255", false),
        ("169.254.0.0", false),
        ("169.255.0.0", true),
        ("172.15.255.255", true),
        ("172.16.0.0", false),
        ("172.31.255.255", false),
        ("172.32.0.0", true),
        ("192.0.0.255", false),
        ("192.0.1.0", true),
        ("192.0.2.9", false),
        ("192.88.99.1", false),
        ("192.168.255.255", false),
        ("192.169.0.0", true),
        ("198.17.255.255", true),
        ("198.18.0.0", false),
        ("198.19.255.255", false),
        ("198.20.0.0", true),
        ("198.51.100.1", false),
        ("203.0.113.1", false),
        ("223.255.255.255", true),
        ("224.0.0.0", false),
        ("240.0.0.0", false),
        ("255.255.255.255", false),
        ("::", false),
        ("::1", false),
        ("::8.8.8.8", true),
        ("::10.0.0.1", false),
        ("::ffff:8.8.8.8", true),
        ("::ffff:10.0.0.1", false),
        ("64:ff9b::8.8.8.8", true),
        ("64:ff9b::10.0.0.1", false),
        ("64:ff9b:1::1", false),
        ("2002:808:808::1", true),
        ("2002:a00:1::1", false),
        ("2001::1", false),
        ("2001:db8::1", false),
        ("2001:4860:4860::8888", true),
        ("2606:4700::1111", true),
        ("3fff::1", false),
        ("fc00::1", false),
        ("fdff::1", false),
        ("fe80::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
        ("100::1", false),
    ] {
        assert_eq!(is_public(text.parse().expect("an address")), public, "{text}");
    }
}
