//! The words and signs of a script, with their places.
//!
//! The engine keeps its own syntax tree to itself, unless it is built with its internals laid open.
//! What is checked before a script runs needs no tree: which functions are called, and which fields
//! are read along a chain of names.

use crate::policy::script::fault::Failure;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy::script) enum Kind {
    /// A name or a keyword.
    Word,
    /// A text, without what stands around it.
    Text,
    /// A number or a character.
    Literal,
    /// A sign; each is a token of its own, but for `..`.
    Sign,
}

/// A token of a script.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy::script) struct Token<'a> {
    pub(in crate::policy::script) kind: Kind,
    pub(in crate::policy::script) text: &'a str,
    /// Where it begins, in bytes.
    pub(in crate::policy::script) at: usize,
    /// Its line, from 1.
    pub(in crate::policy::script) line: usize,
}

impl Token<'_> {
    pub(in crate::policy::script) fn is(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }

    pub(in crate::policy::script) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }
}

/// The tokens of a script. Code inside of a text stands among them in brackets of its own.
pub(in crate::policy::script) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Failure> {
    let mut reader = Reader { text, at: 0, line: 1, tokens: Vec::new(), open: Vec::new() };
    reader.read()?;
    Ok(reader.tokens)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token<'a>>,
    /// Braces of code inside of texts: how many are open in each.
    open: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn skip(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.text.len());
        self.line += self.text.as_bytes()[self.at..end].iter().filter(|b| **b == b'\n').count();
        self.at = end;
    }

    fn take(&mut self, kind: Kind, bytes: usize) {
        let token = Token { kind, text: &self.rest()[..bytes], at: self.at, line: self.line };
        self.tokens.push(token);
        self.skip(bytes);
    }

    fn read(&mut self) -> Result<(), Failure> {
        while let Some(c) = self.rest().chars().next() {
            if c.is_whitespace() || c == '\u{feff}' {
                self.skip(c.len_utf8());
            } else if self.rest().starts_with("//") {
                let end = self.rest().find('\n').unwrap_or(self.rest().len());
                self.skip(end);
            } else if self.rest().starts_with("/*") {
                self.comment()?;
            } else if c == '"' || c == '\'' {
                self.quoted(c)?;
            } else if c == '`' {
                self.skip(1);
                self.literal()?;
            } else if self.rest().starts_with("#\"") || self.rest().starts_with("##") {
                self.raw()?;
            } else if c.is_alphabetic() || c == '_' {
                let is_part = |c: char| c.is_alphanumeric() || c == '_';
                let end = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
                self.take(Kind::Word, end);
            } else if c.is_ascii_digit() {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
                self.take(Kind::Literal, end);
            } else if self.rest().starts_with("..") {
                self.take(Kind::Sign, 2);
            } else {
                self.sign(c)?;
            }
        }
        Ok(())
    }

    fn sign(&mut self, c: char) -> Result<(), Failure> {
        match (c, self.open.last_mut()) {
            ('{', Some(open)) => *open += 1,
            ('}', Some(0)) => {
                self.open.pop();
                self.take(Kind::Sign, 1);
                // The code is over, and the text goes on.
                return self.literal();
            }
            ('}', Some(open)) => *open -= 1,
            _ => {}
        }
        self.take(Kind::Sign, c.len_utf8());
        Ok(())
    }

    fn endless<T>(&self, what: &str) -> Result<T, Failure> {
        Err(Failure::parse(format!("this {what} has no end"), self.line))
    }

    fn comment(&mut self) -> Result<(), Failure> {
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return self.endless("comment");
            }
            if rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.skip(rest.chars().next().map_or(1, char::len_utf8));
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<(), Failure> {
        let (begin, line) = (self.at + 1, self.line);
        let mut escaped = false;
        let end = self.rest()[1..].char_indices().find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((length, _)) = end else { return self.endless("text") };
        let kind = if quote == '"' { Kind::Text } else { Kind::Literal };
        let text = &self.text[begin..begin + length];
        self.tokens.push(Token { kind, text, at: begin, line });
        self.skip(length + 2);
        Ok(())
    }

    /// A text with code in it, from behind its first sign or behind such code.
    fn literal(&mut self) -> Result<(), Failure> {
        let rest = self.rest();
        let ends = [rest.find('`'), rest.find("${")];
        let Some(end) = ends.into_iter().flatten().min() else { return self.endless("text") };
        self.take(Kind::Text, end);
        if self.rest().starts_with('`') {
            self.skip(1);
        } else {
            self.skip(1);
            self.take(Kind::Sign, 1);
            self.open.push(0);
        }
        Ok(())
    }

    fn raw(&mut self) -> Result<(), Failure> {
        let hashes = self.rest().len() - self.rest().trim_start_matches('#').len();
        if !self.rest()[hashes..].starts_with('"') {
            self.take(Kind::Sign, hashes);
            return Ok(());
        }
        let close = format!("\"{}", "#".repeat(hashes));
        self.skip(hashes + 1);
        let Some(end) = self.rest().find(&close) else { return self.endless("text") };
        self.take(Kind::Text, end);
        self.skip(close.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let tokens = tokens(text).expect("tokens");
        let texts: Vec<_> =
            tokens.iter().map(|token| format!("{}{}", token.line, token.text)).collect();
        texts.join(" ")
    }

    #[test]
    fn texts_and_comments_are_no_code() {
        assert_eq!(shown("a.b // c.d\n/* e /* f */ g */ h"), "1a 1. 1b 2h");
        assert_eq!(shown("\"a.b\\\"c\" 'd' e"), "1a.b\\\"c 1d 1e");
        assert_eq!(shown("#\"a\"b\"# c"), "1a\"b 1c");
        assert_eq!(shown("1..2 0x1f #{a: 1}"), "11 1.. 12 10x1f 1# 1{ 1a 1: 11 1}");
    }

    #[test]
    fn code_in_texts_is_code() {
        assert_eq!(
            shown("`a ${b.c} d\n${#{x: `${e}`}}` f"),
            concat!("1a  1{ 1b 1. 1c 1}", " 1 d\n 2{ 2# 2{ 2x 2: 2 2{ 2e 2} 2 2} 2} 2 2f")
        );
    }

    #[test]
    fn what_has_no_end_is_an_error() {
        for text in ["\"a", "`a", "`${a", "/* a", "#\"a\"", "'"] {
            let end = tokens(text);
            // Code that is left open is for the parser to find.
            assert!(end.is_err() || text == "`${a", "{text}");
        }
    }
}
