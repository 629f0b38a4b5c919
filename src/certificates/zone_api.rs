//! The API of the zone's provider, as its client: where the answer to a challenge is put.

use super::API;
use std::time::Duration;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a record may be kept by resolvers, in seconds: the least that Gandi allows.
const TTL: u32 = 300;

/// A zone at its provider.
pub(super) struct ZoneApi {
    agent: ureq::Agent,
    zone: String,
    token: String,
}

impl ZoneApi {
    /// The API, whose server is trusted by this root (PEM), or as this host trusts any.
    pub(super) fn new(root: Option<&str>, zone: &str, token: &str) -> Result<Self, String> {
        let agent = super::agent(root, LIMIT).map_err(|error| error.to_string())?;
        Ok(Self { agent, zone: zone.to_owned(), token: token.to_owned() })
    }

    fn address(&self, name: &str) -> String {
        format!("https://{}/v5/livedns/domains/{}/records/{name}/TXT", API[0], self.zone)
    }

    fn header(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Put texts at a name in the zone, in the place of what is there.
    pub(super) fn put(&self, name: &str, texts: &[String]) -> Result<(), String> {
        let body = serde_json::json!({"rrset_ttl": TTL, "rrset_values": texts}).to_string();
        let request = self.agent.put(self.address(name)).header("authorization", self.header());
        let sent = request.header("content-type", "application/json").send(body);
        sent.map(drop).map_err(|error| format!("cannot put {name} into the zone {}: {error}", self.zone))
    }

    /// Remove what is at a name in the zone.
    pub(super) fn remove(&self, name: &str) -> Result<(), String> {
        let sent = self.agent.delete(self.address(name)).header("authorization", self.header()).call();
        sent.map(drop).map_err(|error| format!("cannot remove {name} from the zone {}: {error}", self.zone))
    }
}
