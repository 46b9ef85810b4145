//! The short words that expressions are written with, so that one can read them: `{PORT}` for five matchers.

/// The matchers of a host's own metrics.
const HOST: &str = r#"job=~"$job", instance=~"$instance""#;
/// The matchers of a network namespace's metrics, in a dashboard that lets choose one.
const NETNS: &str = r#"job=~"$job", instance=~"$instance", netns=~"$netns""#;
/// The matchers of a port's metrics, in a dashboard that lets choose one.
const PORT: &str = r#"job=~"$job", instance=~"$instance", netns=~"$netns", port=~"$port""#;
/// As `PORT`, and what concerns the network namespace or the host as a whole: those labels are empty then.
const AROUND: &str = r#"job=~"$job", instance=~"$instance", netns=~"$netns|", port=~"$port|""#;
/// A port's identity.
const WHERE: &str = "instance, netns, address, port";
/// The same and whose it is.
const WHO: &str = "instance, netns, address, port, process";

/// Replaces the words; everything else stays as it is.
pub(super) fn expand(expression: &str) -> String {
    let mut expanded = String::new();
    let mut rest = expression;
    while let Some(character) = rest.chars().next() {
        let end = if is_word(character) {
            rest.find(|other| !is_word(other)).unwrap_or(rest.len())
        } else {
            character.len_utf8()
        };
        let (token, after) = rest.split_at(end);
        expanded.push_str(meaning(token));
        rest = after;
    }
    expanded
}

fn meaning(token: &str) -> &str {
    match token {
        "HOST" => HOST,
        "NETNS" => NETNS,
        "PORT" => PORT,
        "AROUND" => AROUND,
        "WHERE" => WHERE,
        "WHO" => WHO,
        "EVERY" => "$__rate_interval",
        other => other,
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_and_parts_of_words_are_not() {
        assert_eq!(expand("up{HOST}"), r#"up{job=~"$job", instance=~"$instance"}"#);
        assert_eq!(
            expand("sum by (WHERE) (a[EVERY])"),
            "sum by (instance, netns, address, port) (a[$__rate_interval])"
        );
        assert_eq!(expand("HOSTS A_PORT somewhere"), "HOSTS A_PORT somewhere");
    }
}
