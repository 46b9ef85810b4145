//! A mapping of a file, with known keys, and its values with the lines that they stand in.
use super::{
    Misstep,
    yaml::{Entry, Node, Value},
};

/// A mapping whose keys are all known.
#[derive(Debug)]
pub(super) struct Section {
    /// The keys that lead to it; empty at the top.
    path: String,
    line: usize,
    entries: Vec<Entry>,
}

/// A text, and where it stands.
#[derive(Debug)]
pub(super) struct Written<'section> {
    pub(super) text: &'section str,
    line: usize,
    key: String,
}

impl Written<'_> {
    /// What is wrong with it.
    pub(super) fn misstep(&self, problem: impl Into<String>) -> Misstep {
        Misstep { line: Some(self.line), key: self.key.clone(), problem: problem.into() }
    }
}

/// The keys that a mapping may have.
pub(super) struct Keys {
    pub(super) known: &'static [&'static str],
    /// Known to other exporters, and why not here.
    pub(super) refused: &'static [(&'static str, &'static str)],
}

impl Section {
    /// Whatever keys it has.
    pub(super) fn of(node: Node, path: String) -> Result<Self, Misstep> {
        match node.value {
            Value::Mapping(entries) => Ok(Self { path, line: node.line, entries }),
            Value::Null => Ok(Self { path, line: node.line, entries: Vec::new() }),
            _ => Err(Misstep {
                line: Some(node.line),
                key: path,
                problem: "has to be a mapping, keys with values".to_owned(),
            }),
        }
    }

    /// No keys but these.
    pub(super) fn with(self, keys: &Keys) -> Result<Self, Misstep> {
        for entry in &self.entries {
            let refused = keys.refused.iter().find(|(name, _)| *name == entry.key);
            if let Some((_, reason)) = refused {
                return Err(self.misstep_at(entry, format!("is not supported: {reason}")));
            }
            if !keys.known.contains(&entry.key.as_str()) {
                return Err(self.misstep_at(entry, unknown(&entry.key, keys.known)));
            }
        }
        Ok(self)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The mapping under this key, which may be lacking.
    pub(super) fn take(&mut self, key: &str) -> Result<Option<Self>, Misstep> {
        let Some(index) = self.entries.iter().position(|entry| entry.key == key) else { return Ok(None) };
        let path = self.path_of(key);
        let Entry { line, node, .. } = self.entries.remove(index);
        let section = Self { line, ..Self::of(node, path)? };
        Ok(Some(section).filter(|section| !section.is_empty()))
    }

    /// All keys with their values.
    pub(super) fn texts(&self) -> impl Iterator<Item = Result<(&str, Written<'_>), Misstep>> {
        self.entries.iter().map(|entry| match self.written(&entry.node, &entry.key)? {
            Some(written) => Ok((entry.key.as_str(), written)),
            None => Err(self.misstep_at(entry, "has no value".to_owned())),
        })
    }

    /// The text under this key; nothing where it is lacking or empty.
    pub(super) fn text(&self, key: &str) -> Result<Option<Written<'_>>, Misstep> {
        self.entry(key).map_or(Ok(None), |entry| self.written(&entry.node, key))
    }

    /// The list under this key; nothing where it is lacking or empty.
    pub(super) fn list(&self, key: &str) -> Result<Option<Vec<Written<'_>>>, Misstep> {
        let Some(entry) = self.entry(key) else { return Ok(None) };
        let nodes = match &entry.node.value {
            Value::Null => return Ok(None),
            Value::List(nodes) => nodes,
            _ => return Err(self.misstep_at(entry, "has to be a list, one `- VALUE` per line".to_owned())),
        };
        let mut texts = Vec::new();
        for node in nodes {
            texts.extend(self.written(node, key)?);
        }
        Ok(Some(texts).filter(|texts| !texts.is_empty()))
    }

    /// The flag under this key.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Misstep> {
        let Some(written) = self.text(key)? else { return Ok(None) };
        match written.text {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(written.misstep("has to be true or false")),
        }
    }

    /// What is wrong with the section as a whole.
    pub(super) fn misstep(&self, problem: impl Into<String>) -> Misstep {
        Misstep { line: Some(self.line), key: self.path.clone(), problem: problem.into() }
    }

    fn misstep_at(&self, entry: &Entry, problem: String) -> Misstep {
        Misstep { line: Some(entry.line), key: self.path_of(&entry.key), problem }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn written<'section>(
        &self,
        node: &'section Node,
        key: &str,
    ) -> Result<Option<Written<'section>>, Misstep> {
        let (line, key) = (node.line, self.path_of(key));
        match &node.value {
            Value::Null => Ok(None),
            Value::Text(text) if text.is_empty() => Ok(None),
            Value::Text(text) => Ok(Some(Written { text, line, key })),
            _ => Err(Misstep { line: Some(line), key, problem: "has to be one value".to_owned() }),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

fn unknown(given: &str, known: &[&str]) -> String {
    let likeness = |name: &&&str| strsim::normalized_damerau_levenshtein(given, name);
    let nearest = known.iter().max_by(|left, right| likeness(left).total_cmp(&likeness(right)));
    format!("unknown key: is {:?} meant? Known here: {}", nearest.unwrap_or(&""), known.join(", "))
}
