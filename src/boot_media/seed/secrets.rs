//! What a seed needs of a run's secrets.

use std::fmt;
use std::net::IpAddr;

/// A key pair. Its private half never shows in a debug text.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    private: String,
    public: String,
}

impl KeyPair {
    /// A pair from its two texts, as `ssh-keygen` writes them.
    pub fn new(private: impl Into<String>, public: impl Into<String>) -> Self {
        Self { private: private.into(), public: public.into().trim_end().to_owned() }
    }

    /// The private key, in OpenSSH's format.
    pub fn private(&self) -> &str {
        &self.private
    }

    /// The public key: type, key, comment.
    pub fn public(&self) -> &str {
        &self.public
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The kinds of host key that a host has which cloud-init has made them for (`ssh_genkeytypes`, in the documentation of its
/// module `ssh`), as `ssh-keygen -t` calls them. A client prefers the first of those that it knows.
pub const HOST_KEYS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// A host key of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// Which of [`HOST_KEYS`].
    pub kind: &'static str,
    /// Its two halves.
    pub pair: KeyPair,
}

impl HostKey {
    /// One of each kind.
    ///
    /// # Errors
    /// The first that could not be made.
    pub fn each<E>(mut make: impl FnMut(&'static str) -> Result<KeyPair, E>) -> Result<Vec<Self>, E> {
        HOST_KEYS.into_iter().map(|kind| Ok(Self { kind, pair: make(kind)? })).collect()
    }

    /// One of each kind by name, for a text that is shown or hashed.
    pub fn named(private: &str, public: &str) -> Vec<Self> {
        let pair = |kind| KeyPair::new(private, format!("ssh-{kind} {public}"));
        HOST_KEYS.into_iter().map(|kind| Self { kind, pair: pair(kind) }).collect()
    }
}

/// What a seed needs of the secrets: the guest never gets our private key or the password itself.
#[derive(Clone)]
pub struct Secrets {
    /// The public half of the key that we log in with.
    pub client: String,
    /// The user's own public keys, who may look at a kept VM with their own ssh.
    pub own: Vec<String>,
    /// The guest's host keys.
    pub host: Vec<HostKey>,
    /// The rescue user's password as crypt(3) keeps it.
    pub rescue_hash: String,
}

impl Secrets {
    /// What `plan` shows before anything is made: each secret's place, named.
    pub fn shown(own: Vec<String>) -> Self {
        Self {
            client: "ssh-ed25519 (made by up)".into(),
            own,
            host: HostKey::named("(made by up)", "(made by up)"),
            rescue_hash: "(made by up)".into(),
        }
    }

    /// The keys that may log in: ours first, each once.
    pub fn authorized(&self) -> Vec<&str> {
        let mut keys = vec![self.client.as_str()];
        for key in &self.own {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        keys
    }

    /// The `known_hosts` text that pins the host keys for the guest's address.
    pub fn known_hosts(&self, address: IpAddr) -> String {
        // Without the comment: a key is pinned by its type and bytes alone.
        let key = |key: &HostKey| key.pair.public.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ");
        self.host.iter().map(|host| format!("{address} {}\n", key(host))).collect()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Secrets");
        shown.field("client", &self.client).field("own", &self.own).field("host", &self.host);
        shown.finish_non_exhaustive()
    }
}
