//! How declared objects are named in cases and commands: `Instance/shop/web`.

use reconciler::model::ids::{Key, Name};
use reconciler::model::spec::policy::ObjectKind;
use reconciler::policy::view::ObjectRef;

use crate::manifest::did_you_mean;

/// The object that a text names: a kind, and a project and a name, or only a name in the project
/// `default`; of Projects and Nodes only a name.
///
/// # Errors
/// What is wrong with it.
pub fn object_ref(text: &str) -> Result<ObjectRef, String> {
    let Some((kind, name)) = text.split_once('/') else {
        return Err(format!("`{text}` names no object: write Instance/shop/web"));
    };
    let Some(kind) = ObjectKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
        let known = ObjectKind::ALL.map(ObjectKind::as_str);
        return Err(match did_you_mean(kind, known.into_iter()) {
            Some(near) => format!("unknown kind `{kind}`; did you mean `{near}`?"),
            None => format!("unknown kind `{kind}`; there are {}", known.join(", ")),
        });
    };
    let key = match kind {
        ObjectKind::Project => Name::new(name).map(|name| Key::new(name.clone(), name)),
        ObjectKind::Node => Name::new(name).map(|name| Key::new(Name::default_project(), name)),
        ObjectKind::Instance
        | ObjectKind::Image
        | ObjectKind::Volume
        | ObjectKind::Network
        | ObjectKind::Link
        | ObjectKind::Flavor
        | ObjectKind::PolicyBinding
        | ObjectKind::Waiver => name.parse(),
    };
    let key = key.map_err(|error| format!("`{text}`: {error}"))?;
    Ok(ObjectRef { kind, key })
}
