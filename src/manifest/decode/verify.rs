//! Whose signatures an Image should bear. Keys and signatures are read here, so that whoever
//! verifies needs no file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reconciler::model::spec::verify::{KEYS_MAX, SIGNATURES_MAX};
use reconciler::model::spec::{PublicKey, Signature, SignatureFile, TrustedKey, Verify};
use serde_json::Value as Json;

use super::super::problem::{Problem, Span};
use super::super::tree::Node;
use super::fields::{Context, Fields};
use super::{Surroundings, files, value};

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// Decodes `verify` of an Image.
pub(super) fn decode(
    context: &mut Context<'_>,
    node: &Node<'_>,
    around: &Surroundings<'_>,
) -> Option<Verify> {
    let mut fields = Fields::of(context, node, "verify", "verify.")?;
    let keys_node = fields.require(context, "keys", "the keys that are trusted");
    let mut seen: Vec<(String, Span)> = Vec::new();
    let keys = keys_node.and_then(|node| {
        value::items(context, node, "verify.keys", |context, node, field| {
            let (key, span) = key(context, node, field, around)?;
            if let Some((_, first)) = seen.iter().find(|(name, _)| *name == key.name) {
                let problem = Problem::new(span, format!("two keys are called `{}`", key.name));
                context.note(problem.also(*first, "the first stands here"));
                return None;
            }
            seen.push((key.name.clone(), span));
            Some(key)
        })
    });
    let signatures = fields.take("signatures");
    let signatures = signatures.map(|node| self::signatures(context, node, around));
    fields.finish(context, &["keyless", "identities", "attestations", "threshold"]);
    let (keys, span) = (keys?, keys_node?.span);
    if keys.is_empty() || keys.len() > KEYS_MAX {
        let label = format!("expected 1 to {KEYS_MAX} keys, found {}", keys.len());
        context.out_of_range(span, "verify.keys", label);
        return None;
    }
    let signatures = signatures.map_or(Some(None), |read| read.map(Some))?;
    Some(Verify { keys, signatures })
}

/// `{ name, file }` or `{ name, key }`, and where the name stands.
fn key(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    around: &Surroundings<'_>,
) -> Option<(TrustedKey, Span)> {
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let name_node = fields.require(context, "name", "what the key is called in verdicts");
    let name = name_node
        .and_then(|node| value::text(context, node, &fields.name("name"), "a text"))
        .map(str::to_owned);
    let (file, inline) = (fields.entry("file"), fields.entry("key"));
    let pem = match (file, inline) {
        (Some(file), Some(inline)) => {
            let problem = Problem::new(inline.key_span, format!("two keys in `{field}`"));
            let problem = problem.label("either `file`, or the `key` itself");
            context.note(problem.also(file.key_span, "this is one already"));
            None
        }
        (Some(entry), None) => {
            let field = fields.name("file");
            let given = value::text(context, &entry.value, &field, "the path of a public key");
            let text = given
                .and_then(|given| files::content(context, &entry.value, &field, given, around));
            text.map(|(text, _)| (text.to_string(), entry.value.span, field))
        }
        (None, Some(entry)) => {
            let field = fields.name("key");
            let text = value::text(context, &entry.value, &field, "a public key in PEM");
            text.map(|text| (text.to_owned(), entry.value.span, field))
        }
        (None, None) => {
            let problem = Problem::new(fields.span, format!("missing key of `{field}`"));
            context.note(problem.label("expected `file` (beside the spec) or `key` (in PEM)"));
            None
        }
    };
    fields.finish(context, &["keyless", "identity", "issuer"]);
    let (pem, span, field) = pem?;
    match public_key(&pem) {
        Ok(key) => Some((TrustedKey { name: name?, key }, name_node?.span)),
        // Never the text: it may be a secret after all.
        Err(why) => {
            context.invalid(span, &field, why);
            None
        }
    }
}

/// The key in a PEM block.
fn public_key(pem: &str) -> Result<PublicKey, &'static str> {
    const FORM: &str = "expected a public key in PEM, `-----BEGIN PUBLIC KEY-----` and so on";
    if pem.contains("PRIVATE KEY-----") {
        return Err("this is a private key: take the public one, and keep this one elsewhere");
    }
    let (_, rest) = pem.split_once(PEM_BEGIN).ok_or(FORM)?;
    let (body, rest) = rest.split_once(PEM_END).ok_or(FORM)?;
    if rest.contains(PEM_BEGIN) {
        return Err("these are several keys: give each of them a name of its own");
    }
    let body: String = body.split_whitespace().collect();
    let der = BASE64.decode(body).map_err(|_| FORM)?;
    PublicKey::from_der(&der).ok_or("expected a key for Ed25519, or for ECDSA on the curve P-256")
}

fn signatures(
    context: &mut Context<'_>,
    node: &Node<'_>,
    around: &Surroundings<'_>,
) -> Option<SignatureFile> {
    let field = "verify.signatures";
    let given = value::text(context, node, field, "the path of a file of signatures")?;
    let (text, file) = files::content(context, node, field, given, around)?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let mut signatures = Vec::new();
    for (number, line) in lines {
        match signature(line) {
            Some(signature) => signatures.push(signature),
            None => {
                let form = "expected what `cosign download signature` prints: a JSON object with \
                            `Base64Signature` and `Payload`, both in base64";
                context.invalid(node.span, field, format!("{given}:{number}: {form}"));
                return None;
            }
        }
    }
    if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
        let found = signatures.len();
        let label = format!("expected 1 to {SIGNATURES_MAX} signatures, {given} has {found}");
        context.out_of_range(node.span, field, label);
        return None;
    }
    Some(SignatureFile { path: file.path, signatures })
}

fn signature(line: &str) -> Option<Signature> {
    let object: Json = serde_json::from_str(line).ok()?;
    let base64 = |name: &str| {
        let text = object.get(name)?.as_str().filter(|text| !text.is_empty())?;
        BASE64.decode(text).ok()?;
        Some(text.into())
    };
    Some(Signature { payload: base64("Payload")?, signature: base64("Base64Signature")? })
}
