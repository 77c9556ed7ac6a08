//! What a client sends to a command in a container, behind its request.

use reconciler::ports::{ExecInput, TerminalSize};
use serde::{Deserialize, Serialize};

/// What goes to a command, one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "input")]
pub enum Input {
    /// Bytes for its standard input.
    Bytes {
        /// The bytes, in base64.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// Its standard input ends.
    End,
    /// Its terminal has another size.
    Resize {
        /// The size.
        size: TerminalSize,
    },
}

impl From<Input> for ExecInput {
    fn from(input: Input) -> Self {
        match input {
            Input::Bytes { bytes } => Self::Bytes(bytes),
            Input::End => Self::End,
            Input::Resize { size } => Self::Resize(size),
        }
    }
}

impl From<ExecInput> for Input {
    fn from(input: ExecInput) -> Self {
        match input {
            ExecInput::Bytes(bytes) => Self::Bytes { bytes },
            ExecInput::End => Self::End,
            ExecInput::Resize(size) => Self::Resize { size },
        }
    }
}

/// Bytes as text: base64.
pub(super) mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in crate::api) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
