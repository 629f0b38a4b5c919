//! The API of the zone's provider: Gandi's LiveDNS as ACME clients use it (<https://api.gandi.net/docs/livedns/>), with its old
//! paths and its old key.

use super::Shared;
use super::zone::Zone;
use host::print;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;

/// The longest request, in bytes.
const MOST: usize = 64 << 10;

/// What a request says.
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path.
    pub path: &'a str,
    /// The token that came along, by whatever header.
    pub token: Option<&'a str>,
    /// Its body.
    pub body: &'a [u8],
}

/// A set of records, as it is sent.
#[derive(Deserialize)]
struct Records {
    rrset_values: Vec<String>,
}

/// Answer a request, and say in the log what was asked.
pub(super) async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header(AUTHORIZATION.as_str()).and_then(|value| Some(value.split_once(' ')?.1));
    let body = Limited::new(body, MOST).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let token = bearer.or_else(|| header("x-api-key"));
    let asked = Asked { method: &head.method, path: head.uri.path(), token, body: &body };
    let (status, value) = respond(&mut shared.zone(), &shared.token, &asked);
    print::err(&format!("{} {}: {status}", head.method, head.uri.path()));
    let body = if value.is_null() { Bytes::new() } else { Bytes::from(value.to_string()) };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Status and body.
pub fn respond(zone: &mut Zone, token: &str, asked: &Asked<'_>) -> (u16, Value) {
    let refuse = |status: u16, what: &str| {
        (status, json!({"object": "HTTPError", "cause": what, "code": status, "message": what}))
    };
    let path = ["/v5/livedns/", "/api/v5/"].iter().find_map(|base| asked.path.strip_prefix(base));
    let Some(path) = path else { return refuse(404, "there is no such resource") };
    match asked.token {
        None => return refuse(401, "no token came with the request"),
        Some(other) if other != token => return refuse(403, "the token is not the one of this zone"),
        Some(_) => {}
    }
    let parts: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let (["domains", domain] | ["domains", domain, ..]) = parts.as_slice() else {
        return refuse(404, "there is no such resource");
    };
    if !domain.eq_ignore_ascii_case(&zone.origin) {
        return refuse(404, "the zone is not one of this account");
    }
    let [_, _, "records", name, "TXT"] = parts.as_slice() else {
        return match parts.len() {
            2 => (200, json!({"fqdn": zone.origin, "domain_records_href": format!("{}/records", asked.path)})),
            _ => refuse(404, "only TXT records by their names are served here"),
        };
    };
    let record = |texts: &[String]| json!({"rrset_name": name, "rrset_type": "TXT", "rrset_ttl": 300, "rrset_values": texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>()});
    match *asked.method {
        Method::GET => match zone.texts(name) {
            Some(texts) => (200, record(texts)),
            None => refuse(404, "there is no such record"),
        },
        Method::PUT | Method::POST => match serde_json::from_slice::<Records>(asked.body) {
            Ok(Records { rrset_values }) => {
                let mut texts: Vec<_> = rrset_values.iter().map(|text| text.trim_matches('"').to_owned()).collect();
                texts.dedup();
                if texts.iter().any(|text| text.is_empty() || text.len() > 255 || !text.is_ascii()) {
                    return refuse(400, "a TXT record has 1 to 255 ASCII characters here");
                }
                zone.put(name, texts);
                (201, json!({"message": "DNS Record Created"}))
            }
            Err(error) => refuse(400, &error.to_string()),
        },
        Method::DELETE => {
            zone.put(name, Vec::new());
            (204, Value::Null)
        }
        _ => refuse(405, "no such method"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ask(zone: &mut Zone, method: &Method, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
        respond(zone, "right", &Asked { method, path, token, body: body.as_bytes() })
    }

    #[test]
    fn a_record_is_put_read_and_removed_with_the_token_and_by_no_other() {
        let mut zone = Zone::new("example.net", Ipv4Addr::LOCALHOST);
        let path = "/v5/livedns/domains/example.net/records/_acme-challenge.www/TXT";
        let body = r#"{"rrset_ttl": 300, "rrset_values": ["\"one\"", "two"]}"#;
        for (token, status) in [(None, 401), (Some("wrong"), 403), (Some(""), 403)] {
            assert_eq!(ask(&mut zone, &Method::PUT, path, token, body).0, status);
        }
        assert_eq!(zone.texts("_acme-challenge.www"), None);
        let right = Some("right");
        assert_eq!(ask(&mut zone, &Method::GET, path, right, "").0, 404);
        assert_eq!(ask(&mut zone, &Method::PUT, path, right, body).0, 201);
        assert_eq!(zone.texts("_acme-challenge.www").unwrap(), ["one", "two"]);
        let old = path.replace("/v5/livedns/", "/api/v5/");
        let (status, value) = ask(&mut zone, &Method::GET, &old, right, "");
        assert_eq!((status, &value["rrset_values"]), (200, &json!(["\"one\"", "\"two\""])));
        assert_eq!(ask(&mut zone, &Method::DELETE, path, right, "").0, 204);
        assert_eq!(zone.texts("_acme-challenge.www"), None);
    }

    #[test]
    fn another_zone_another_type_and_nonsense_are_refused() {
        let mut zone = Zone::new("example.net", Ipv4Addr::LOCALHOST);
        let right = Some("right");
        let ask = |zone: &mut Zone, method, path: &str, body: &str| ask(zone, method, path, right, body).0;
        let base = "/v5/livedns/domains";
        assert_eq!(ask(&mut zone, &Method::GET, &format!("{base}/example.net"), ""), 200);
        assert_eq!(ask(&mut zone, &Method::GET, &format!("{base}/example.org"), ""), 404);
        assert_eq!(ask(&mut zone, &Method::GET, &format!("{base}/example.net/records/www/A"), ""), 404);
        assert_eq!(ask(&mut zone, &Method::GET, "/", ""), 404);
        let text = format!("{base}/example.net/records/a/TXT");
        assert_eq!(ask(&mut zone, &Method::PUT, &text, "{"), 400);
        assert_eq!(ask(&mut zone, &Method::PUT, &text, r#"{"rrset_values": [""]}"#), 400);
        assert_eq!(ask(&mut zone, &Method::PATCH, &text, ""), 405);
    }
}
