//! Texts into tokens, by the `tokenizer.json` that lies beside a model.

use std::path::Path;

use crate::error::Result;
use crate::text::Encoded;

#[cfg(feature = "text")]
pub(crate) struct Tokenizer(tokenizers::Tokenizer);

#[cfg(feature = "text")]
impl Tokenizer {
    /// Reads the file. What it says about padding and cutting off is left out: texts get the length that the model
    /// needs, and none is cut.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        use crate::error::Error;
        let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
        let failed = |error: tokenizers::Error| {
            Error::file(path, format!("expected a tokenizer as Hugging Face's tokenizer.json: {error}"))
        };
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(failed)?;
        tokenizer.with_truncation(None).map_err(failed)?;
        Ok(Tokenizer(tokenizer))
    }

    /// A text with the tokens that the model wants at its beginning and end.
    pub(crate) fn encode(&self, text: &str) -> Result<Encoded> {
        use crate::error::Error;
        let mut tokenizer = self.0.clone();
        tokenizer.with_padding(None);
        let encoding = tokenizer
            .encode(text, true)
            .map_err(|error| Error::failed(format!("text {text:?}: can't be made into tokens: {error}")))?;
        let special = encoding.get_special_tokens_mask().iter().map(|&mask| mask == 1);
        let names = encoding.get_tokens().iter().zip(encoding.get_offsets()).zip(special);
        Ok(Encoded {
            text: text.to_string(),
            ids: encoding.get_ids().to_vec(),
            types: encoding.get_type_ids().to_vec(),
            tokens: names.map(|((name, &place), special)| (name.clone(), place, special)).collect(),
        })
    }

    /// The token of this name, if there is one.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.0.token_to_id(name)
    }

    /// The token that fills up shorter texts, by name.
    pub(crate) fn pad(&self) -> Option<(String, u32)> {
        let said = self.0.get_padding().map(|padding| (padding.pad_token.clone(), padding.pad_id));
        said.or_else(|| self.first_of(&["[PAD]", "<pad>", "<|padding|>", "<|endoftext|>"]))
    }

    /// The token that stands for a hidden one, by name.
    pub(crate) fn mask(&self) -> Option<(String, u32)> {
        self.first_of(&["[MASK]", "<mask>"])
    }

    fn first_of(&self, names: &[&str]) -> Option<(String, u32)> {
        names.iter().find_map(|name| Some((name.to_string(), self.id(name)?)))
    }
}

/// There is none in a build without the feature.
#[cfg(not(feature = "text"))]
pub(crate) enum Tokenizer {}

#[cfg(not(feature = "text"))]
impl Tokenizer {
    pub(crate) fn read(_: &Path) -> Result<Self> {
        Err(crate::error::Error::usage(
            "text is not part of this build: expected one by `cargo build --release -p attr-cli --features text`",
        ))
    }

    pub(crate) fn encode(&self, _: &str) -> Result<Encoded> {
        match *self {}
    }

    pub(crate) fn id(&self, _: &str) -> Option<u32> {
        match *self {}
    }

    pub(crate) fn pad(&self) -> Option<(String, u32)> {
        match *self {}
    }

    pub(crate) fn mask(&self) -> Option<(String, u32)> {
        match *self {}
    }
}
