//! Private keys, and signing with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};

use super::modulo::less_one_modulo;
use super::wire::{Reader, put_number, put_string};

/// The flags of a request for a signature (draft-ietf-sshm-ssh-agent, section 3.6.1).
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// A key that signs.
pub(crate) struct Key {
    /// The public key in the form of the protocol.
    pub(crate) public: Vec<u8>,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(&'static str, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadKey {
    #[error("it has a passphrase")]
    Encrypted,
    #[error("it is not a private key in OpenSSH's own form or in that of RSA")]
    Unknown,
    #[error("it is larger than 64 KiB")]
    TooLarge,
    #[error("it is damaged")]
    Damaged,
    #[error("keys of its kind are not supported")]
    Kind,
    #[error("its parts do not fit together, or it is too short to be safe")]
    Refused,
}

impl Key {
    /// Reads the text of a key's file.
    pub(crate) fn parse(text: &str) -> Result<Self, BadKey> {
        let (label, body) = armor(text).ok_or(BadKey::Unknown)?;
        if text.contains("Proc-Type: 4,ENCRYPTED") || label == "ENCRYPTED PRIVATE KEY" {
            return Err(BadKey::Encrypted);
        }
        match label {
            "OPENSSH PRIVATE KEY" => openssh(&decode(&body)?),
            "RSA PRIVATE KEY" => rsa(RsaKeyPair::from_der(&decode(&body)?)),
            "PRIVATE KEY" => rsa(RsaKeyPair::from_pkcs8(&decode(&body)?)),
            _ => Err(BadKey::Unknown),
        }
    }

    /// The signature of `data`, in the form of the protocol.
    pub(crate) fn sign(&self, data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let (algorithm, signature) = match &self.pair {
            Pair::Ed25519(pair) => ("ssh-ed25519", pair.sign(data).as_ref().to_vec()),
            Pair::Ecdsa(algorithm, pair) => {
                let fixed = pair.sign(&random, data).ok()?;
                let (r, s) = fixed.as_ref().split_at(fixed.as_ref().len() / 2);
                let mut signature = Vec::new();
                put_number(&mut signature, r);
                put_number(&mut signature, s);
                (*algorithm, signature)
            }
            Pair::Rsa(pair) => {
                let (algorithm, padding) = match flags {
                    flags if flags & RSA_SHA2_512 != 0 => ("rsa-sha2-512", &RSA_PKCS1_SHA512),
                    flags if flags & RSA_SHA2_256 != 0 => ("rsa-sha2-256", &RSA_PKCS1_SHA256),
                    // With SHA-1, which nobody should accept any more.
                    _ => return None,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, data, &mut signature).ok()?;
                (algorithm, signature)
            }
        };
        let mut answer = Vec::new();
        put_string(&mut answer, algorithm.as_bytes());
        put_string(&mut answer, &signature);
        Some(answer)
    }
}

/// The label and the text between the lines that begin and end a key.
fn armor(text: &str) -> Option<(&str, String)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    Some((label, body.split_whitespace().collect()))
}

fn decode(body: &str) -> Result<Vec<u8>, BadKey> {
    STANDARD.decode(body).map_err(|_| BadKey::Damaged)
}

fn rsa(pair: Result<RsaKeyPair, ring::error::KeyRejected>) -> Result<Key, BadKey> {
    let pair = pair.map_err(|_| BadKey::Refused)?;
    let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
    let mut blob = Vec::new();
    put_string(&mut blob, b"ssh-rsa");
    put_number(&mut blob, &public.e);
    put_number(&mut blob, &public.n);
    Ok(Key { public: blob, pair: Pair::Rsa(pair) })
}

/// OpenSSH's own form (PROTOCOL.key in its sources).
fn openssh(bytes: &[u8]) -> Result<Key, BadKey> {
    let bytes = bytes.strip_prefix(b"openssh-key-v1\0").ok_or(BadKey::Damaged)?;
    let mut reader = Reader(bytes);
    let cipher = reader.string().ok_or(BadKey::Damaged)?;
    if cipher != b"none" {
        return Err(BadKey::Encrypted);
    }
    let parts = (|| {
        let (_kdf, _kdf_options) = (reader.string()?, reader.string()?);
        let one = reader.u32()? == 1;
        let (public, private) = (reader.string()?, reader.string()?);
        one.then_some((public, private))
    })();
    let (public, private) = parts.ok_or(BadKey::Damaged)?;
    let mut private = Reader(private);
    let check = private.u32();
    if check.is_none() || check != private.u32() {
        return Err(BadKey::Damaged);
    }
    let pair = pair(&mut private)?;
    Ok(Key { public: public.to_vec(), pair })
}

fn pair(reader: &mut Reader<'_>) -> Result<Pair, BadKey> {
    let refused = |_| BadKey::Refused;
    match reader.string().ok_or(BadKey::Damaged)? {
        b"ssh-ed25519" => {
            let (public, private) = reader.string().zip(reader.string()).ok_or(BadKey::Damaged)?;
            let seed = private.get(..32).ok_or(BadKey::Damaged)?;
            Ed25519KeyPair::from_seed_and_public_key(seed, public)
                .map(Pair::Ed25519)
                .map_err(refused)
        }
        kind @ (b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384") => {
            let (name, algorithm, length) = if kind.ends_with(b"256") {
                ("ecdsa-sha2-nistp256", &ECDSA_P256_SHA256_FIXED_SIGNING, 32)
            } else {
                ("ecdsa-sha2-nistp384", &ECDSA_P384_SHA384_FIXED_SIGNING, 48)
            };
            let _curve = reader.string();
            let (point, number) = reader.string().zip(reader.number()).ok_or(BadKey::Damaged)?;
            // As long as the curve's order.
            let mut private = vec![0; length];
            let at = length.checked_sub(number.len()).ok_or(BadKey::Damaged)?;
            private[at..].copy_from_slice(number);
            let random = SystemRandom::new();
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, point, &random)
                .map(|pair| Pair::Ecdsa(name, pair))
                .map_err(refused)
        }
        b"ssh-rsa" => {
            let numbers: Option<Vec<&[u8]>> = (0..6).map(|_| reader.number()).collect();
            let numbers = numbers.ok_or(BadKey::Damaged)?;
            let [n, e, d, inverse, p, q] = numbers[..] else { return Err(BadKey::Damaged) };
            let (p_less, q_less) = (less_one_modulo(d, p), less_one_modulo(d, q));
            let components = ring::rsa::KeyPairComponents {
                public_key: ring::rsa::PublicKeyComponents { n, e },
                d,
                p,
                q,
                dP: p_less.as_slice(),
                dQ: q_less.as_slice(),
                qInv: inverse,
            };
            RsaKeyPair::from_components(&components).map(Pair::Rsa).map_err(refused)
        }
        _ => Err(BadKey::Kind),
    }
}
