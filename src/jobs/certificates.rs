//! What a run does for its certificate tier: a rehearsal's authority is trusted by the guest, a wildcard certificate is got from
//! the store or issued once, and the playbooks are given what they need of both. The check of what the host shows is in `verify`.

use super::bring_up::own_exe;
use super::run::{Run, Said};
use super::target::Target;
use crate::ansible::Private;
use crate::certificates::issue::{self, Issued, Wanted};
use crate::certificates::store::{Age, By, Got, Kept, Store};
use crate::certificates::{PRODUCTION, STAGING, authority, judge};
use crate::form::pattern::Pattern;
use crate::plan::options::{Certs, Issuer};
use crate::profile::Certificate;
use camino::{Utf8Path, Utf8PathBuf};
use host::failure::{Exit, Failure};
use host::secrets;
use host::shell::quoted;
use serde_json::{Map, Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};
use vm::network::authority::{ACME_PORT, AuthorityDir};

/// Where a guest keeps the roots that it trusts besides.
const TRUSTED: &str = "/usr/local/share/ca-certificates/boma-qemu-rehearsal.crt";
/// How long making it trust one may take; under emulation ten seconds.
const TRUST: Duration = Duration::from_secs(180);

impl Run<'_> {
    /// Everything that the tier needs before the playbooks run.
    pub(super) async fn certificates(&mut self) -> Result<(), Failure> {
        match (self.plan().options.certs, self.plan().issuer(), &self.plan().profile.certificate) {
            (Certs::LeStaging, Issuer::Rehearsal, _) => self.phase("authority", async |run| trust(run).await).await,
            // The guest is given the certificate, and asks nobody for one.
            (Certs::LeProdWildcard, Issuer::Rehearsal | Issuer::LetsEncrypt, Some(_)) => {
                self.phase("certificate", async |run| wildcard(run).await).await
            }
            _ => Ok(()),
        }
    }
}

fn dir(target: &Target<'_>) -> AuthorityDir {
    target.vm.net_dir().authority()
}

fn read(path: &Utf8Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::Host, format!("the authority's file {path} cannot be read: {error}")))
}

/// Make the guest trust the root of the authority's servers, as it trusts those of the real ones.
async fn trust(run: &Run<'_>) -> Result<((), Said), Failure> {
    let root = read(&dir(run.target()).root())?;
    let script = format!(
        "printf '%s' {root} | cmp -s - {TRUSTED} 2>/dev/null && {{ echo already; exit 0; }}\n\
         command -v update-ca-certificates >/dev/null || {{ echo 'it has no update-ca-certificates' >&2; exit 1; }}\n\
         mkdir -p {folder} && printf '%s' {root} > {TRUSTED} && update-ca-certificates >/dev/null && echo now\n",
        root = quoted(&root),
        folder = Utf8Path::new(TRUSTED).parent().unwrap_or(Utf8Path::new("/")),
    );
    let session = run.vm().session(TRUST).await?;
    let answer = session.root_script(&script, TRUST).await?;
    match (answer.code, answer.stdout.trim()) {
        (0, "already") => Ok(((), "the guest trusts it already".to_owned().into())),
        (0, _) => Ok(((), "the guest trusts it; the ACME server's and the API's names lead to it".to_owned().into())),
        (code, _) => Err(Failure::new(
            Exit::Lost,
            format!("the guest cannot be made to trust the authority: exit code {code}: {}", answer.stderr.trim()),
        )),
    }
}

/// Who keeps and issues, with what it takes.
struct Place<'a> {
    certificate: &'a Certificate,
    by: By,
    store: Store,
}

fn place<'a>(target: &'a Target<'_>) -> Result<Option<Place<'a>>, Failure> {
    let Some(certificate) = &target.plan.profile.certificate else { return Ok(None) };
    let by = match target.plan.issuer() {
        Issuer::Internal => return Ok(None),
        Issuer::Rehearsal => By::Rehearsal,
        Issuer::LetsEncrypt => By::LetsEncrypt,
    };
    Ok(Some(Place { certificate, by, store: Store::of(target.dirs, by, &certificate.zone)? }))
}

/// The wildcard certificate: from the store while it is good, else issued now.
async fn wildcard(run: &Run<'_>) -> Result<((), Said), Failure> {
    let Some(place) = place(run.target())? else {
        return Err(Failure::new(Exit::Bug, "a wildcard certificate of a profile that has none"));
    };
    let got = get(run.target(), &place).await?;
    if let Some(why) = &got.late {
        run.progress().note(&format!("the wildcard certificate is near its end and could not be renewed: {why}"));
    }
    let end = got.kept.end().map_err(bad)?;
    let until = humantime::format_rfc3339_seconds(end);
    let names = got.kept.names.join(", ");
    Ok((
        (),
        match got.new {
            true => format!("issued for {names}, until {until}; it is kept for the next runs"),
            false => format!("kept from an earlier run, for {names}, until {until}: nothing was issued"),
        }
        .into(),
    ))
}

fn bad(error: String) -> Failure {
    Failure::new(Exit::Host, format!("the wildcard certificate cannot be read: {error}"))
}

async fn get(target: &Target<'_>, place: &Place<'_>) -> Result<Got, Failure> {
    let _lock = place.store.lock()?;
    let names = place.certificate.wildcard();
    let kept = place.store.load()?;
    let age = kept.as_ref().map(|kept| kept.age(&names, SystemTime::now())).transpose().map_err(bad)?;
    let issued = match (kept, age) {
        (Some(kept), Some(Age::Good)) => return Ok(Got { kept, new: false, late: None }),
        (Some(kept), Some(Age::Near)) => match issue(target, place, &names, Some(&kept)).await {
            Err(failure) => return Ok(Got { kept, new: false, late: Some(failure.chain.join(": ")) }),
            issued => issued?,
        },
        (kept, _) => issue(target, place, &names, kept.as_ref()).await?,
    };
    let root = match place.by {
        By::Rehearsal => Some(read(&dir(target).issuers())?),
        By::LetsEncrypt => None,
    };
    let kept = Kept { issued, names, root };
    place.store.save(&kept)?;
    Ok(Got { kept, new: true, late: None })
}

/// Have one issued: inside of the VM's network in a rehearsal, else by this host.
async fn issue(
    target: &Target<'_>,
    place: &Place<'_>,
    names: &[String],
    before: Option<&Kept>,
) -> Result<Issued, Failure> {
    let exe = own_exe()?;
    let Certificate { zone, contact, .. } = place.certificate;
    let account = before.map(|kept| kept.issued.account.clone());
    let (mut argv, directory, root, token, account) = match place.by {
        By::Rehearsal => {
            let controller = target.plan.controller(target.dirs);
            let mut allowed = target.allowed(&controller);
            allowed.visible.push(exe.clone());
            let prefix = target.vm.network()?.confine(controller.folder.path(), &allowed)?;
            let dir = dir(target);
            // Its accounts go with the authority.
            (prefix, rehearsed(PRODUCTION), Some(read(&dir.root())?), authority::token(&dir)?, None)
        }
        By::LetsEncrypt => {
            (Vec::new(), format!("https://{PRODUCTION}/directory"), None, token(place.certificate)?, account)
        }
    };
    secrets::know([token.clone()]);
    let (names, zone, contact) = (names.to_vec(), zone.clone(), contact.clone());
    let wanted = Wanted { directory, root, names, zone, token, contact, account };
    argv.extend([exe.to_string(), issue::NAME.to_owned()]);
    let text = serde_json::to_string(&wanted).unwrap_or_default();
    let failed = |why: String| Failure::new(Exit::Host, format!("the wildcard certificate was not issued: {why}"));
    let said = host::child::answer(&argv, &text, issue::LIMIT).await.map_err(failed)?;
    serde_json::from_str(&said).map_err(|error| failed(error.to_string()))
}

fn rehearsed(host: &str) -> String {
    format!("https://{host}:{ACME_PORT}/dir")
}

/// The real token, from the file that the profile names.
fn token(certificate: &Certificate) -> Result<String, Failure> {
    let named = certificate.token_file.as_deref().unwrap_or(Utf8Path::new("/dev/null"));
    let path = match named.strip_prefix("~") {
        Ok(rest) => Utf8PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(rest),
        Err(_) => named.to_owned(),
    };
    let cannot = |why: String| Failure::new(Exit::Usage, format!("certificate: token_file: {path}: {why}"));
    let mode = std::fs::metadata(&path).map_err(|error| cannot(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(cannot("others than its owner may read it".into()).next(format!("chmod 600 {path}")));
    }
    match std::fs::read_to_string(&path).map_err(|error| cannot(error.to_string()))?.trim() {
        "" => Err(cannot("it is empty".into())),
        token => Ok(token.to_owned()),
    }
}

/// What the playbooks are given besides, none of it on a disk: `boma_acme` and the token of a rehearsal, `boma_certificate` of a
/// wildcard certificate.
pub(super) fn private(target: &Target<'_>) -> Result<Option<Private>, Failure> {
    let Some(place) = place(target)? else { return Ok(None) };
    let mut vars = Map::<String, Value>::new();
    if place.by == By::Rehearsal {
        let dir = dir(target);
        let token = authority::token(&dir)?;
        secrets::know([token.clone()]);
        vars.insert("boma_acme".into(), json!({"directory": rehearsed(STAGING), "root": read(&dir.root())?}));
        if let Some(name) = &place.certificate.token_var {
            vars.insert(name.clone(), token.into());
        }
    }
    // Without one, a playbook that needs it says so; those that prepare the guest do not.
    let kept = if target.plan.options.certs == Certs::LeProdWildcard { place.store.load()? } else { None };
    if let Some(Kept { issued, .. }) = kept {
        secrets::know(secrets::values_of(&issued.key));
        vars.insert("boma_certificate".into(), json!({"chain": issued.chain, "key": issued.key}));
    }
    Ok((!vars.is_empty()).then(|| Private::new(Value::Object(vars).to_string())))
}

/// What the tier promises of the certificate that the host serves; none of a profile that says nothing of it.
pub(super) fn promised(target: &Target<'_>) -> Result<Option<judge::Promised>, Failure> {
    use crate::certificates::chain::{roots_of_host, roots_of_pem};
    use judge::Behind::{Named, Roots};
    let Some(certificate) = &target.plan.profile.certificate else { return Ok(None) };
    let behind = match (target.plan.issuer(), target.plan.options.certs) {
        (Issuer::Internal, _) | (_, Certs::Internal) => Named(certificate.internal_issuer.clone()),
        (Issuer::Rehearsal, Certs::LeStaging) => Roots(roots_of_pem(&read(&dir(target).issuers())?).map_err(bad)?),
        (Issuer::LetsEncrypt, Certs::LeStaging) => {
            Named(Some(Pattern::try_from(r"\(STAGING\)".to_owned()).map_err(bad)?))
        }
        (issuer, Certs::LeProdWildcard) => {
            let kept = place(target)?.map(|place| place.store.load()).transpose()?.flatten();
            let root = kept.and_then(|kept| kept.root).filter(|_| issuer == Issuer::Rehearsal);
            Roots(match root {
                Some(root) => roots_of_pem(&root).map_err(bad)?,
                None => roots_of_host().map_err(bad)?,
            })
        }
    };
    Ok(Some(judge::Promised { tier: target.plan.tier(), behind }))
}
