//! Whether the certificate that a server shows is the one that its tier promises.

use super::chain;
use crate::checks::Verdict::{self, Fails, Holds, Unseen};
use crate::checks::judge;
use crate::checks::network::Seen;
use crate::checks::probe::Probe;
use crate::form::pattern::Pattern;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evidence::record::Shown;
use host::hex::hex;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;
use std::time::SystemTime;

/// Who has to stand behind a certificate.
#[derive(Clone, Debug)]
pub enum Behind {
    /// Any authority whose name in the certificate matches: its root is not known here.
    Named(Option<Pattern>),
    /// One of these roots.
    Roots(RootCertStore),
}

/// What a tier promises.
#[derive(Clone, Debug)]
pub struct Promised {
    /// The tier, as the verdict names it.
    pub tier: String,
    /// Who has to stand behind it.
    pub behind: Behind,
}

/// Judge what was seen: the certificate, and against the one before the reboot. What was shown goes into the record, good or bad.
pub fn judge(
    promised: &Promised,
    probe: &Probe,
    seen: &Seen,
    before: Option<&Shown>,
    (vm, now): (Ipv4Addr, SystemTime),
) -> (Verdict, Option<Shown>) {
    let (Probe::Tls { server_name, .. }, Seen::Certificate { issuer, names, not_after, chain, .. }) = (probe, seen)
    else {
        // Without a certificate there is nothing to judge: whether the port answers is for other checks.
        let verdict = match seen {
            Seen::No(why) => Unseen(format!("no certificate was shown: {why}")),
            _ => judge::outside(probe, seen, vm, now),
        };
        return (verdict, None);
    };
    let ders: Result<Vec<_>, _> = chain.iter().map(|one| STANDARD.decode(one).map(CertificateDer::from)).collect();
    let Ok(ders) = ders else { return (Unseen("its certificates did not come through whole".into()), None) };
    let shown = Shown {
        tier: promised.tier.clone(),
        issuer: issuer.clone(),
        names: names.clone(),
        until: judge::moment(*not_after),
        fingerprint: ders.first().map(|der| hex(Sha256::digest(der))).unwrap_or_default(),
    };
    let verdict = match judge::outside(probe, seen, vm, now) {
        Holds(_) => behind(promised, &ders, issuer, server_name, now),
        other => other,
    };
    let verdict = match (verdict, before) {
        (Holds(_), Some(before)) if before.fingerprint != shown.fingerprint => {
            let when = |shown: &Shown| {
                format!("{} until {}", &shown.fingerprint[..16.min(shown.fingerprint.len())], shown.until)
            };
            Fails(format!(
                "it is another one than before the reboot ({} and now {}): it was not kept, and was issued again",
                when(before),
                when(&shown)
            ))
        }
        (Holds(_), _) => Holds(shown.to_string()),
        (Fails(why), _) => Fails(format!("{why}; it is {shown}")),
        (other, _) => other,
    };
    (verdict, Some(shown))
}

fn behind(promised: &Promised, chain: &[CertificateDer<'_>], issuer: &str, name: &str, now: SystemTime) -> Verdict {
    match &promised.behind {
        Behind::Named(Some(pattern)) if !pattern.is_in(issuer) => {
            Fails(format!("of the tier {} an issuer that matches {pattern} is expected", promised.tier))
        }
        Behind::Named(_) => Holds(String::new()),
        Behind::Roots(roots) => match chain::verify(chain, roots, name, now) {
            Ok(()) => Holds(String::new()),
            Err(why) => Fails(format!("it does not lead to an authority of the tier {}: {why}", promised.tier)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::network::certificate_of;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    /// A root, and a chain of one that it has signed for a name.
    fn signed(name: &str) -> (RootCertStore, Seen) {
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        leaf.not_before = rcgen::date_time_ymd(2026, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2096, 1, 1);
        let leaf = leaf.signed_by(&key, &Issuer::new(root, &root_key)).unwrap();
        (chain::roots_of_pem(&root_pem).unwrap(), certificate_of(leaf.der()).unwrap())
    }

    fn tls(name: &str) -> Probe {
        Probe::Tls { port: 443, server_name: name.into(), issuer: None, names: Vec::new(), days_left: 0 }
    }

    fn look(behind: Behind, seen: &Seen, before: Option<&Shown>) -> (Verdict, Option<Shown>) {
        let promised = Promised { tier: "le-staging".into(), behind };
        let now = SystemTime::now();
        judge(&promised, &tls("www.example.net"), seen, before, (Ipv4Addr::LOCALHOST, now))
    }

    #[test]
    fn a_certificate_counts_if_its_tiers_root_stands_behind_it() {
        let (roots, seen) = signed("www.example.net");
        let (other, _) = signed("www.example.net");
        let (verdict, shown) = look(Behind::Roots(roots.clone()), &seen, None);
        assert!(verdict.holds(), "{verdict:?}");
        let shown = shown.unwrap();
        assert_eq!(
            (shown.names.as_slice(), shown.until.as_str()),
            (&["www.example.net".to_owned()][..], "2096-01-01T00:00:00Z")
        );
        let (verdict, _) = look(Behind::Roots(other), &seen, None);
        assert!(matches!(&verdict, Fails(why) if why.contains("le-staging")), "{verdict:?}");
        let (_, wrong_name) = signed("mail.example.net");
        assert!(!look(Behind::Roots(roots), &wrong_name, None).0.holds());
    }

    #[test]
    fn a_certificate_that_the_reboot_has_replaced_is_red() {
        let (roots, seen) = signed("www.example.net");
        let (_, before) = look(Behind::Roots(roots.clone()), &seen, None);
        assert!(look(Behind::Roots(roots.clone()), &seen, before.as_ref()).0.holds());
        let other = Shown { fingerprint: "00".repeat(32), ..before.unwrap() };
        let (verdict, _) = look(Behind::Roots(roots), &seen, Some(&other));
        assert!(matches!(&verdict, Fails(why) if why.contains("another one than before the reboot")), "{verdict:?}");
    }

    #[test]
    fn an_issuer_of_another_tier_is_red_and_no_answer_is_no_certificate() {
        let (_, seen) = signed("www.example.net");
        let named = |text: &str| Behind::Named(Some(Pattern::try_from(text.to_owned()).unwrap()));
        assert!(look(named("rcgen"), &seen, None).0.holds());
        assert!(!look(named("Caddy Local Authority"), &seen, None).0.holds());
        let (verdict, shown) = look(Behind::Named(None), &Seen::No("refused".into()), None);
        assert!(matches!(&verdict, Unseen(why) if why.contains("refused")) && shown.is_none(), "{verdict:?}");
    }
}
