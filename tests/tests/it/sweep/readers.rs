//! Long queries: each looks up the location and the files, reads one file, and reads the others much later.

use turntable::{config::Retain, decision::Live, layout::Key, port::Objects};

use super::lake::{Lake, hours, minutes};

/// Returns how many queries of `length` minutes, over 50 flips and sweeps a minute apart, found a file missing.
async fn broken_queries(drain: i64, length: i64) -> usize {
    let lake = Lake::new(Retain { generations: 0, drain: minutes(drain), abandoned: hours(24), max_age: hours(24) });
    let mut queries: Vec<(i64, Vec<Key>)> = Vec::new();
    let mut broken = 0;
    for minute in 0..50 + length {
        if minute < 50 {
            lake.turn(3).await;
        } else {
            lake.advance(minutes(1));
        }
        let Live::Managed(live) = lake.live().await else { panic!("nothing is live") };
        let listed = lake.objects.list(&lake.dataset.paths.generation(&live), None).await.unwrap();
        queries.push((minute, listed.into_iter().map(|entry| entry.key).collect()));
        lake.sweep().await;
        for (_, files) in queries.extract_if(.., |(head, _)| minute - *head == length) {
            let mut gone = false;
            for file in &files[1..] {
                gone |= lake.objects.get(file).await.unwrap().is_none();
            }
            broken += usize::from(gone);
        }
    }
    assert!(lake.objects.keys().len() < 2 * (drain as usize + 3) * 5 + 50, "nothing was swept");
    broken
}

#[tokio::test]
async fn a_query_shorter_than_drain_never_meets_the_sweep() {
    assert_eq!(broken_queries(10, 9).await, 0);
}

#[tokio::test]
async fn without_drain_the_same_query_does() {
    assert!(broken_queries(0, 9).await > 30);
}
