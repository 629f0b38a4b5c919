//! `@issue`: get a certificate by DNS challenge. It reads what is wanted on standard input, the token with it, and writes the
//! certificate with its key to standard output, so that neither is ever in a file, an environment or a command line. In a
//! rehearsal it runs inside of the VM's network, else on the host.

use super::zone_api::ZoneApi;
use crate::checks::network::{Seen, records};
use crate::checks::probe::Record;
use host::deadline::Deadline;
use host::failure::{Exit, Failure, with_causes};
use host::handshake;
use host::print;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

/// The hidden subcommand's name.
pub const NAME: &str = "@issue";
/// How long all of it may take: a provider's name servers take minutes to learn a record.
pub const LIMIT: Duration = Duration::from_secs(900);
/// How long the zone's name servers may take to have what was put there.
const SPREAD: Duration = Duration::from_secs(600);
/// How often they are asked.
const PERIOD: Duration = Duration::from_secs(2);
/// How long one of them may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// What is wanted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The ACME directory.
    pub directory: String,
    /// The root that its server and the API's are trusted by (PEM); as this host trusts any, without it.
    pub root: Option<String>,
    /// The names that the certificate is for.
    pub names: Vec<String>,
    /// The zone in which the challenges are answered.
    pub zone: String,
    /// The provider's token for it.
    pub token: String,
    /// Whom the authority writes to.
    pub contact: Option<String>,
    /// The account of an earlier certificate.
    pub account: Option<serde_json::Value>,
}

/// What was got.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// The certificate and what signed it, in PEM.
    pub chain: String,
    /// Its key, in PEM.
    pub key: String,
    /// The account at the authority.
    pub account: serde_json::Value,
}

/// The hidden subcommand: `@issue`, the wish on standard input.
pub fn main(_: &[String]) -> ExitCode {
    handshake::end(NAME, run())
}

fn run() -> Result<(), Failure> {
    let bad = |error: String| Failure::new(Exit::Bug, format!("{NAME} cannot read what is wanted: {error}"));
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| bad(error.to_string()))?;
    let wanted: Wanted = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let failed = |error: String| {
        Failure::new(
            Exit::Host,
            format!("no certificate for {} from {}: {error}", wanted.names.join(", "), wanted.directory),
        )
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let issued = runtime.block_on(issue(&wanted)).map_err(failed)?;
    print::exact(&issued).map_err(|error| failed(error.to_string()))
}

/// What the ACME server or the way to it said.
fn said(error: instant_acme::Error) -> String {
    with_causes(&error)
}

async fn issue(wanted: &Wanted) -> Result<Issued, String> {
    let api = ZoneApi::new(wanted.root.as_deref(), &wanted.zone, &wanted.token)?;
    let (account, credentials) = account(wanted).await?;
    let names: Vec<_> = wanted.names.iter().map(|name| Identifier::Dns(name.clone())).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(said)?;
    let texts = challenges(&mut order, &wanted.zone).await?;
    let done = answer(&mut order, &api, &wanted.zone, &texts).await;
    for name in texts.keys() {
        // A record that stays is a mess and no danger: what it answered is over.
        if let Err(error) = api.remove(name) {
            print::err(&error);
        }
    }
    done?;
    let key = order.finalize().await.map_err(said)?;
    let chain = order.poll_certificate(&RetryPolicy::default()).await.map_err(said)?;
    Ok(Issued { chain, key, account: credentials })
}

/// The account, of before or a new one, with what it is known by.
async fn account(wanted: &Wanted) -> Result<(Account, serde_json::Value), String> {
    let builder = match &wanted.root {
        None => Account::builder().map_err(said)?,
        Some(root) => {
            let mut file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
            file.write_all(root.as_bytes()).map_err(|error| error.to_string())?;
            Account::builder_with_root(file.path()).map_err(said)?
        }
    };
    if let Some(known) = &wanted.account {
        let credentials: AccountCredentials =
            serde_json::from_value(known.clone()).map_err(|error| format!("the account that was kept: {error}"))?;
        return Ok((builder.from_credentials(credentials).await.map_err(said)?, known.clone()));
    }
    let contact: Vec<_> = wanted.contact.iter().map(|address| format!("mailto:{address}")).collect();
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder.create(&new, wanted.directory.clone(), None).await.map_err(said)?;
    Ok((account, serde_json::to_value(credentials).map_err(|error| error.to_string())?))
}

/// The texts that answer an order's challenges, by their place in the zone. A name and its wildcard have one place.
async fn challenges(order: &mut Order, zone: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut texts = BTreeMap::<_, Vec<_>>::new();
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let mut one = one.map_err(said)?;
        match one.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            other => return Err(format!("an authorization is {other:?}")),
        }
        let challenge = one.challenge(ChallengeType::Dns01).ok_or("the authority offers no DNS challenge")?;
        let name = challenge.identifier().to_string();
        let place = place(&name, zone).ok_or_else(|| format!("{name} is not in the zone {zone}"))?;
        texts.entry(place).or_default().push(challenge.key_authorization().dns_value());
    }
    Ok(texts)
}

/// Where in its zone the challenge of a name is answered.
fn place(name: &str, zone: &str) -> Option<String> {
    let name = name.strip_prefix("*.").unwrap_or(name);
    match name.strip_suffix(zone)? {
        "" => Some("_acme-challenge".into()),
        above => Some(format!("_acme-challenge.{}", above.strip_suffix('.')?)),
    }
}

/// Put the answers into the zone, wait until its name servers have them, and have them looked at.
async fn answer(
    order: &mut Order,
    api: &ZoneApi,
    zone: &str,
    texts: &BTreeMap<String, Vec<String>>,
) -> Result<(), String> {
    for (place, texts) in texts {
        api.put(place, texts)?;
    }
    let deadline = Deadline::after(SPREAD);
    for (place, texts) in texts {
        while let Err(why) = served(zone, &format!("{place}.{zone}"), texts) {
            if deadline.passed() {
                return Err(format!("the answer to the challenge is not served after {} s: {why}", SPREAD.as_secs()));
            }
            tokio::time::sleep(PERIOD).await;
        }
    }
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let mut one = one.map_err(said)?;
        if one.status == AuthorizationStatus::Pending {
            let mut challenge =
                one.challenge(ChallengeType::Dns01).ok_or("the authority offers no DNS challenge any more")?;
            challenge.set_ready().await.map_err(said)?;
        }
    }
    match order.poll_ready(&RetryPolicy::default()).await.map_err(said)? {
        OrderStatus::Ready => Ok(()),
        other => Err(format!("the authority did not accept the answers: the order is {other:?}")),
    }
}

/// Whether each of the zone's name servers has these texts.
fn served(zone: &str, name: &str, texts: &[String]) -> Result<(), String> {
    let values = |seen: Seen| match seen {
        Seen::Records { values, .. } => Ok(values),
        Seen::No(why) | Seen::Unseen(why) => Err(why),
        other => Err(format!("{other:?}")),
    };
    let servers = values(records(resolver()?, zone, Record::Ns, ANSWER)?)?;
    if servers.is_empty() {
        return Err(format!("the zone {zone} has no name servers"));
    }
    for server in servers {
        let addresses = (server.trim_end_matches('.'), 53).to_socket_addrs();
        let mut addresses = addresses.map_err(|error| format!("{server}: {error}"))?.filter(SocketAddr::is_ipv4);
        let address = addresses.next().ok_or_else(|| format!("{server} has no IPv4 address"))?;
        let has = values(records(address, name, Record::Txt, ANSWER)?)?;
        if let Some(missing) = texts.iter().find(|text| !has.contains(text)) {
            return Err(format!("{server} does not have {missing} yet"));
        }
    }
    Ok(())
}

/// The first resolver of /etc/resolv.conf.
fn resolver() -> Result<SocketAddr, String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").map_err(|error| format!("/etc/resolv.conf: {error}"))?;
    let mut words = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
    let address = words.find_map(|word| word.trim().parse::<IpAddr>().ok());
    address.map(|address| (address, 53).into()).ok_or_else(|| "/etc/resolv.conf names no server".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_wildcard_are_challenged_at_one_place() {
        assert_eq!(place("example.net", "example.net").as_deref(), Some("_acme-challenge"));
        assert_eq!(place("*.example.net", "example.net").as_deref(), Some("_acme-challenge"));
        assert_eq!(place("a.b.example.net", "example.net").as_deref(), Some("_acme-challenge.a.b"));
        assert_eq!(place("badexample.net", "example.net"), None);
        assert_eq!(place("example.org", "example.net"), None);
    }
}
