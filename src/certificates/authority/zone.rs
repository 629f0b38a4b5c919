//! The zone: text records, and what makes it one that can be asked for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A zone with text records only: more is not needed for a challenge.
#[derive(Debug)]
pub struct Zone {
    /// Its name, in lower case, without a dot at its end.
    pub origin: String,
    /// The address of its name server.
    pub server: Ipv4Addr,
    /// How often it was changed.
    pub serial: u32,
    records: BTreeMap<String, Vec<String>>,
}

/// What is at a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'z> {
    /// It is not in this zone.
    Elsewhere,
    /// Nothing.
    Nothing,
    /// It is the zone's own name.
    Origin,
    /// It is the zone's name server's.
    Server,
    /// Text records; none where only names below it have some.
    Texts(&'z [String]),
}

impl Zone {
    /// A zone without records.
    pub fn new(origin: &str, server: Ipv4Addr) -> Self {
        Self { origin: plain(origin), server, serial: 1, records: BTreeMap::new() }
    }

    /// The name of its name server.
    pub fn name_server(&self) -> String {
        format!("ns1.{}", self.origin)
    }

    /// What is at a full name.
    pub fn find(&self, name: &str) -> Found<'_> {
        let name = plain(name);
        if name == self.origin {
            return Found::Origin;
        }
        if !name.ends_with(&format!(".{}", self.origin)) {
            return Found::Elsewhere;
        }
        if name == self.name_server() {
            return Found::Server;
        }
        let below = format!(".{name}");
        match self.records.get(&name) {
            Some(texts) => Found::Texts(texts),
            None if self.records.keys().any(|other| other.ends_with(&below)) => Found::Texts(&[]),
            None => Found::Nothing,
        }
    }

    /// The texts at a name that is relative to the zone (`@` is the zone itself).
    pub fn texts(&self, relative: &str) -> Option<&[String]> {
        self.records.get(&self.full(relative)).map(Vec::as_slice)
    }

    /// Put these texts there, in the place of what is there; none removes it.
    pub fn put(&mut self, relative: &str, texts: Vec<String>) {
        let name = self.full(relative);
        self.serial = self.serial.wrapping_add(1);
        match texts.is_empty() {
            true => self.records.remove(&name),
            false => self.records.insert(name, texts),
        };
    }

    fn full(&self, relative: &str) -> String {
        match plain(relative).as_str() {
            "@" => self.origin.clone(),
            name => format!("{name}.{}", self.origin),
        }
    }
}

/// A name as it is compared.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_full_name_and_put_by_its_place_in_the_zone() {
        let mut zone = Zone::new("Example.NET.", Ipv4Addr::LOCALHOST);
        assert_eq!(zone.find("_acme-challenge.www.example.net"), Found::Nothing);
        zone.put("_acme-challenge.www", vec!["a".into(), "b".into()]);
        assert_eq!(zone.find("_ACME-challenge.www.example.net."), Found::Texts(&["a".into(), "b".into()]));
        assert_eq!(zone.find("www.example.net"), Found::Texts(&[]), "a name below it exists");
        assert_eq!(zone.find("example.net"), Found::Origin);
        assert_eq!(zone.find("ns1.example.net"), Found::Server);
        assert_eq!(zone.find("badexample.net"), Found::Elsewhere);
        zone.put("_acme-challenge.www", Vec::new());
        assert_eq!(zone.texts("_acme-challenge.www"), None);
        assert_eq!(zone.serial, 3);
    }
}
