use super::*;
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[test]
fn every_object_comes_back_once() {
    let chain = Chain::of("last byte", |mut object: Object| match object.body.pop() {
        None => Ok(Outcome::Drop),
        Some(b'!') => Err(Failed::new("marked").why("with a !\nand more")),
        Some(b'?') => panic!("questioned"),
        Some(_) => Ok(Outcome::Keep(object)),
    });
    let mut rig = Rig::new(chain, threads(3));
    let bodies = [&b"ab"[..], b"", b"a!", b"a?"];
    for key in 0..4000 {
        rig.submit(key, object(bodies[key as usize % 4]));
    }
    let done = rig.finish().unwrap();
    assert_eq!(done.len(), 4000);
    for (key, done) in done.iter().enumerate() {
        assert_eq!(done.key, key as u64);
        match key % 4 {
            0 => assert_eq!(done.result, Ok(Outcome::Keep(object(b"a")))),
            1 => assert_eq!(done.result, Ok(Outcome::Drop)),
            2 => {
                assert_eq!(done.result.clone().unwrap_err().detail, "marked");
                assert_eq!(done.why.as_deref(), Some("with a !"));
            }
            _ => {
                assert_eq!(done.result.clone().unwrap_err().detail, "the transform panicked");
                assert_eq!(done.why.as_deref(), Some("questioned"));
            }
        }
    }
    assert_eq!(rig.pool.stop(), Stopped { hung: 0 });
}

/// The watchdog fails what hangs, gives its batch to others, and the hung thread may come back.
#[test]
fn one_that_hangs_is_left_behind() {
    let gate = Arc::new(Mutex::new(()));
    let (shut, inside) = (gate.lock().unwrap(), gate.clone());
    let chain = Chain::of("hang", move |object: Object| {
        if object.body == b"hang" {
            drop(inside.lock());
        }
        Ok(Outcome::Keep(object))
    });
    let options = PoolOptions { timeout: Duration::from_millis(50), ..threads(1) };
    let mut rig = Rig::new(chain, options);
    for key in 0..500 {
        rig.submit(key, object(if key % 100 == 7 { b"hang" } else { b"pass" }));
    }
    let done = rig.finish().unwrap();
    assert_eq!(done.len(), 500);
    for done in done {
        match done.result {
            Ok(_) => assert_ne!(done.key % 100, 7),
            Err(failure) => {
                assert_eq!(done.key % 100, 7);
                assert_eq!(failure.detail, "the transform took too long");
            }
        }
    }
    assert_eq!(rig.pool.hung(), 5);
    assert_eq!(rig.pool.stop(), Stopped { hung: 5 });
    // Those that come back find that there is nothing to do for them.
    drop(shut);
    while rig.pool.hung() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn too_many_that_hang_end_the_run() {
    let gate = Arc::new(Mutex::new(()));
    let (shut, inside) = (gate.lock().unwrap(), gate.clone());
    let chain = Chain::of("hang", move |object: Object| {
        drop(inside.lock());
        Ok(Outcome::Keep(object))
    });
    let options = PoolOptions { timeout: Duration::from_millis(20), ..threads(8) };
    let mut rig = Rig::new(chain, options);
    for key in 0..100 {
        rig.submit(key, object(b""));
    }
    let error = rig.finish().unwrap_err();
    assert!(error.to_string().starts_with("transform: too many objects hang: "), "{error}");
    assert!(rig.client.take(&mut Vec::new()).is_err(), "it stays so");
    rig.pool.stop();
    drop(shut);
}

/// Objects and bytes between submit and take stay below the bounds, whatever the transforms make of them.
#[test]
fn queues_are_bounded() {
    let inside = Arc::new(AtomicUsize::new(0));
    let counted = inside.clone();
    let chain = Chain::of("grow", move |mut object: Object| {
        counted.fetch_add(1, SeqCst);
        object.body = vec![0; 10_000];
        Ok(Outcome::Keep(object))
    });
    let bounds = PoolOptions { queue_objects: 100, queue_bytes: 50_000, ..threads(2) };
    let mut rig = Rig::new(chain, bounds);
    let (mut key, mut done, mut most) = (0, Vec::new(), 0);
    while key < 2000 {
        match rig.client.submit(key, object(&[0; 100])) {
            Ok(()) => key += 1,
            Err(object) => {
                assert_eq!(object.body.len(), 100);
                let (before, from) = (rig.client.outstanding(), done.len());
                rig.client.take(&mut done).unwrap();
                // Bytes that came at once: the bound, and one batch of each thread on top.
                most = most.max(done.len() - from);
                if rig.client.outstanding() == before {
                    rig.woken.recv().unwrap();
                }
            }
        }
        assert!(rig.client.outstanding() <= 100);
    }
    rig.finish().unwrap();
    assert_eq!(inside.load(SeqCst), 2000);
    let batches = 2 * (windrow_model::limits::TRANSFORM_BATCH_BYTES / 10_000 + 64);
    assert!(most as u64 <= 5 + batches, "{most}");

    // One that is larger than everything passes alone.
    rig.submit(0, object(&[0; 60_000]));
    assert!(rig.client.submit(1, object(b"")).is_err());
    assert_eq!(rig.finish().unwrap().len(), 1);
}

/// A core whose objects are slow, or many, does not keep those of another waiting for all of them.
#[test]
fn cores_take_turns() {
    let served = Arc::new(Mutex::new(Vec::new()));
    let (log, gate) = (served.clone(), Arc::new(Mutex::new(())));
    let (shut, inside) = (gate.lock().unwrap(), gate.clone());
    let chain = Chain::of("log", move |object: Object| {
        drop(inside.lock());
        log.lock().unwrap().push(object.ordinal);
        Ok(Outcome::Keep(object))
    });
    let pool = Pool::start(chain, threads(1)).unwrap();
    let ((mut many, _many), (mut few, woken)) = (client(&pool), client(&pool));
    for key in 0..1000 {
        many.submit(key, Object { ordinal: 1, ..object(b"") }).unwrap();
    }
    many.flush();
    for key in 0..10 {
        few.submit(key, Object { ordinal: 2, ..object(b"") }).unwrap();
    }
    few.flush();
    drop(shut);
    let mut done = Vec::new();
    while done.len() < 10 {
        few.take(&mut done).unwrap();
        if done.len() < 10 {
            woken.recv().unwrap();
        }
    }
    let served = served.lock().unwrap();
    let last = served.iter().rposition(|ordinal| *ordinal == 2).unwrap();
    let before = served[..last].iter().filter(|ordinal| **ordinal == 1).count();
    assert!(before <= 10 * windrow_model::limits::TRANSFORM_BATCH, "{before}");
}

#[test]
fn a_client_may_go_before_its_results() {
    let pool = Pool::start(Chain::default(), threads(2)).unwrap();
    for round in 0..50 {
        let (mut client, _woken) = client(&pool);
        for key in 0..round {
            client.submit(key, object(b"x")).unwrap();
        }
        client.flush();
    }
    let (mut client, woken) = client(&pool);
    client.submit(1, object(b"last")).unwrap();
    let mut done = Vec::new();
    while done.is_empty() {
        client.take(&mut done).unwrap();
        if done.is_empty() {
            woken.recv().unwrap();
        }
    }
    assert_eq!(done[0].result, Ok(Outcome::Keep(object(b"last"))));
    drop(client);
    assert_eq!(pool.stop(), Stopped { hung: 0 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    /// Nothing is lost or doubled, whatever the sizes, and [`InOrder`] has them in order.
    #[test]
    fn all_come_in_order(
        workers in 1_usize..5,
        objects in 1_usize..30,
        bytes in 1_u64..2000,
        sizes in prop::collection::vec(0_usize..300, 0..400),
    ) {
        let chain = Chain::of("same", |object: Object| Ok(Outcome::Keep(object)));
        let bounds = PoolOptions { queue_objects: objects, queue_bytes: bytes, ..threads(workers) };
        let mut rig = Rig::new(chain, bounds);
        let (mut order, mut given, mut done) = (InOrder::default(), Vec::new(), Vec::new());
        let mut next = 0;
        while given.len() < sizes.len() {
            while next < sizes.len() && rig.client.outstanding() + order.waiting() < 2 * objects {
                if rig.client.submit(next as u64, object(&vec![7; sizes[next]])).is_err() {
                    break;
                }
                next += 1;
            }
            let before = rig.client.outstanding();
            rig.client.take(&mut done).unwrap();
            order.extend(done.drain(..));
            prop_assert!(order.waiting() <= 2 * objects);
            given.extend(order.by_ref().map(|done| match done.result {
                Ok(Outcome::Keep(object)) => object.body.len(),
                other => panic!("{other:?}"),
            }));
            if before == rig.client.outstanding() && before > 0 {
                rig.woken.recv().unwrap();
            }
        }
        prop_assert_eq!(given, sizes);
    }
}

#[test]
fn threads_are_many() {
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let (log, barrier) = (seen.clone(), Arc::new(std::sync::Barrier::new(4)));
    let chain = Chain::of("meet", move |object: Object| {
        log.lock().unwrap().insert(std::thread::current().id());
        // Passed only when four are here at once.
        barrier.wait();
        Ok(Outcome::Keep(object))
    });
    let mut rig = Rig::new(chain, PoolOptions { timeout: PATIENT, ..threads(4) });
    for key in 0..4 {
        rig.submit(key, object(b""));
    }
    assert_eq!(rig.finish().unwrap().len(), 4);
    assert_eq!(seen.lock().unwrap().len(), 4);
}
