//! Placement: the strict rule for one caller, an even spread for many.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use proptest::prelude::{any, prop, prop_assert, proptest};

use super::Placement;
use crate::clock::Timestamp;
use crate::limits;
use crate::types::{Key, ServerId};

const NOW: Timestamp = Timestamp(1_000_000);

fn url(n: usize) -> ServerId {
    format!("https://localhost:{}", 9001 + n).parse().unwrap()
}

fn key(n: usize) -> Key {
    Key::new(format!("/f{n}")).unwrap()
}

/// The placement with the sizes that a master would keep beside it.
#[derive(Default)]
struct Cluster {
    placement: Placement,
    sizes: BTreeMap<ServerId, u64>,
    files: BTreeMap<ServerId, usize>,
}

impl Cluster {
    fn of(sizes: &[u64]) -> Self {
        let mut cluster = Self::default();
        for (n, size) in sizes.iter().enumerate() {
            cluster.join(&url(n), *size);
        }
        cluster
    }

    fn join(&mut self, server: &ServerId, size: u64) {
        self.placement.set_size(server, size);
        self.sizes.insert(server.clone(), size);
        self.files.insert(server.clone(), 0);
    }

    fn choose(&mut self, caller: &Arc<()>) -> ServerId {
        self.placement.choose(&Arc::downgrade(caller), NOW, |_| true).unwrap()
    }

    /// What the master does with a `changeSize` of a key that had nothing before.
    fn place(&mut self, n: usize, server: &ServerId, size: u64, is_new: bool, caller: &Arc<()>) {
        let total = self.sizes.get_mut(server).unwrap();
        *total += size;
        self.placement.set_size(server, *total);
        if is_new {
            *self.files.get_mut(server).unwrap() += 1;
        }
        let caller = Arc::downgrade(caller);
        self.placement.placed(&key(n), server, size, is_new.then_some(&caller));
    }

    fn spread(&self) -> usize {
        self.files.values().max().unwrap() - self.files.values().min().unwrap()
    }
}

#[test]
fn nobody_is_chosen_where_nobody_is() {
    assert_eq!(Placement::default().choose(&Weak::new(), NOW, |_| true), None);
}

#[test]
fn the_nine_files_of_the_report_end_as_10_4_and_4() {
    let mut cluster = Cluster::of(&[0, 0, 0]);
    let caller = Arc::new(());
    for (n, size) in [10, 1, 1, 1, 1, 1, 1, 1, 1].into_iter().enumerate() {
        let server = cluster.choose(&caller);
        cluster.place(n, &server, size << 20, true, &caller);
    }
    let mut sizes: Vec<u64> = cluster.sizes.into_values().map(|size| size >> 20).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [4, 4, 10]);
}

#[test]
fn table_1_of_the_report_200_files_on_8_servers() {
    let mut cluster = Cluster::of(&[0; 8]);
    let caller = Arc::new(());
    for n in 0..200 {
        let server = cluster.choose(&caller);
        cluster.place(n, &server, 6, true, &caller);
    }
    assert!(cluster.files.values().all(|files| *files == 25));
    assert!(cluster.sizes.values().all(|size| *size == 150));
}

#[test]
fn asking_again_never_leads_away_from_the_smallest() {
    let mut cluster = Cluster::of(&[0, 0, 5]);
    let caller = Arc::new(());
    // A mean much larger than the differences between the servers.
    cluster.placement.learn(1000);
    let chosen: Vec<ServerId> = (0..6).map(|_| cluster.choose(&caller)).collect();
    assert!(!chosen.contains(&url(2)));
    // Among equals, the one chosen longest ago.
    assert!(chosen.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_new_server_gets_the_next_files() {
    let mut cluster = Cluster::of(&[50, 60]);
    let caller = Arc::new(());
    cluster.join(&url(7), 0);
    for n in 0..8 {
        let server = cluster.choose(&caller);
        assert_eq!(server, url(7));
        cluster.place(n, &server, 6, true, &caller);
    }
}

#[test]
fn what_is_under_way_ends_with_the_connection_or_in_time() {
    for ends_in_time in [false, true] {
        let mut cluster = Cluster::of(&[0, 5]);
        cluster.placement.learn(100);
        let first = Arc::new(());
        assert_eq!(cluster.choose(&first), url(0));
        let other = Arc::new(());
        assert_eq!(cluster.choose(&other), url(1), "the first server has a file under way");
        let later = if ends_in_time { NOW.0 + limits::PLACEMENT_LEASE_MS } else { NOW.0 };
        if !ends_in_time {
            drop(first);
        }
        let next = cluster.placement.choose(&Arc::downgrade(&other), Timestamp(later), |_| true);
        assert_eq!(next, Some(url(0)));
    }
}

#[test]
fn a_file_that_comes_by_another_connection_ends_the_oldest_choice() {
    let mut cluster = Cluster::of(&[0, 5]);
    cluster.placement.learn(100);
    let (asks, places) = (Arc::new(()), Arc::new(()));
    assert_eq!(cluster.choose(&asks), url(0));
    cluster.place(0, &url(0), 1, true, &places);
    assert_eq!(cluster.choose(&places), url(0), "1 byte there, and nothing under way");
}

/// Where a client is between two files.
#[derive(Clone, Debug)]
enum Step {
    Idle,
    Chosen(usize, ServerId),
    Created(usize, ServerId),
}

proptest! {
    /// Ten clients create 200 files of one size, in any order of their calls, with or without an
    /// empty file first: in the end no server has more than one file more than another.
    #[test]
    fn many_clients_at_once_spread_evenly(
        servers in 1usize..9,
        size in 1u64..10_000,
        creates_empty in any::<bool>(),
        schedule in prop::collection::vec(0usize..10, 400..1000),
    ) {
        let mut cluster = Cluster::of(&vec![0; servers]);
        let mut clients: Vec<_> = (0..10).map(|_| (Step::Idle, Arc::new(()))).collect();
        let mut next = 0;
        let run = schedule.into_iter().chain((0..40).map(|n| n % 10));
        for at in run {
            let (step, own) = clients[at].clone();
            let now = match step {
                Step::Idle if next < 200 => {
                    let server = cluster.choose(&own);
                    next += 1;
                    Step::Chosen(next, server)
                }
                Step::Idle => Step::Idle,
                Step::Chosen(n, server) if creates_empty => {
                    cluster.place(n, &server, 0, true, &own);
                    Step::Created(n, server)
                }
                Step::Chosen(n, server) => {
                    cluster.place(n, &server, size, true, &own);
                    Step::Idle
                }
                Step::Created(n, server) => {
                    cluster.place(n, &server, size, false, &own);
                    Step::Idle
                }
            };
            clients[at].0 = now;
        }
        // Whatever was begun is finished.
        for (step, own) in clients {
            match step {
                Step::Idle => {}
                Step::Chosen(n, server) => cluster.place(n, &server, size, true, &own),
                Step::Created(n, server) => cluster.place(n, &server, size, false, &own),
            }
        }
        prop_assert!(cluster.spread() <= 1, "{:?}", cluster.files);
        prop_assert!(cluster.placement.choices.is_empty());
        let ranks = cluster.placement.order.iter().map(|(rank, ..)| *rank).collect::<Vec<_>>();
        prop_assert!(cluster.sizes.values().all(|size| ranks.contains(size)));
    }
}

#[test]
fn of_the_servers_that_may_answer_the_smallest_is_chosen() {
    let mut cluster = Cluster::of(&[1, 5, 3]);
    let mut choose = |is_fit: &dyn Fn(&ServerId) -> bool| {
        cluster.placement.choose(&Weak::new(), NOW, is_fit).unwrap()
    };
    assert_eq!(choose(&|server| *server != url(0)), url(2));
    assert_eq!(choose(&|_| false), url(0), "better one that may be dead than none");
}
