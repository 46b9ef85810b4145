//! The ledger against a kernel that is made up: whatever happens between, and during, the reads of a
//! sample, nothing may be reported that did not happen.
mod kernel;

use proptest::prelude::*;

use self::kernel::{DUPLICATE, Kernel, NETNS, OPEN, PORTS, SYN_OVERFLOW, id};
use super::{tests::coverage, *};

/// What kind of host a tape is run on.
#[derive(Clone, Copy, Debug)]
struct Setting {
    discards_known: bool,
    cookies: bool,
    /// Other namespaces get the inode number now and then.
    rebirths: bool,
    /// The namespace is made while the hooks are watching.
    born: bool,
    calm: usize,
}

fn settings() -> impl Strategy<Value = Setting> {
    let parts = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), 5_usize..16);
    parts.prop_map(|(discards_known, cookies, rebirths, born, calm)| Setting {
        discards_known,
        cookies,
        rebirths,
        born,
        calm,
    })
}

/// Runs a tape and checks every sample; returns the kernel and the ledger.
fn run_tape(tape: Vec<u8>, setting: Setting) -> Result<(Kernel, Ledger), TestCaseError> {
    let Setting { discards_known, cookies, rebirths, born, calm } = setting;
    let mut kernel = Kernel::new(tape, calm);
    kernel.cookie = cookies.then_some(1);
    let mut ledger = Ledger::new();
    let mut last = Attribution::default();
    if !born {
        (0..6).for_each(|_| kernel.run());
        kernel.finish_all();
    }
    kernel.hooks_attached = true;
    if born {
        ledger.observe(
            &Sample { hooks: Some(HookSample::default()), ..Sample::default() },
            &coverage(discards_known),
        );
    }
    while !kernel.tape.is_empty() {
        if rebirths && kernel.choice() % 8 == 1 {
            kernel.rebirth();
        }
        (0..3).for_each(|_| kernel.run());
        let attribution = ledger.observe(&kernel.sample(), &coverage(discards_known));
        check_sample(&kernel, &attribution, &last)?;
        last = attribution;
    }
    Ok((kernel, ledger))
}

fn check_sample(kernel: &Kernel, now: &Attribution, last: &Attribution) -> Result<(), TestCaseError> {
    for port in 0..PORTS {
        let of = |attribution: &Attribution| attribution.ports.get(&id(port)).copied().unwrap_or_default();
        let (said, before, truth) = (of(now), of(last), kernel.truth[port]);
        prop_assert!(said.listen_drops <= truth.listen_drops, "{port}: drops {said:?} {truth:?}");
        prop_assert!(
            said.accept_queue_overflows <= truth.accept_queue_overflows,
            "{port}: {said:?} {truth:?}"
        );
        prop_assert!(said.accept_queue_overflows <= said.listen_drops, "{port}: {said:?}");
        prop_assert!(said.listen_drops >= before.listen_drops, "{port}: {said:?} {before:?}");
        prop_assert!(
            said.accept_queue_overflows >= before.accept_queue_overflows,
            "{port}: {said:?} {before:?}"
        );
    }
    let rest = |attribution: &Attribution| attribution.namespaces.get(&NETNS).copied().unwrap_or_default();
    prop_assert!(rest(now).listen_drops >= rest(last).listen_drops);
    prop_assert!(rest(now).accept_queue_overflows >= rest(last).accept_queue_overflows);
    prop_assert!(rest(now).listen_drops <= kernel.counted.listen_drops);
    prop_assert!(rest(now).accept_queue_overflows <= kernel.counted.listen_overflows);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_is_reported_that_did_not_happen(
        tape in prop::collection::vec(any::<u8>(), 0..4000),
        setting in settings(),
    ) {
        run_tape(tape, setting)?;
    }

    #[test]
    fn where_discards_are_known_every_drop_is_reported_once_it_is_quiet(
        tape in prop::collection::vec(any::<u8>(), 0..2000),
        setting in settings(),
    ) {
        let setting = Setting { discards_known: true, born: true, ..setting };
        let (mut kernel, mut ledger) = run_tape(tape, setting)?;
        kernel.finish_all();
        let attribution = ledger.observe(&kernel.sample(), &coverage(true));
        for (id, said) in attribution.ports.iter() {
            prop_assert_eq!(said.listen_drops, kernel.truth[usize::from(id.port)].listen_drops);
        }
    }

    #[test]
    fn where_everything_overflows_every_overflow_is_reported_once_it_is_quiet(
        floods in prop::collection::vec((0..PORTS, 0_usize..20, 0_u8..8), 1..20),
        cookies: bool,
    ) {
        let setting = Setting { discards_known: true, cookies, rebirths: false, born: true, calm: 15 };
        let (mut kernel, mut ledger) = run_tape(Vec::new(), setting)?;
        for (port, count, noise) in floods {
            let socket = kernel.add_socket(port);
            let events = std::iter::once(OPEN).chain(std::iter::repeat_n(SYN_OVERFLOW, count));
            for steps in events.chain(std::iter::repeat_n(DUPLICATE, usize::from(noise))) {
                kernel.start(0, socket, steps);
                kernel.finish_all();
            }
            let attribution = ledger.observe(&kernel.sample(), &coverage(true));
            for (id, said) in attribution.ports {
                prop_assert_eq!(said, kernel.truth[usize::from(id.port)]);
            }
            prop_assert_eq!(attribution.namespaces[&NETNS], Unattributed::default());
        }
    }
}
