//! Keeps this node alive, and looks after what dead nodes have left. Nothing here runs for a node that is alone.

use std::sync::{Arc, Weak};

use store::{StoreError, nodes, turns};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::{AT_ONCE, LEASE, LOOK_EVERY, RENEW_EVERY, RETRY};
use crate::events::Order;
use crate::turns::runner;
use crate::{Engine, Inner, rules};

/// Starts what runs for as long as the engine does.
pub(crate) fn keep(engine: &Engine, address: String, orders: UnboundedReceiver<Order>) {
    let inner = Arc::downgrade(&engine.inner);
    tokio::spawn(renew(inner.clone(), address));
    tokio::spawn(look_around(inner.clone()));
    tokio::spawn(obey(inner, orders));
}

fn engine(inner: &Weak<Inner>) -> Option<Engine> {
    Some(Engine { inner: inner.upgrade()?, home: domain::Home::Direct })
}

/// Renews the lease; a node that has lost it goes on under a new name, with nothing claimed.
async fn renew(inner: Weak<Inner>, address: String) {
    let mut wait = RENEW_EVERY;
    loop {
        sleep(wait).await;
        let Some(engine) = engine(&inner) else { return };
        if engine.inner.runners.has_left() {
            return;
        }
        wait = match renew_once(&engine, &address).await {
            Ok(()) => RENEW_EVERY,
            Err(error) => {
                tracing::warn!(%error, "the lease of this node could not be renewed; trying again");
                RETRY
            }
        };
    }
}

async fn renew_once(engine: &Engine, address: &str) -> Result<(), StoreError> {
    let (lease, store) = (&engine.inner.lease, &engine.inner.store);
    let id = lease.held().id;
    let before = Instant::now();
    let renewing = store.write(move |tx| Ok::<_, StoreError>((nodes::renew(tx, id, LEASE)?, turns::to_stop(tx, id)?)));
    let (alive, to_stop) = in_time(renewing).await?;
    if alive {
        lease.renewed(id, before + LEASE);
        to_stop.into_iter().for_each(|(conversation, turn)| runner::interrupt_here(engine, conversation, turn));
        return Ok(());
    }
    if engine.inner.runners.has_left() {
        return Ok(());
    }
    tracing::warn!(node = %id, "others have declared this node dead, so its turns are theirs now; it goes on under a new name");
    // The turns end first: whoever looks after this finds no turn of the old name that still speaks.
    let id = lease.lost();
    let before = Instant::now();
    let address = address.to_owned();
    in_time(store.write(move |tx| nodes::enter(tx, id, &address, Some(LEASE)))).await?;
    lease.renewed(id, before + LEASE);
    Ok(())
}

/// What comes later than a lease lasts is of no use.
async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(LEASE, work).await.unwrap_or_else(|_| Err(StoreError::Failed("it does not answer".to_owned())))
}

/// Buries nodes whose time is over, and takes up what nobody does.
async fn look_around(inner: Weak<Inner>) {
    loop {
        sleep(LOOK_EVERY).await;
        let Some(engine) = engine(&inner) else { return };
        if !engine.inner.runners.may_claim() || !engine.inner.lease.holds(&engine.inner.lease.held()) {
            continue;
        }
        if let Err(error) = look_once(&engine).await {
            tracing::warn!(%error, "turns that others have left could not be looked for; trying again");
        }
        if let Err(error) = rules::take_up(&engine).await {
            tracing::warn!(%error, "runs of rules that others have left could not be looked for; trying again");
        }
    }
}

async fn look_once(engine: &Engine) -> Result<(), StoreError> {
    let store = &engine.inner.store;
    for node in store.write(nodes::remove_late).await? {
        tracing::warn!(%node, "a node has not been heard of for {} s and counts as dead; its turns are taken over", LEASE.as_secs());
    }
    let alone = store.read(|tx| turns::conversations_left_alone(tx, AT_ONCE)).await?;
    alone.into_iter().for_each(|conversation| runner::wake(engine, conversation));
    Ok(())
}

/// Does what other nodes ask for.
async fn obey(inner: Weak<Inner>, mut orders: UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        let Some(engine) = engine(&inner) else { return };
        match order {
            Order::Stop(conversation, turn) => runner::interrupt_here(&engine, conversation, turn),
            Order::Serve(conversation) if engine.inner.runners.may_claim() => runner::wake(&engine, conversation),
            Order::Serve(_) => {}
        }
    }
}
