//! The end of a story: both spikes side by side, and whether every claim holds.

use super::judgement::{Account, Claim, Played};

/// The table, also as Markdown.
pub(super) fn table(played: &Played) -> String {
    let rows: Vec<[String; 3]> = rows(&played.before)
        .into_iter()
        .zip(rows(&played.after))
        .map(|((name, before), (_, after))| [name.to_owned(), before, after])
        .collect();
    let header = ["", "before", "after"].map(str::to_owned);
    let all = || [&header].into_iter().chain(&rows);
    let widths = [0, 1, 2].map(|column| {
        all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    });
    let line = |cells: &[String; 3]| {
        let [name, before, after] = cells;
        let [first, second, third] = widths;
        format!("| {name:first$} | {before:>second$} | {after:>third$} |\n")
    };
    let [first, second, third] = widths.map(|width| "-".repeat(width));
    let rule = format!("| {first} | {second} | {third} |\n");
    all().take(1).map(&line).collect::<String>() + &rule + &rows.iter().map(line).collect::<String>()
}

fn rows(account: &Account) -> Vec<(&'static str, String)> {
    let (client, kernel, daemon) = (&account.client, &account.kernel, &account.daemon);
    let wait = |fraction| daemon.waits.as_ref().and_then(|waits| waits.quantile(fraction));
    vec![
        ("client: connections", client.connections.to_string()),
        ("client: opened within", format!("{:.2} s", client.seconds_to_open)),
        ("client: answered", client.answered.to_string()),
        ("client: no handshake in time", client.connect_timeouts.to_string()),
        ("client: no answer in time", client.answer_timeouts.to_string()),
        ("client: resets", client.all_resets().to_string()),
        ("client: other errors", client.others().to_string()),
        ("client: slowest answer", seconds(client.slowest_seconds)),
        ("kernel: ListenOverflows", kernel.listen_overflows.to_string()),
        ("kernel: ListenDrops", kernel.listen_drops.to_string()),
        ("kernel: dropped before TCP", kernel.softnet_drops.to_string()),
        ("daemon: accept-queue overflows", number(daemon.overflows)),
        ("daemon: packets refused", number(daemon.drops)),
        ("daemon: connections refused", number(daemon.connections_refused)),
        ("daemon: accept queue, highest", number(daemon.highest)),
        ("daemon: accept queue, limit", number(daemon.limit)),
        ("daemon: wait for accept(), median", at_most(wait(0.5))),
        ("daemon: wait for accept(), 99 %", at_most(wait(0.99))),
        ("doctor", account.doctor.summary()),
    ]
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), |number| number.to_string())
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2} s"))
}

/// A class of a histogram has an upper bound.
fn at_most(bound: Option<f64>) -> String {
    match bound {
        None => "-".to_owned(),
        Some(bound) if bound.is_infinite() => "longer than all classes".to_owned(),
        Some(bound) if bound < 0.001 => format!("up to {:.0} us", bound * 1e6),
        Some(bound) if bound < 1.0 => format!("up to {:.0} ms", bound * 1e3),
        Some(bound) => format!("up to {bound:.1} s"),
    }
}

/// A line for each claim, and one for all of them.
pub(super) fn verdict(claims: &[Claim]) -> String {
    let mark = |claim: &Claim| if claim.holds { "ok  " } else { "FAIL" };
    let lines: String = claims.iter().map(|claim| format!("{} {}\n", mark(claim), claim.text)).collect();
    let failed = claims.iter().filter(|claim| !claim.holds).count();
    format!("{lines}demo: {} claims hold, {failed} do not\n", claims.len() - failed)
}

#[cfg(test)]
mod tests {
    use super::super::judgement::{judge, tests::good};
    use super::super::stories::find;
    use super::*;

    #[test]
    fn both_spikes_stand_side_by_side() {
        let table = table(&good());
        assert!(
            table
                .contains("| kernel: ListenOverflows           |                         1961 |       0 |\n"),
            "{table}"
        );
        assert!(
            table
                .contains("| doctor                            | losing: clamped_by_somaxconn | healthy |\n"),
            "{table}"
        );
        let widths: Vec<usize> = table.lines().map(str::len).collect();
        assert!(widths.iter().all(|width| Some(width) == widths.first()), "{table}");
    }

    #[test]
    fn a_bound_is_shown_in_the_unit_that_fits() {
        let shown = [Some(0.000_25), Some(0.05), Some(2.5), Some(f64::INFINITY), None].map(at_most);
        assert_eq!(shown, ["up to 250 us", "up to 50 ms", "up to 2.5 s", "longer than all classes", "-"]);
    }

    #[test]
    fn a_failure_is_marked_and_counted() {
        let mut played = good();
        played.after.client.answered -= 1;
        played.after.client.resets += 1;
        let text = verdict(&judge(find("tomcat-spike").unwrap(), &played, 1000));
        assert!(text.contains("FAIL after: 1 of the client's connections failed\n"), "{text}");
        assert!(text.ends_with("demo: 7 claims hold, 1 do not\n"), "{text}");
    }
}
