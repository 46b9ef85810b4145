//! A strict reader of Prometheus' text format 0.0.4: it accepts less than Prometheus does.
use std::collections::BTreeSet;

/// One metric family: its two comment lines and its samples.
#[derive(Debug)]
pub(crate) struct Family {
    /// The name of the family and of each sample.
    pub(crate) name: String,
    /// The help text, unescaped.
    pub(crate) help: String,
    /// The word after `# TYPE`.
    pub(crate) kind: String,
    /// At least one.
    pub(crate) samples: Vec<Sample>,
}

/// One sample line.
#[derive(Debug)]
pub(crate) struct Sample {
    /// What follows the family's name: `_bucket`, `_sum` or `_count` of a histogram.
    pub(crate) suffix: String,
    /// Names and unescaped values, in the order in which they are written.
    pub(crate) labels: Vec<(String, String)>,
    /// The number.
    pub(crate) value: f64,
}

impl Sample {
    /// The value of a label.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }

    /// Whether all these labels have these values.
    pub(crate) fn has(&self, labels: &[(&str, String)]) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == Some(value))
    }
}

/// Reads the whole text.
///
/// # Errors
/// At the first line that is not as the renderer promises: `HELP`, then `TYPE`, then samples of
/// that name without a repeated series; families sorted by name; a line break at the end.
pub(crate) fn parse(text: &str) -> Result<Vec<Family>, String> {
    let text = text.strip_suffix('\n').ok_or("no line break at the end")?;
    let mut families: Vec<Family> = Vec::new();
    let mut lines = text.split('\n').peekable();
    while let Some(line) = lines.next() {
        let (name, help) = comment(line, "HELP")?;
        let (of, kind) = comment(lines.next().unwrap_or_default(), "TYPE")?;
        let mut family = Family {
            name: name.to_owned(),
            help: unescape(help, false)?,
            kind: kind.to_owned(),
            samples: Vec::new(),
        };
        let mut series = BTreeSet::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (identity, sample) = sample(line, name)?;
            if !series.insert(identity) {
                return Err(format!("repeated series: {line}"));
            }
            family.samples.push(sample);
        }
        check_histogram(&family)?;
        let sorted = families.last().is_none_or(|last| last.name < family.name);
        if of != name || family.samples.is_empty() || !sorted {
            return Err(format!("family {name} is misplaced, untyped or empty"));
        }
        families.push(family);
    }
    Ok(families)
}

fn comment<'a>(line: &'a str, keyword: &str) -> Result<(&'a str, &'a str), String> {
    line.strip_prefix("# ")
        .and_then(|rest| rest.strip_prefix(keyword))
        .and_then(|rest| rest.strip_prefix(' '))
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(|| format!("no {keyword} line: {line}"))
}

/// The sample, and the text that identifies its series.
fn sample<'a>(line: &'a str, name: &str) -> Result<(&'a str, Sample), String> {
    let bad = |why: &str| format!("{why}: {line}");
    let (identity, number) = line.rsplit_once(' ').ok_or_else(|| bad("no value"))?;
    let value: f64 = number.parse().map_err(|_| bad("not a number"))?;
    let rest = identity.strip_prefix(name).ok_or_else(|| bad("another family"))?;
    let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|suffix| rest.starts_with(suffix));
    let suffix = suffix.unwrap_or_default();
    let rest = rest.strip_prefix(suffix).unwrap_or(rest);
    let labels = if rest.is_empty() {
        Vec::new()
    } else {
        let inner = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        labels(inner.ok_or_else(|| bad("no braces"))?).map_err(|why| bad(&why))?
    };
    Ok((identity, Sample { suffix: suffix.to_owned(), labels, value }))
}

/// A histogram is one after the other: buckets with rising bounds and counts up to `+Inf`, the sum, and the count,
/// which is that of the last bucket. Nothing else has such names.
fn check_histogram(family: &Family) -> Result<(), String> {
    let mut rest = family.samples.as_slice();
    if family.kind != "histogram" {
        let plain = rest.iter().all(|sample| sample.suffix.is_empty());
        return if plain { Ok(()) } else { Err(format!("{} is no histogram", family.name)) };
    }
    while !rest.is_empty() {
        let buckets = rest.iter().take_while(|sample| sample.suffix == "_bucket").count();
        let (these, after) = rest.split_at(buckets);
        let bounds = these.iter().map(|bucket| bucket.label("le")?.parse::<f64>().ok());
        let bounds: Vec<f64> = bounds.collect::<Option<_>>().ok_or("a bucket without a bound")?;
        let counts: Vec<f64> = these.iter().map(|bucket| bucket.value).collect();
        let [sum, count, after @ ..] = after else { return Err(format!("{}: no sum", family.name)) };
        let whole = sum.suffix == "_sum" && count.suffix == "_count" && counts.last() == Some(&count.value);
        let rising = bounds.is_sorted_by(|left, right| left < right) && counts.is_sorted();
        if !(whole && rising && bounds.last() == Some(&f64::INFINITY)) {
            return Err(format!("{} has a histogram that is none: {these:?} {sum:?} {count:?}", family.name));
        }
        rest = after;
    }
    Ok(())
}

fn labels(mut rest: &str) -> Result<Vec<(String, String)>, String> {
    let mut labels = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("no label")?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(format!("label name {name:?}"));
        }
        let end = closing_quote(after).ok_or("no closing quote")?;
        labels.push((name.to_owned(), unescape(&after[..end], true)?));
        match &after[end + 1..] {
            "" => return Ok(labels),
            more => rest = more.strip_prefix(',').ok_or("no comma")?,
        }
    }
}

/// Where the first quote is that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(index, character)| {
        let found = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        found.then_some(index)
    })
}

fn unescape(text: &str, quoted: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quoted => '"',
                other => return Err(format!("escape {other:?}")),
            },
            other => other,
        });
    }
    Ok(plain)
}
